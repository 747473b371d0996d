//! `brooklet promote`.

use engine::restore;
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Result;
use crate::{output, places};

/// Make a followed copy an ordinary database
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  brooklet restore -follow -o app.db file:///backup/app
      keep a copy up to date; end it with Ctrl-C or SIGTERM
  brooklet promote app.db
      from now on the application may write to it

The copy must not be followed any more. Afterwards it is replicated as any other database.")]
pub struct Args {
    /// The copy
    #[arg(value_name = "DB")]
    database: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Summary {
    db_path: String,
    status: &'static str,
    txid: String,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Exit> {
    let path = places::absolute(&args.database)?;
    let txid = restore::promote(&path)?;
    let db_path = path.display().to_string();
    if args.json {
        let (status, txid) = ("promoted", txid.to_string());
        output::json(&Summary { db_path, status, txid })?;
    } else {
        output::line(format_args!("promoted {db_path}: transaction {txid}"))?;
    }
    Ok(Exit::Done)
}
