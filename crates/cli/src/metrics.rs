//! What Prometheus is told. Names that Litestream has keep their meaning.

mod process;

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use engine::{DatabaseState, DatabaseStatus, Level0, ReplicaStatus};
use storage::{DURATION_BOUNDS, Tally};

use Kind::{Counter, Gauge};

/// The content type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page in Prometheus' text format.
#[derive(Debug, Default)]
struct Page(String);

#[derive(Debug, Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}

impl Page {
    /// One metric: a line for each labelled value, under its description.
    fn add<V: Display>(
        &mut self,
        kind: Kind,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (String, V)>,
    ) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return;
        }
        self.head(kind, name, help);
        for (labels, value) in values {
            self.line(name, &labels, value);
        }
    }

    fn head(&mut self, kind: &str, name: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = match labels {
            "" => writeln!(self.0, "{name} {value}"),
            labels => writeln!(self.0, "{name}{{{labels}}} {value}"),
        };
    }
}

/// All metrics.
pub fn render(databases: &[DatabaseStatus]) -> String {
    let mut page = Page::default();
    each_database(&mut page, databases);
    checkpoints(&mut page, databases);
    level_0(&mut page, databases);
    each_replica(&mut page, databases);
    operations(&mut page, databases);
    process::add(&mut page);
    page.0
}

/// A copy that is followed.
#[derive(Debug)]
pub struct Copy<'a> {
    pub path: &'a Path,
    pub txid: Option<u64>,
    pub lag: Option<Duration>,
    pub updates: u64,
    pub failures: u64,
}

/// All metrics of a copy that is followed.
pub fn of_copy(copy: &Copy<'_>) -> String {
    let mut page = Page::default();
    let gauges = [
        (
            "brooklet_copy_txid",
            "The transaction that the copy holds.",
            copy.txid.map(|it| it as f64),
        ),
        (
            "brooklet_copy_lag_seconds",
            "For how long the copy is not known to hold all that its replica holds.",
            copy.lag.map(|it| it.as_secs_f64()),
        ),
    ];
    let label = format!("db=\"{}\"", escaped(&copy.path.display().to_string()));
    for (name, help, value) in gauges {
        page.add(Gauge, name, help, value.map(|value| (label.clone(), value)));
    }
    let counters = [
        ("brooklet_copy_update_count", "Updates of the copy.", copy.updates),
        ("brooklet_copy_error_count", "Looks at the replica that failed.", copy.failures),
    ];
    for (name, help, value) in counters {
        page.add(Counter, name, help, [(label.clone(), value)]);
    }
    process::add(&mut page);
    page.0
}

fn each_database(page: &mut Page, databases: &[DatabaseStatus]) {
    type Value = fn(&DatabaseStatus) -> Option<f64>;
    let metrics: [(Kind, &str, &str, Value); 16] = [
        (Gauge, "litestream_db_size", "Bytes of the database file.", |it| {
            Some(std::fs::metadata(&it.path).map_or(0, |file| file.len()) as f64)
        }),
        (Gauge, "litestream_wal_size", "Bytes of the WAL in use.", |it| Some(it.wal_bytes as f64)),
        (Gauge, "litestream_txid", "The last captured transaction.", |it| {
            Some(it.local_txid.map_or(0, ltx::Txid::get) as f64)
        }),
        (Gauge, "litestream_disk_full", "1 while the local disk has no room to capture.", |it| {
            Some(truth(it.disk_full))
        }),
        (Counter, "litestream_total_wal_bytes", "Bytes of the WAL that were captured.", |it| {
            Some(it.counts.wal_bytes as f64)
        }),
        (
            Counter,
            "litestream_sync_count",
            "Looks at the WAL that left nothing uncaptured.",
            |it| Some(it.counts.syncs as f64),
        ),
        (Counter, "litestream_sync_error_count", "Looks at the WAL that failed.", |it| {
            Some(it.counts.sync_errors as f64)
        }),
        (Counter, "litestream_sync_seconds", "Time spent capturing.", |it| {
            Some(it.counts.sync_time.as_secs_f64())
        }),
        (
            Counter,
            "litestream_compaction_verify_error_count",
            "Compactions that found a file missing or damaged.",
            |it| Some(it.counts.rotten as f64),
        ),
        (Gauge, "brooklet_db_failing", "1 while commits cannot be captured.", |it| {
            Some(truth(matches!(it.state, DatabaseState::Failing { .. })))
        }),
        (
            Counter,
            "brooklet_rebase_count",
            "Whole images and page comparisons, because continuity was not proven.",
            |it| Some(it.rebases as f64),
        ),
        (
            Counter,
            "brooklet_db_check_count",
            "Checks of a few pages that found what was captured of them.",
            |it| Some(it.counts.checks as f64),
        ),
        (
            Counter,
            "brooklet_db_check_error_count",
            "Checks of a few pages that found something else.",
            |it| Some(it.counts.failed_checks as f64),
        ),
        (
            Gauge,
            "brooklet_db_unseen_seconds",
            "How long ago everything was captured that there was.",
            |it| it.unseen_for.map(|it| it.as_secs_f64()),
        ),
        (Counter, "brooklet_write_lock_hold_seconds", "Time that writers were stopped.", |it| {
            Some(it.counts.hold_time.as_secs_f64())
        }),
        (
            Gauge,
            "brooklet_write_lock_hold_seconds_max",
            "The longest time that writers were stopped.",
            |it| Some(it.counts.longest_hold.as_secs_f64()),
        ),
    ];
    for (kind, name, help, value) in metrics {
        let values = databases.iter().filter_map(|it| Some((label(it), value(it)?)));
        page.add(kind, name, help, values);
    }
    page.add(
        Counter,
        "brooklet_write_lock_hold_count",
        "Times that writers were stopped for a checkpoint.",
        databases.iter().map(|it| (label(it), it.counts.holds)),
    );
}

