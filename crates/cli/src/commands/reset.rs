//! `brooklet reset`.

use std::path::PathBuf;

use engine::local;
use serde::Serialize;

use crate::args::ConfigArgs;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::{output, places};

/// Forget the local state of a database, so that its next sync starts over
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  brooklet reset -dry-run app.db                   which files would go
  brooklet reset app.db
  brooklet reset -config litestream.yml /data/app.db

For a local state that is damaged, or of another database. The next sync begins with an image of
the whole database; the database and its replicas are not touched. Code 8: it is being replicated
right now.")]
pub struct Args {
    /// The database file
    #[arg(value_name = "DB")]
    database: String,
    /// Print which files would be removed, and stop
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Serialize)]
struct Summary {
    db_path: PathBuf,
    status: &'static str,
    local_state: PathBuf,
    files: Vec<PathBuf>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Exit> {
    let path = places::absolute(&args.database)?;
    if !path.is_file() {
        let message = format_args!("no database at {}", path.display());
        return Err(Failure::new(Exit::Failed, message).hint("name the database file"));
    }
    let meta = meta(args, &path)?;
    let files = local::reset(&path, meta.as_deref(), args.dry_run)?;
    let status = match (args.dry_run, files.is_empty()) {
        (_, true) => "nothing_to_reset",
        (true, false) => "dry_run",
        (false, false) => "reset",
    };
    let local_state = local::directory(&path, meta.as_deref());
    if args.json {
        output::json(&Summary { db_path: path, status, local_state, files })?;
        return Ok(Exit::Done);
    }
    let (path, state) = (path.display(), local_state.display());
    let count = match files.len() {
        1 => "1 file".to_owned(),
        count => format!("{} files", output::count(count as u64)),
    };
    match status {
        "nothing_to_reset" => {
            output::line(format_args!("nothing to reset: {state} holds nothing"))?
        }
        "dry_run" => {
            files
                .iter()
                .try_for_each(|it| output::line(format_args!("would remove {}", it.display())))?;
            output::line(format_args!("dry run: {count} of {path} would go"))?;
        }
        _ => {
            output::line(format_args!("reset {path}: {count} removed; the next sync starts over"))?
        }
    }
    Ok(Exit::Done)
}

/// Where the configuration says that the local state is. A file that nobody named need not be
/// there, nor know the database.
fn meta(args: &Args, path: &std::path::Path) -> Result<Option<PathBuf>> {
    if args.config.config.is_none() && !args.config.is_there()? {
        return Ok(None);
    }
    match args.config.load()?.database(path) {
        Some(database) => Ok(database.meta),
        None if args.config.config.is_none() => Ok(None),
        None => {
            let message = format_args!("{} is not in the configuration", path.display());
            Err(Failure::new(Exit::Config, message).hint("brooklet databases lists those that are"))
        }
    }
}
