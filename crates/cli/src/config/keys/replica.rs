//! What replicas are told, each for itself or at the top of the file for all.

use super::{Key, Keys, Kind};

/// The types of storage.
pub const BACKENDS: [&str; 8] = ["file", "s3", "gs", "abs", "sftp", "webdav", "nats", "oss"];

/// `replica`, and the element of `replicas`.
pub const REPLICA: Keys =
    Keys { name: "replica", about: "a replica", tables: &[OWN, DEFAULTS, STORAGE] };

/// What cannot be said for all.
const OWN: &[Key] = &[
    Key::new("url", Kind::Place, "Where it is: file:///backup/app, s3://bucket/app, ..."),
    Key::new("path", Kind::Place, "Where it is within the storage, instead of url."),
    Key::ignored("name", "a replica is told by its URL: delete it"),
    Key::dropped(
        "retention",
        "since Litestream 0.5 it is set for the whole file: snapshot: {retention: 24h}",
    ),
    Key::dropped(
        "retention-check-interval",
        "since Litestream 0.5 there is no such setting: delete it",
    ),
    Key::dropped(
        "snapshot-interval",
        "since Litestream 0.5 it is set for the whole file: snapshot: {interval: 24h}",
    ),
];

/// What is said of any replica.
pub(super) const DEFAULTS: &[Key] = &[
    Key::new("type", Kind::Choice(&BACKENDS), "The storage, if url does not name it.")
        .default("file"),
    Key::new("sync-interval", Kind::Interval, "How long a change may wait for its upload.")
        .default("1s"),
    Key::new("validation-interval", Kind::Interval, "How often it is proven to be restorable."),
    Key::new("lease", Kind::Flag, "Whether one process alone may write there at a time.")
        .default("false"),
    Key::new("lease-ttl", Kind::Interval, "How long it may be gone before another may write.")
        .default("30s"),
    Key::new("max-sync-ltx-files", Kind::Integer, "Files that are uploaded in a row.")
        .moot("all that wait are uploaded"),
    Key::new("auto-recover", Kind::Flag, "Whether damaged local state is made anew.")
        .moot("it always is, and nothing is lost by it"),
    Key::new("age", Kind::Section(&AGE), "Keys of encrypted backups of Litestream 0.3."),
];

/// `age`.
pub const AGE: Keys = Keys {
    name: "age",
    about: "keys of encrypted backups of Litestream 0.3",
    tables: &[&[
        Key::new("identities", Kind::Texts, "The identities, each AGE-SECRET-KEY-1..."),
        Key::dropped(
            "recipients",
            "new backups are not encrypted so; identities alone are for restoring backups of \
             Litestream 0.3",
        ),
    ]],
};

const S3: &[&str] = &["s3"];
const S3_OSS: &[&str] = &["s3", "oss"];
const ABS: &[&str] = &["abs"];
const SFTP: &[&str] = &["sftp"];
const WEBDAV: &[&str] = &["webdav"];
const NATS: &[&str] = &["nats"];