/// We make no others than passive ones.
fn checkpoints(page: &mut Page, databases: &[DatabaseStatus]) {
    type Value = fn(&DatabaseStatus) -> f64;
    let metrics: [(&str, &str, Value); 3] = [
        ("litestream_checkpoint_count", "Checkpoints.", |it| it.counts.checkpoints as f64),
        ("litestream_checkpoint_error_count", "Checkpoints that failed.", |it| {
            it.counts.checkpoint_errors as f64
        }),
        ("litestream_checkpoint_seconds", "Time spent with checkpoints.", |it| {
            it.counts.checkpoint_time.as_secs_f64()
        }),
    ];
    for (name, help, value) in metrics {
        let labels = |it| format!("{},mode=\"PASSIVE\"", label(it));
        page.add(Counter, name, help, databases.iter().map(|it| (labels(it), value(it))));
    }
}

/// By the name of the file alone, as Litestream has it: those that share one are added up.
fn level_0(page: &mut Page, databases: &[DatabaseStatus]) {
    let mut sums: BTreeMap<(String, &str), u64> = BTreeMap::new();
    for database in databases {
        let name = database.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for Level0 { eligible, not_compacted, too_recent } in
            database.replicas.iter().filter_map(|it| it.contents).map(|it| it.level_0)
        {
            let counts = [
                ("eligible", eligible),
                ("not_compacted", not_compacted),
                ("too_recent", too_recent),
            ];
            for (status, count) in counts {
                *sums.entry((name.clone(), status)).or_default() += count;
            }
        }
    }
    let labels = |name: &str, status| format!("db=\"{}\",status=\"{status}\"", escaped(name));
    page.add(
        Gauge,
        "litestream_l0_retention_files_total",
        "Files of level 0, by what keeps them.",
        sums.into_iter().map(|((name, status), count)| (labels(&name, status), count)),
    );
}

