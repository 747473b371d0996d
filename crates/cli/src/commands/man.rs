//! `brooklet man`.

use std::path::PathBuf;

use clap::CommandFactory;

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output;

/// Write a manual page for each command
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  brooklet man /usr/local/share/man/man1")]
pub struct Args {
    /// An existing directory
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Exit> {
    let program = crate::args::Args::command().disable_help_subcommand(true);
    let directory = args.directory.display();
    clap_mangen::generate_to(program, &args.directory).map_err(|error| {
        Failure::new(
            Exit::Failed,
            format_args!("cannot write manual pages to {directory}: {error}"),
        )
        .hint("name a directory that exists")
    })?;
    output::line(format_args!("manual pages are in {directory}"))?;
    Ok(Exit::Done)
}
