//! `brooklet verify`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::restore::Progress;
use engine::verify::{self, Comparison, Full, Report};
use serde::Serialize;
use storage::Url;

use crate::args::ConfigArgs;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::source::Source;
use crate::{output, places, signals};

/// Prove that a replica can be restored
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  brooklet verify file:///backup/app
      no file is missing, and those of the newest state begin and end as they must
  brooklet verify -full file:///backup/app
      restore into a scratch file, check every checksum and let SQLite check the database
  brooklet verify -full -config litestream.yml /data/app.db
      the same for all replicas of a database, and compare each page with it

Code 7: the newest state cannot be restored, or something else is wrong. Code 8: the replica is
sound, but not what the database is.")]
pub struct Args {
    /// A database of the configuration file, or a replica's URL
    #[arg(value_name = "DB|URL")]
    source: String,
    /// Restore into a scratch file and check everything
    #[arg(long)]
    full: bool,
    /// Where the scratch file goes [default: beside the database, else $TMPDIR or /tmp]
    #[arg(long, value_name = "DIR")]
    scratch: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Exit> {
    let source = Source::find(&args.source, &args.config)?;
    if args.scratch.is_some() && !args.full {
        return Err(Failure::usage("-scratch needs -full"));
    }
    let progress = Stop(signals::listen()?.stop);
    let mut worst = Exit::Done;
    for replica in &source.replicas {
        let full = if args.full { Some(full(args, &source)?) } else { None };
        let compares = full.as_ref().is_some_and(|full| full.source.is_some());
        let request = verify::Request { storage: replica.open()?, full };
        let exit = match verify::run(&request, &progress) {
            Ok(report) => {
                tell(args, &replica.url, &report, compares)?;
                exit(&report)
            }
            Err(error) if source.replicas.len() == 1 => return Err(error.into()),
            Err(error) => {
                tracing::error!(%replica, %error, "verification failed");
                Exit::of_restore(&error)
            }
        };
        if exit != Exit::Done && worst != Exit::Unrestorable {
            worst = exit;
        }
    }
    Ok(worst)
}

fn full(args: &Args, source: &Source) -> Result<Full> {
    let database = source.database.as_ref();
    let beside = database.and_then(|it| it.path.parent()).map(Path::to_path_buf);
    let directory = match &args.scratch {
        Some(directory) => places::absolute(directory)?,
        None => beside.unwrap_or_else(std::env::temp_dir),
    };
    let source = database.map(|it| (it.path.clone(), it.meta.clone()));
    let exists = |(path, _): &(PathBuf, _)| path.exists();
    Ok(Full { directory, source: source.filter(exists) })
}

fn exit(report: &Report) -> Exit {
    match report.compared {
        _ if !report.faults.is_empty() => Exit::Unrestorable,
        Some(Comparison::Differs { .. }) => Exit::Conflict,
        _ => Exit::Done,
    }
}

#[derive(Serialize)]
struct Summary<'a> {
    replica: String,
    status: &'static str,
    first_txid: String,
    first: String,
    last_txid: String,
    last: String,
    states: usize,
    files: usize,
    bytes: u64,
    needed_files: usize,
    faults: &'a [String],
    restored: bool,
    proven: Option<bool>,
    compared: Option<&'static str>,
    details: Option<String>,
}

fn tell(args: &Args, url: &Url, report: &Report, compares: bool) -> Result<()> {
    let (compared, details) = match &report.compared {
        None => (None, None),
        Some(Comparison::Equal { pages }) => {
            let pages = output::count(u64::from(*pages));
            (Some("equal"), Some(format!("all {pages} pages equal the database's")))
        }
        Some(Comparison::Differs { page }) => {
            (Some("different"), Some(format!("page {page} is not the database's")))
        }
        Some(Comparison::Unknown { reason }) => {
            (Some("unknown"), Some(format!("not compared with the database: {reason}")))
        }
    };
    let moments = &report.moments;
    if args.json {
        return output::json(&Summary {
            replica: url.to_string(),
            status: if report.is_sound() { "sound" } else { "faulty" },
            first_txid: moments.first.0.to_string(),
            first: output::moment(moments.first.1),
            last_txid: moments.last.0.to_string(),
            last: output::moment(moments.last.1),
            states: moments.states,
            files: report.files,
            bytes: report.bytes,
            needed_files: report.needed,
            faults: &report.faults,
            restored: report.restored.is_some(),
            proven: report.restored.as_ref().map(|it| it.proven),
            compared,
            details,
        });
    }
    output::line(format_args!(
        "{url}: {} states from {} to {}, the newest can be restored ({} in {} files, {} of them \
         for that)",
        output::count(moments.states as u64),
        output::moment(moments.first.1),
        output::moment(moments.last.1),
        output::bytes(report.bytes),
        output::count(report.files as u64),
        output::count(report.needed as u64),
    ))?;
    if let Some(restored) = &report.restored {
        let sum = if restored.proven { "its sum is the captured one" } else { "it carries no sum" };
        output::line(format_args!(
            "{url}: restored {} pages: {sum}, SQLite finds no fault",
            output::count(u64::from(restored.pages)),
        ))?;
    }
    if let Some(details) = details.filter(|_| compares) {
        output::line(format_args!("{url}: {details}"))?;
    }
    for fault in &report.faults {
        tracing::error!(replica = %url, "{fault}");
    }
    Ok(())
}

/// Ends at a signal.
#[derive(Debug)]
struct Stop(Arc<AtomicBool>);

impl Progress for Stop {
    fn cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
