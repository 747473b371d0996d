//! `brooklet check`.

use std::time::SystemTime;

use engine::restore::{self, Error, ErrorKind, Moments, Target, v3};
use ltx::Timestamp;
use serde::Serialize;
use storage::{Storage, Url};

use crate::args::ConfigArgs;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output;
use crate::source::Source;

/// Tell whether there is a backup that can be restored, and how far back it goes
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  brooklet check file:///backup/app
  brooklet check -json -config litestream.yml /data/app.db

Only listings and two headers are read; brooklet verify proves the files. Of several replicas one is
enough. Code 4: there is no backup. Code 5: access is denied. Code 6: the storage does not answer.
Code 7: there is one, and it cannot be restored.")]
pub struct Args {
    /// A database of the configuration file, or a replica's URL
    #[arg(value_name = "DB|URL")]
    source: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Serialize)]
struct Summary {
    restorable: bool,
    replicas: Vec<Row>,
}

#[derive(Serialize, Default)]
struct Row {
    replica: String,
    status: &'static str,
    format: Option<&'static str>,
    first_txid: Option<String>,
    first: Option<String>,
    last_txid: Option<String>,
    last: Option<String>,
    age_seconds: Option<u64>,
    states: Option<usize>,
    error: Option<String>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Exit> {
    let source = Source::find(&args.source, &args.config)?;
    let (mut rows, mut failures) = (Vec::new(), Vec::new());
    for replica in &source.replicas {
        match look(&*replica.open()?, &replica.url) {
            Ok(row) => rows.push(row),
            Err(error) => {
                rows.push(Row::of_error(&replica.url, &error));
                failures.push(error);
            }
        }
    }
    let restorable = failures.len() < rows.len();
    if args.json {
        output::json(&Summary { restorable, replicas: rows })?;
    } else {
        rows.iter().filter(|row| row.error.is_none()).try_for_each(Row::print)?;
    }
    if restorable {
        for error in failures {
            tracing::warn!(%error, "another replica has no backup that can be restored");
        }
        return Ok(Exit::Done);
    }
    // That there is none is said only if all of them say so.
    let told = failures.iter().position(|error| error.kind() != ErrorKind::NoBackup).unwrap_or(0);
    Err(hinted(failures.swap_remove(told)))
}

/// What a replica can give.
fn look(storage: &dyn Storage, url: &Url) -> std::result::Result<Row, Error> {
    match Moments::read(storage) {
        Ok(moments) => {
            restore::find_plan(storage, Target::Latest)?;
            Ok(Row::of_moments(url, &moments))
        }
        Err(error @ (Error::NoBackup { .. } | Error::UnknownFormat { .. })) => {
            old(url, storage)?.ok_or(error)
        }
        Err(error) => Err(error),
    }
}

/// A backup of Litestream 0.3.
fn old(url: &Url, storage: &dyn Storage) -> std::result::Result<Option<Row>, Error> {
    let Some(plan) = v3::find(storage, None)? else { return Ok(None) };
    Ok(Some(Row {
        replica: url.to_string(),
        status: "restorable",
        format: Some("litestream-0.3"),
        last: Some(output::moment(plan.created)),
        age_seconds: Some(age(plan.created)),
        ..Row::default()
    }))
}

fn age(moment: Timestamp) -> u64 {
    let since = SystemTime::now().duration_since(moment.to_system_time());
    since.map_or(0, |age| age.as_secs())
}

impl Row {
    fn of_moments(url: &Url, moments: &Moments) -> Row {
        let Moments { first, last, states, .. } = moments;
        Row {
            replica: url.to_string(),
            status: "restorable",
            format: Some("ltx"),
            first_txid: Some(first.0.to_string()),
            first: Some(output::moment(first.1)),
            last_txid: Some(last.0.to_string()),
            last: Some(output::moment(last.1)),
            age_seconds: Some(age(last.1)),
            states: Some(*states),
            error: None,
        }
    }

    fn of_error(url: &Url, error: &Error) -> Row {
        let status = match error.kind() {
            ErrorKind::NoBackup => "no_backup",
            ErrorKind::Denied => "denied",
            ErrorKind::Unreachable => "unreachable",
            ErrorKind::NotRestorable => "not_restorable",
            _ => "failed",
        };
        let error = Some(error.to_string());
        Row { replica: url.to_string(), status, error, ..Row::default() }
    }

    fn print(&self) -> Result<()> {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let url = &self.replica;
        match self.states {
            None => output::line(format_args!(
                "{url}: a backup of Litestream 0.3, up to {}",
                text(&self.last)
            )),
            Some(states) => output::line(format_args!(
                "{url}: {} from {} ({}) to {} ({}) can be restored",
                if states == 1 {
                    "1 state".to_owned()
                } else {
                    format!("{} states", output::count(states as u64))
                },
                text(&self.first),
                text(&self.first_txid),
                text(&self.last),
                text(&self.last_txid),
            )),
        }
    }
}

fn hinted(error: Error) -> Failure {
    match error.kind() {
        ErrorKind::NoBackup => Failure::new(Exit::NoBackup, error)
            .hint("is it the right place? brooklet replicate makes one"),
        _ => error.into(),
    }
}
