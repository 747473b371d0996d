//! What a restore tells on stdout. The JSON fields of Litestream keep their names and meaning.

use std::path::Path;
use std::time::Duration;

use engine::restore::{IntegrityCheck, Moments, Outcome, Plan, Rung};
use serde::Serialize;
use storage::{Object, Url};

use crate::failure::Result;
use crate::output;

/// Where a restore reports from and to.
#[derive(Debug)]
pub struct Report<'a> {
    /// The database that is restored.
    pub output: &'a Path,
    /// The replica or database, as it was named.
    pub source: &'a str,
    /// The replica.
    pub url: &'a Url,
    /// Whether the reader is a program.
    pub json: bool,
}

/// Why there was nothing to do.
#[derive(Debug, Clone, Copy)]
pub enum Skipped {
    /// The database is there already.
    DatabaseExists,
    /// The replica is empty.
    NoBackup,
}

#[derive(Serialize, Default)]
struct Summary {
    db_path: String,
    replica: &'static str,
    txid: String,
    duration_ms: u128,
    integrity_check: &'static str,
    status: &'static str,
    #[serde(flatten)]
    details: Option<Details>,
}

#[derive(Serialize)]
struct Details {
    timestamp: String,
    pages: u32,
    bytes: u64,
    files: usize,
    read_bytes: u64,
    proven: bool,
}

#[derive(Serialize)]
struct PlanSummary<'a> {
    source: &'a str,
    target_path: String,
    replica: &'static str,
    min_txid: String,
    max_txid: String,
    files: Vec<Row>,
    restorable: Restorable,
}

/// Which moments there are.
#[derive(Serialize)]
struct Restorable {
    states: usize,
    first_txid: String,
    first: String,
    last_txid: String,
    last: String,
}

impl Restorable {
    fn of(moments: &Moments) -> Restorable {
        let Moments { first, last, states, .. } = *moments;
        Restorable {
            states,
            first_txid: first.0.to_string(),
            first: output::moment(first.1),
            last_txid: last.0.to_string(),
            last: output::moment(last.1),
        }
    }
}

#[derive(Serialize)]
struct Row {
    level: u8,
    name: String,
    min_txid: String,
    max_txid: String,
    size: u64,
    timestamp: String,
}

impl Report<'_> {
    /// The restore is done.
    pub fn restored(&self, outcome: &Outcome, took: Duration) -> Result<()> {
        let integrity_check = match outcome.integrity {
            IntegrityCheck::None => "none",
            IntegrityCheck::Quick => "quick",
            IntegrityCheck::Full => "full",
        };
        let timestamp = output::moment(outcome.timestamp);
        if self.json {
            return output::json(&Summary {
                txid: outcome.txid.map(|txid| txid.to_string()).unwrap_or_default(),
                duration_ms: took.as_millis(),
                integrity_check,
                details: Some(Details {
                    timestamp,
                    pages: outcome.pages,
                    bytes: outcome.bytes,
                    files: outcome.files,
                    read_bytes: outcome.read,
                    proven: outcome.proven,
                }),
                ..self.summary("restored")
            });
        }
        let mut checked = match outcome.proven {
            true => ", every page proven against the captured checksum".to_owned(),
            false => String::new(),
        };
        if outcome.integrity != IntegrityCheck::None {
            checked += &format!(", SQLite's {integrity_check} check passed");
        }
        let state = match outcome.txid {
            Some(txid) => format!("transaction {txid}"),
            None => "the v0.3 backup".to_owned(),
        };
        output::line(format_args!(
            "restored {}: {state} of {timestamp}, {} from {} in {}{checked}",
            self.output.display(),
            output::bytes(outcome.bytes),
            if outcome.files == 1 { "1 file".into() } else { format!("{} files", outcome.files) },
            output::duration(took),
        ))
    }

    /// There was nothing to do, and that is fine.
    pub fn skipped(&self, why: Skipped) -> Result<()> {
        if self.json {
            return output::json(&self.summary(match why {
                Skipped::DatabaseExists => "already_exists",
                Skipped::NoBackup => "no_backup",
            }));
        }
        let output = self.output.display();
        match why {
            Skipped::DatabaseExists => {
                output::line(format_args!("skipped: {output} exists already"))
            }
            Skipped::NoBackup => output::line(format_args!("skipped: no backup in {}", self.url)),
        }
    }

    /// What would be done.
    pub fn plan(&self, plan: &Plan, moments: &Moments) -> Result<()> {
        let first = plan.files().iter().map(|file| file.txids.min).min();
        let (min_txid, max_txid) =
            (first.map(|txid| txid.to_string()).unwrap_or_default(), plan.txid().to_string());
        let files: Vec<Row> = plan.files().iter().map(Row::of).collect();
        if self.json {
            let target_path = self.output.display().to_string();
            let (source, replica) = (self.source, self.kind());
            let restorable = Restorable::of(moments);
            let summary =
                PlanSummary { source, target_path, replica, min_txid, max_txid, files, restorable };
            return output::json(&summary);
        }
        output::line(format_args!(
            "Restore plan:\n  source: {}\n  target: {}\n  replica: {}\n  txid range: {} - {}\n\n\
             Files to fetch:",
            self.source,
            self.output.display(),
            self.kind(),
            min_txid,
            max_txid
        ))?;
        let header = ["level", "file", "min_txid", "max_txid", "size", "timestamp"];
        output::table(&header, files.into_iter().map(Row::cells))?;
        output::line(format_args!(
            "\nStates that can be restored: {}, from {} to {}",
            output::count(moments.states as u64),
            output::moment(moments.first.1),
            output::moment(moments.last.1)
        ))?;
        let rung = |rung: &Rung| {
            let within = jiff::SignedDuration::try_from(rung.within).unwrap_or_default();
            vec![format!("the last {within:#}"), output::count(rung.states as u64)]
        };
        output::table(&["within", "states"], moments.ladder.iter().map(rung))
    }

    fn summary(&self, status: &'static str) -> Summary {
        Summary {
            db_path: self.output.display().to_string(),
            replica: self.kind(),
            integrity_check: "none",
            status,
            ..Summary::default()
        }
    }

    fn kind(&self) -> &'static str {
        self.url.kind()
    }
}

impl Row {
    fn of(object: &Object) -> Row {
        Row {
            level: object.level.get(),
            name: object.txids.file_name(),
            min_txid: object.txids.min.to_string(),
            max_txid: object.txids.max.to_string(),
            size: object.size,
            timestamp: output::moment(object.created),
        }
    }

    fn cells(self) -> Vec<String> {
        let Row { level, name, min_txid, max_txid, size, timestamp } = self;
        vec![level.to_string(), name, min_txid, max_txid, size.to_string(), timestamp]
    }
}
