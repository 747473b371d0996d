//! `brooklet schema`.

use crate::config::schema;
use crate::exit::Exit;
use crate::failure::Result;
use crate::output;

/// Print the JSON Schema of the configuration file
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  brooklet schema > config.schema.json

An editor checks a file that begins with
  # yaml-language-server: $schema=config.schema.json")]
pub struct Args {}

/// Runs the command.
pub fn run(_: &Args) -> Result<Exit> {
    output::json(&schema::document())?;
    Ok(Exit::Done)
}
