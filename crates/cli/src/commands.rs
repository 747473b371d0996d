//! One file per command.

pub mod databases;
pub mod demo;
pub mod ltx;
pub mod replicate;
pub mod restore;
pub mod version;

use crate::args::Command;
use crate::exit::Exit;
use crate::failure::Result;
use crate::logging;

/// Does what the command line asks for.
pub fn run(command: Command) -> Result<Exit> {
    if !matches!(command, Command::Replicate(_)) {
        let level = logging::level_from_environment().unwrap_or(logging::Level::Warn);
        logging::start(level, logging::Format::Text, logging::Target::Stderr);
    }
    match command {
        Command::Replicate(args) => replicate::run(&args),
        Command::Restore(args) => restore::run(&args),
        Command::Databases(args) => databases::run(&args),
        Command::Ltx(args) => ltx::run(&args),
        Command::Version(args) => version::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::DemoApp(args) => demo::run_app(&args),
        Command::DemoReplicate(args) => demo::run_replicate(&args),
    }
}
