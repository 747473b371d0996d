//! Measures brooklet and Litestream side by side on this machine, beside the bare machine itself.

mod bucket;
mod database;
mod directory;
mod ground;
mod load;
mod measure;
mod options;
mod process;
mod program;
mod samples;
mod table;
mod wiretap;

use anyhow::Result;
use clap::Parser;

use crate::ground::Ground;
use crate::options::{Command, Options};
use crate::table::Table;

fn main() -> Result<()> {
    let options = Options::parse();
    if let Some(Command::Load(load)) = options.command {
        return load.run();
    }
    let ground = Ground::prepare(&options)?;
    let mut table = Table::new(&ground);
    for measure in options.measures() {
        eprintln!("measuring: {measure:?}");
        table.extend(measure::run(measure, &ground)?);
    }
    print!("{table}");
    Ok(())
}