/// What the storage is told: this is what a backend's constructor gets.
pub const STORAGE: &[Key] = &[
    Key::new("bucket", Kind::Place, "The bucket, or the container.")
        .of(&["s3", "gs", "abs", "nats", "oss"]),
    Key::new("credentials-path", Kind::Place, "A key file of a service account.").of(&["gs"]),
    Key::new("region", Kind::Text, "The bucket's region.").of(S3_OSS),
    Key::new("endpoint", Kind::Place, "The server, if not the provider's own.")
        .of(&["s3", "gs", "abs", "oss"]),
    Key::new("access-key-id", Kind::Secret, "The key's name.").of(S3_OSS),
    Key::new("secret-access-key", Kind::Secret, "The key.").of(S3_OSS),
    Key::new("session-token", Kind::Secret, "The token of a temporary key.").of(S3_OSS),
    Key::new("profile", Kind::Text, "The profile of the shared AWS files.").of(S3),
    Key::new("force-path-style", Kind::Flag, "Whether the bucket is part of the path.").of(S3),
    Key::new("sign-payload", Kind::Flag, "Whether bodies are signed.").default("true").of(S3),
    Key::new("require-content-md5", Kind::Flag, "Whether deletions carry an MD5.")
        .default("true")
        .of(S3),
    Key::new("sign-accept-encoding", Kind::Flag, "Whether Accept-Encoding is signed.")
        .default("true")
        .of(S3),
    Key::new("skip-verify", Kind::Flag, "Whether any certificate will do. Unsafe.")
        .default("false")
        .of(S3),
    Key::new("storage-class", Kind::Text, "The class of new objects.").of(S3),
    Key::new("part-size", Kind::Bytes, "Bytes of one part of a large upload.").of(S3_OSS),
    Key::new("concurrency", Kind::Count, "Parts that are uploaded at a time.").of(S3_OSS),
    Key::new("sse-customer-algorithm", Kind::Text, "The cipher of a key of your own: AES256.")
        .of(S3),
    Key::new("sse-customer-key", Kind::Secret, "That key, in base64.").of(S3),
    Key::new("sse-customer-key-path", Kind::Place, "A file that holds it.").of(S3),
    Key::new("sse", Kind::Text, "How the server encrypts: AES256 or aws:kms.").of(S3),
    Key::new("sse-kms-key-id", Kind::Text, "The key that the server encrypts with.").of(S3),
    Key::new("account-name", Kind::Text, "The account.").of(ABS),
    Key::new("account-key", Kind::Secret, "Its key.").of(ABS),
    Key::new("connection-string", Kind::Secret, "Account, key and endpoint in one.").of(ABS),
    Key::new("sas-token", Kind::Secret, "A shared access signature, instead.").of(ABS),
    Key::new("host", Kind::Place, "The server: host or host:port.").of(SFTP),
    Key::new("user", Kind::Text, "Who logs in.").of(SFTP),
    Key::new("password", Kind::Secret, "The password.").of(&["sftp", "nats"]),
    Key::new("key-path", Kind::Place, "The private key file.").of(SFTP),
    Key::new("host-key", Kind::Text, "The server's public key, one line.").of(SFTP),
    Key::new("key-passphrase", Kind::Secret, "What the private key is encrypted with.").of(SFTP),
    Key::new("known-hosts", Kind::Place, "A file with public keys of servers.").of(SFTP),
    Key::new("strict-host-key", Kind::Flag, "Whether an unknown server is refused.")
        .default("false")
        .of(SFTP),
    Key::new("concurrent-writes", Kind::Flag, "Whether writes overlap.").default("true").of(SFTP),
    Key::new("webdav-url", Kind::Place, "The server's URL.").of(WEBDAV),
    Key::new("webdav-username", Kind::Text, "Who logs in.").of(WEBDAV),
    Key::new("webdav-password", Kind::Secret, "The password.").of(WEBDAV),
    Key::new("username", Kind::Text, "Who logs in.").of(NATS),
    Key::new("token", Kind::Secret, "A token, instead.").of(NATS),
    Key::new("jwt", Kind::Secret, "A user's JWT.").of(NATS),
    Key::new("seed", Kind::Secret, "The seed that goes with it.").of(NATS),
    Key::new("creds", Kind::Place, "A file with both.").of(NATS),
    Key::new("nkey", Kind::Secret, "An NKey.").of(NATS),
    Key::new("tls", Kind::Flag, "Whether the connection is encrypted.").default("false").of(NATS),
    Key::new("root-cas", Kind::Texts, "Files with certificates to trust.").of(NATS),
    Key::new("client-cert", Kind::Place, "Our certificate file.").of(NATS),
    Key::new("client-key", Kind::Place, "Its key file.").of(NATS),
    Key::new("max-reconnects", Kind::Integer, "Attempts to reconnect; -1: no end.")
        .default("-1")
        .of(NATS),
    Key::new("reconnect-wait", Kind::Duration, "The pause between them.").default("2s").of(NATS),
    Key::new("timeout", Kind::Duration, "How long connecting may take.").default("10s").of(NATS),
];
