//! The file itself, and the sections that belong to no replica.

use super::replica::{DEFAULTS, REPLICA, STORAGE};
use super::{Key, Keys, Kind};

const DROPPED_AT_ROOT: &str = "one replica cannot hold several databases: write it below dbs, \
                               under replica";

/// The file itself.
pub const ROOT: Keys =
    Keys { name: "file", about: "a configuration", tables: &[ROOT_KEYS, DEFAULTS, STORAGE] };

const ROOT_KEYS: &[Key] = &[
    Key::new("dbs", Kind::Sections(&DATABASE), "The databases to replicate."),
    Key::new("exec", Kind::Text, "A program to run; its end is ours."),
    Key::new("addr", Kind::Text, "Where metrics are served: host:port, or :port for this machine."),
    Key::new(
        "mcp-addr",
        Kind::Text,
        "Where the MCP server listens: host:port, or :port for this machine.",
    ),
    Key::new(
        "mcp-token",
        Kind::Secret,
        "What its clients must present. Without it, only tools that look are offered.",
    ),
    Key::new("socket", Kind::Section(&SOCKET), "The control socket."),
    Key::new("levels", Kind::Sections(&LEVEL), "The compacted levels, from 1 on; at most 8.")
        .default("30s, 5m, 1h"),
    Key::new("snapshot", Kind::Section(&SNAPSHOT), "Snapshots of all databases."),
    Key::new(
        "l0-retention",
        Kind::Duration,
        "How long files of level 0 stay after they are compacted; 0 keeps them.",
    )
    .default("5m"),
    Key::new("l0-retention-check-interval", Kind::Interval, "How often that is looked at.")
        .moot("a file goes when its time has come"),
    Key::new("verify-compaction", Kind::Flag, "Whether compacted files are checked.")
        .moot("they always are"),
    Key::new("retention", Kind::Section(&RETENTION), "Whether replicas' files are deleted."),
    Key::new("validation", Kind::Section(&VALIDATION), "Regular proofs of all replicas."),
    Key::new("heartbeat-url", Kind::Place, "An http(s) URL that is asked while all is well."),
    Key::new("heartbeat-interval", Kind::Interval, "How often; one minute or more.").default("5m"),
    Key::new("shutdown-sync-timeout", Kind::Duration, "How long the final sync may take.")
        .default("30s"),
    Key::new("shutdown-sync-interval", Kind::Interval, "How often it is tried again.")
        .moot("an upload that failed is tried again by itself"),
    Key::new("logging", Kind::Section(&LOGGING), "How to log."),
    Key::new("upload-rate", Kind::Bytes, "Bytes uploaded in a second, all replicas together."),
    Key::new("request-rate", Kind::Count, "Requests made in a second, all replicas together."),
    Key::new("strict", Kind::Flag, "Whether a key without a meaning is an error, not a warning.")
        .default("true"),
    Key::dropped("path", DROPPED_AT_ROOT),
    Key::dropped("url", DROPPED_AT_ROOT),
];

/// One element of `dbs`.
pub const DATABASE: Keys = Keys {
    name: "database",
    about: "a database, or a directory of databases",
    tables: &[DATABASE_KEYS],
};

