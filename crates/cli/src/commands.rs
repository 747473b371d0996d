//! One file per command.

pub mod check;
pub mod completions;
pub mod control;
pub mod databases;
pub mod demo;
pub mod doctor;
pub mod health;
pub mod info;
pub mod list;
pub mod ltx;
pub mod man;
pub mod promote;
pub mod replicate;
pub mod reset;
pub mod restore;
pub mod schema;
pub mod status;
pub mod verify;
pub mod version;

use crate::args::Command;
use crate::exit::Exit;
use crate::failure::Result;
use crate::logging;

/// Does what the command line asks for.
pub fn run(command: Command) -> Result<Exit> {
    if !matches!(command, Command::Replicate(_)) {
        let default = match &command {
            Command::Restore(args) if args.follows() => logging::Level::Info,
            _ => logging::Level::Warn,
        };
        let level = logging::level_from_environment().unwrap_or(default);
        logging::start(level, logging::Style::default(), logging::Target::Stderr);
    }
    match command {
        Command::Replicate(args) => replicate::run(&args),
        Command::Restore(args) => restore::run(&args),
        Command::Promote(args) => promote::run(&args),
        Command::Databases(args) => databases::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Ltx(args) => ltx::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Reset(args) => reset::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Info(args) => info::run(&args),
        Command::List(args) => list::run(&args),
        Command::Start(args) => control::start(&args),
        Command::Stop(args) => control::stop(&args),
        Command::Sync(args) => control::sync(&args),
        Command::Register(args) => control::register(&args),
        Command::Unregister(args) => control::unregister(&args),
        Command::Health(args) => health::run(&args),
        Command::Version(args) => version::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::DemoApp(args) => demo::run_app(&args),
        Command::DemoReplicate(args) => demo::run_replicate(&args),
    }
}