fn each_replica(page: &mut Page, databases: &[DatabaseStatus]) {
    type Value = fn(&ReplicaStatus) -> Option<f64>;
    let metrics: [(&str, &str, Value); 17] = [
        ("litestream_replica_txid", "The last transaction in the replica.", |it| {
            it.txid.map(|txid| txid.get() as f64)
        }),
        (
            "litestream_replica_lag_seconds",
            "Age of the oldest captured commit that is not in the replica.",
            |it| Some(it.lag.as_secs_f64()),
        ),
        ("litestream_replica_lease_held", "1 while the lease on the replica is ours.", |it| {
            it.holds_lease.map(truth)
        }),
        ("litestream_replica_unuploaded_bytes", "Bytes that wait for their upload.", |it| {
            Some(it.backlog.bytes as f64)
        }),
        ("litestream_replica_unuploaded_files", "Files that wait for their upload.", |it| {
            Some(it.backlog.files as f64)
        }),
        (
            "litestream_replica_covered_timestamp_seconds",
            "Everything committed before this moment is in the replica.",
            |it| it.covered_until.map(seconds),
        ),
        (
            "litestream_replica_last_upload_timestamp_seconds",
            "When something was uploaded last.",
            |it| it.uploaded_at.map(seconds),
        ),
        ("litestream_replica_snapshot_txid", "The last snapshot since the start.", |it| {
            it.snapshot_txid.map(|txid| txid.get() as f64)
        }),
        ("litestream_replica_snapshot_age_seconds", "Age of the newest snapshot.", |it| {
            let taken = it.contents?.snapshot_at?;
            Some(taken.elapsed().unwrap_or_default().as_secs_f64())
        }),
        (
            "litestream_replica_files_since_snapshot",
            "Files that hold transactions after the newest snapshot.",
            |it| Some(it.contents?.files_since_snapshot as f64),
        ),
        ("litestream_replica_remote_objects", "Files in the replica.", |it| {
            Some(it.contents?.objects as f64)
        }),
        ("litestream_replica_remote_bytes", "Bytes of the files in the replica.", |it| {
            Some(it.contents?.bytes as f64)
        }),
        (
            "litestream_replica_compaction_overdue_seconds",
            "Age of the oldest compaction that is due and not done.",
            |it| Some(it.overdue.as_secs_f64()),
        ),
        (
            "litestream_replica_last_verify_timestamp_seconds",
            "When it was last proven that the replica can be restored.",
            |it| it.verified_at.map(seconds),
        ),
        ("litestream_replica_verify_failing", "1 if the last verification failed.", |it| {
            Some(truth(it.verify_error.is_some()))
        }),
        ("litestream_replica_upload_failing", "1 while uploads fail.", |it| {
            Some(truth(it.last_error.is_some()))
        }),
        (
            "litestream_replica_upkeep_failing",
            "1 while compaction, snapshots, deletion or verification fail.",
            |it| Some(truth(it.upkeep_error.is_some() || it.verify_error.is_some())),
        ),
    ];
    for (name, help, value) in metrics {
        let values = databases.iter().flat_map(|database| {
            let db = label(database);
            database.replicas.iter().filter_map(move |replica| {
                let labels = format!("{db},replica=\"{}\"", escaped(&replica.url));
                Some((labels, value(replica)?))
            })
        });
        page.add(Gauge, name, help, values.collect::<Vec<_>>());
    }
}

/// Requests to servers, of all replicas of a kind.
fn operations(page: &mut Page, databases: &[DatabaseStatus]) {
    let mut sums: BTreeMap<(&str, &str), Tally> = BTreeMap::new();
    for usage in databases.iter().flat_map(|it| &it.replicas).filter_map(|it| it.usage.as_ref()) {
        for (operation, tally) in &usage.tallies {
            sums.entry((usage.kind.name(), operation.name())).or_default().add(tally);
        }
    }
    let labels = |(kind, operation): &(&str, &str)| {
        format!("replica_type=\"{kind}\",operation=\"{operation}\"")
    };
    let each = |value: fn(&Tally) -> u64| sums.iter().map(move |(of, it)| (labels(of), value(it)));
    page.add(Counter, "litestream_replica_operation_total", "Requests.", each(|it| it.requests));
    page.add(
        Counter,
        "litestream_replica_operation_bytes",
        "Bytes that requests carried.",
        each(|it| it.bytes),
    );
    let errors = sums.iter().flat_map(|(of, tally)| {
        let labels = labels(of);
        let errors = tally.failures.iter();
        errors.map(move |(code, count)| (format!("{labels},code=\"{code}\""), *count))
    });
    let help = "Requests that failed.";
    page.add(Counter, "litestream_replica_operation_errors_total", help, errors);
    if sums.is_empty() {
        return;
    }
    let name = "litestream_replica_operation_duration_seconds";
    page.head("histogram", name, "How long requests took.");
    for (of, tally) in &sums {
        let labels = labels(of);
        let bucket = format!("{name}_bucket");
        for (bound, count) in DURATION_BOUNDS.iter().zip(tally.within) {
            page.line(&bucket, &format!("{labels},le=\"{bound}\""), count);
        }
        page.line(&bucket, &format!("{labels},le=\"+Inf\""), tally.requests);
        page.line(&format!("{name}_sum"), &labels, tally.took.as_secs_f64());
        page.line(&format!("{name}_count"), &labels, tally.requests);
    }
}

