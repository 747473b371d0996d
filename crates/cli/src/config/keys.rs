//! The keys of each section of a Litestream configuration: which we read, which we will read,
//! and which Litestream itself has dropped.

/// The vocabulary of one section.
#[derive(Debug)]
pub struct Keys {
    /// Those that this version gives a meaning to.
    pub read: &'static [&'static str],
    /// Those that Litestream 0.5 reads and this version does not.
    pub later: &'static [&'static str],
    /// Those that Litestream 0.5 has dropped, and what became of them.
    pub dropped: &'static [(&'static str, &'static str)],
}

/// The file itself.
pub const ROOT: Keys = Keys {
    read: &["dbs", "exec", "logging", "shutdown-sync-timeout", "sync-interval"],
    later: &[
        "addr",
        "mcp-addr",
        "socket",
        "levels",
        "snapshot",
        "l0-retention",
        "l0-retention-check-interval",
        "verify-compaction",
        "retention",
        "validation",
        "heartbeat-url",
        "heartbeat-interval",
        "shutdown-sync-interval",
        "type",
        "path",
        "url",
        "max-sync-ltx-files",
        "auto-recover",
        "validation-interval",
        "age",
        "access-key-id",
        "secret-access-key",
        "region",
        "bucket",
        "endpoint",
        "force-path-style",
        "sign-payload",
        "require-content-md5",
        "sign-accept-encoding",
        "skip-verify",
        "storage-class",
        "part-size",
        "concurrency",
        "sse-customer-algorithm",
        "sse-customer-key",
        "sse-customer-key-path",
        "sse-kms-key-id",
        "account-name",
        "account-key",
        "sas-token",
        "host",
        "user",
        "password",
        "key-path",
        "host-key",
        "concurrent-writes",
        "webdav-url",
        "webdav-username",
        "webdav-password",
        "jwt",
        "seed",
        "creds",
        "nkey",
        "username",
        "token",
        "tls",
        "root-cas",
        "client-cert",
        "client-key",
        "max-reconnects",
        "reconnect-wait",
        "timeout",
    ],
    dropped: &[],
};

/// One element of `dbs`.
pub const DATABASE: Keys = Keys {
    read: &[
        "path",
        "meta-path",
        "replica",
        "replicas",
        "monitor-interval",
        "checkpoint-interval",
        "busy-timeout",
        "min-checkpoint-page-count",
    ],
    later: &[
        "dir",
        "pattern",
        "recursive",
        "watch",
        "meta-dir",
        "truncate-page-n",
        "max-sync-wal-bytes",
        "snapshot",
        "restore-if-db-not-exists",
    ],
    dropped: &[
        ("max-checkpoint-page-count", "checkpoints no longer have an upper limit: delete it"),
        ("shadow-retention-n", "there is no shadow WAL any more: delete it"),
    ],
};

/// `replica`, and the element of `replicas`.
pub const REPLICA: Keys = Keys {
    read: &["type", "path", "url", "sync-interval"],
    later: &[
        "max-sync-ltx-files",
        "auto-recover",
        "age",
        "access-key-id",
        "secret-access-key",
        "region",
        "bucket",
        "endpoint",
        "force-path-style",
        "sign-payload",
        "require-content-md5",
        "sign-accept-encoding",
        "skip-verify",
        "storage-class",
        "part-size",
        "concurrency",
        "sse-customer-algorithm",
        "sse-customer-key",
        "sse-customer-key-path",
        "sse-kms-key-id",
        "account-name",
        "account-key",
        "sas-token",
        "host",
        "user",
        "password",
        "key-path",
        "host-key",
        "concurrent-writes",
        "webdav-url",
        "webdav-username",
        "webdav-password",
        "jwt",
        "seed",
        "creds",
        "nkey",
        "username",
        "token",
        "tls",
        "root-cas",
        "client-cert",
        "client-key",
        "max-reconnects",
        "reconnect-wait",
        "timeout",
    ],
    dropped: &[
        ("name", "a database has one replica, and it needs no name: delete it"),
        ("validation-interval", "Litestream reads it and never uses it: delete it"),
        ("retention", "since Litestream 0.5 retention is set for the whole file: delete it here"),
        ("retention-check-interval", "since Litestream 0.5 there is no such setting: delete it"),
        ("snapshot-interval", "since Litestream 0.5 it is set for the whole file: delete it here"),
    ],
};

/// `logging`.
pub const LOGGING: Keys =
    Keys { read: &["level", "type", "stderr"], later: &["source"], dropped: &[] };

impl Keys {
    /// The known key that a mistyped one was most likely meant to be.
    pub fn nearest(&self, typed: &str) -> Option<&'static str> {
        let typed = typed.to_ascii_lowercase().replace('_', "-");
        let known = self.read.iter().chain(self.later);
        let scored = known.map(|key| (strsim::jaro_winkler(&typed, key), *key));
        let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
        (best.0 > 0.8).then_some(best.1)
    }
}