const DATABASE_KEYS: &[Key] = &[
    Key::new("path", Kind::Place, "The database file."),
    Key::new("dir", Kind::Place, "A directory whose databases are replicated, instead of path."),
    Key::new("pattern", Kind::Text, "Which files of dir, by their name: \"*.db\"."),
    Key::new("recursive", Kind::Flag, "Whether directories below dir count.").default("false"),
    Key::new("watch", Kind::Flag, "Whether databases that come and go in dir later count.")
        .default("false"),
    Key::new("meta-path", Kind::Place, "Where the local state is kept.")
        .default(".<name>-litestream beside the database"),
    Key::new("meta-dir", Kind::Place, "With dir: below which the local states are kept."),
    Key::new("replica", Kind::Section(&REPLICA), "Where it is replicated to."),
    Key::new("replicas", Kind::Sections(&REPLICA), "The same, for several replicas."),
    Key::new(
        "monitor-interval",
        Kind::Interval,
        "How often it is looked at when nothing announces a change.",
    )
    .default("1s"),
    Key::new("checkpoint-interval", Kind::Duration, "How long a change may wait for a checkpoint.")
        .default("1m"),
    Key::new("busy-timeout", Kind::Duration, "How long to wait for the application's locks.")
        .default("1s"),
    Key::new("min-checkpoint-page-count", Kind::Count, "WAL pages that call for a checkpoint.")
        .default("1000"),
    Key::new("truncate-page-n", Kind::Integer, "WAL pages that call for a blocking checkpoint.")
        .moot("checkpoints start the WAL anew without blocking"),
    Key::new("max-sync-wal-bytes", Kind::Integer, "WAL bytes that are captured at once.")
        .moot("capturing more takes no more memory"),
    Key::new("snapshot", Kind::Section(&SNAPSHOT), "Snapshots of this database."),
    Key::new(
        "restore-if-db-not-exists",
        Kind::Flag,
        "Whether it is restored at the start if it is missing.",
    )
    .default("false"),
    Key::new("spool-limit", Kind::Bytes, "What may wait here while a replica does not answer.")
        .default("4GiB"),
    Key::dropped(
        "max-checkpoint-page-count",
        "checkpoints have no upper limit since Litestream 0.5: delete it",
    ),
    Key::dropped("shadow-retention-n", "there is no shadow WAL since Litestream 0.5: delete it"),
];

/// `snapshot`.
pub const SNAPSHOT: Keys = Keys {
    name: "snapshot",
    about: "snapshots",
    tables: &[&[
        Key::new("interval", Kind::Interval, "How often one is made.").default("24h"),
        Key::new("retention", Kind::Interval, "How far back each moment can be restored.")
            .default("24h"),
    ]],
};

/// One element of `levels`.
pub const LEVEL: Keys = Keys {
    name: "level",
    about: "a level",
    tables: &[&[
        Key::new("interval", Kind::Interval, "How often files are compacted to it."),
        Key::new("retention", Kind::Interval, "How long its files are kept.")
            .default("as long as the snapshot before them"),
    ]],
};

/// `retention`.
pub const RETENTION: Keys = Keys {
    name: "retention",
    about: "retention",
    tables: &[&[Key::new("enabled", Kind::Flag, "Whether anything is deleted.").default("true")]],
};

/// `validation`.
pub const VALIDATION: Keys = Keys {
    name: "validation",
    about: "regular proofs",
    tables: &[&[
        Key::new("interval", Kind::Interval, "How often."),
        Key::new("full", Kind::Flag, "Whether the database is restored for it.").default("false"),
    ]],
};

/// `logging`.
pub const LOGGING: Keys = Keys {
    name: "logging",
    about: "logging",
    tables: &[&[
        Key::new(
            "level",
            Kind::Choice(&["trace", "debug", "info", "warn", "warning", "error"]),
            "The least important lines to show.",
        )
        .default("info"),
        Key::new("type", Kind::Choice(&["text", "json", "pretty"]), "How a line is written.")
            .default("text"),
        Key::new("stderr", Kind::Flag, "Whether logs go to stderr; else to stdout.")
            .default("true"),
        Key::new("source", Kind::Flag, "Whether lines name their place in our source.")
            .default("false"),
    ]],
};

/// `socket`.
pub const SOCKET: Keys = Keys {
    name: "socket",
    about: "the control socket",
    tables: &[&[
        Key::new("enabled", Kind::Flag, "Whether there is one.").default("false"),
        Key::new("path", Kind::Place, "Where it is.").default("/var/run/litestream.sock"),
        Key::new("permissions", Kind::Mode, "Who may use it, in octal.").default("0600"),
    ]],
};