fn truth(it: bool) -> f64 {
    f64::from(u8::from(it))
}

fn label(database: &DatabaseStatus) -> String {
    format!("db=\"{}\"", escaped(&database.path.display().to_string()))
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn seconds(moment: SystemTime) -> f64 {
    moment.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_what_prometheus_reads() {
        let replica = ReplicaStatus {
            url: "file:///b\"a".into(),
            txid: ltx::Txid::new(7),
            lag: Duration::from_millis(1500),
            ..ReplicaStatus::default()
        };
        let path = "/no/such/app.db".into();
        let database =
            DatabaseStatus { path, replicas: vec![replica], ..DatabaseStatus::default() };
        let page = render(&[database]);
        let labels = "db=\"/no/such/app.db\",replica=\"file:///b\\\"a\"";
        assert!(page.contains("# TYPE litestream_db_size gauge\n"), "{page}");
        assert!(page.contains("litestream_txid{db=\"/no/such/app.db\"} 0\n"), "{page}");
        assert!(page.contains("# TYPE brooklet_rebase_count counter\n"), "{page}");
        assert!(page.contains(&format!("litestream_replica_txid{{{labels}}} 7\n")), "{page}");
        assert!(page.contains(&format!("lag_seconds{{{labels}}} 1.5\n")), "{page}");
        assert!(!page.contains("verify_timestamp"), "nothing is told that is not known: {page}");
        assert!(!render(&[]).contains("litestream_"), "nothing of no database");
    }

    #[test]
    fn all_of_litestreams_metrics_are_there_with_their_types() {
        let failures = std::collections::BTreeMap::from([("AccessDenied", 1)]);
        let tally = Tally { failures, ..Tally::default() };
        let usage = storage::Usage {
            kind: storage::Kind::S3,
            tallies: vec![(storage::Operation::Delete, tally)],
        };
        let replica = ReplicaStatus {
            contents: Some(engine::Contents::default()),
            usage: Some(usage),
            ..Default::default()
        };
        let database = DatabaseStatus { replicas: vec![replica], ..DatabaseStatus::default() };
        let page = render(&[database]);
        let types = "litestream_db_size gauge, litestream_wal_size gauge, litestream_txid gauge, \
            litestream_disk_full gauge, litestream_total_wal_bytes counter, \
            litestream_sync_count counter, litestream_sync_error_count counter, \
            litestream_sync_seconds counter, litestream_checkpoint_count counter, \
            litestream_checkpoint_error_count counter, litestream_checkpoint_seconds counter, \
            litestream_compaction_verify_error_count counter, \
            litestream_l0_retention_files_total gauge, \
            litestream_replica_operation_total counter, \
            litestream_replica_operation_bytes counter, \
            litestream_replica_operation_duration_seconds histogram, \
            litestream_replica_operation_errors_total counter, \
            process_resident_memory_bytes gauge, process_open_fds gauge";
        for wanted in types.split(", ") {
            assert!(page.contains(&format!("# TYPE {wanted}\n")), "{wanted} in {page}");
        }
        let labels = "replica_type=\"s3\",operation=\"DELETE\"";
        assert!(page.contains(&format!("errors_total{{{labels},code=\"AccessDenied\"}} 1\n")));
        assert!(page.contains(&format!("seconds_bucket{{{labels},le=\"0.01\"}} 0\n")), "{page}");
        assert!(page.contains(&format!("seconds_bucket{{{labels},le=\"+Inf\"}} 0\n")), "{page}");
    }

    #[test]
    fn databases_of_one_name_are_one_series_where_only_the_name_is_told() {
        let contents = engine::Contents {
            level_0: Level0 { too_recent: 3, ..Level0::default() },
            ..engine::Contents::default()
        };
        let replica = ReplicaStatus { contents: Some(contents), ..Default::default() };
        let at = |path: &str| DatabaseStatus {
            path: path.into(),
            replicas: vec![replica.clone()],
            ..Default::default()
        };
        let page = render(&[at("/a/app.db"), at("/b/app.db")]);
        let line = "litestream_l0_retention_files_total{db=\"app.db\",status=\"too_recent\"} 6\n";
        assert_eq!(page.matches(line).count(), 1, "{page}");
    }
}
