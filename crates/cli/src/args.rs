//! The command line as typed.

use crate::commands::{
    check, completions, control, databases, demo, doctor, health, info, list, ltx, man, promote,
    replicate, reset, restore, schema, status, verify, version,
};
use crate::config::Config;
use crate::failure::{Failure, Result};
use crate::{argv, output, program};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::error::Error;
use std::ffi::OsString;

/// What is to be done, and how.
#[derive(Debug, Parser)]
#[command(about = "\
Streaming backup for SQLite: every commit is carried to a replica, from which the
database can be restored as it was at any moment.")]
#[command(name = "brooklet", version, disable_version_flag = true, args_override_self = true)]
#[command(subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "\
Start here:
  brooklet demo                                    see it work; needs nothing
  brooklet replicate app.db file:///backup/app     replicate until stopped
  brooklet restore -o app.db file:///backup/app    get the database back

Every flag may be written with one dash or two: -config or --config.
Help on one command, with examples: brooklet help restore")]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    Replicate(replicate::Args),
    Restore(restore::Args),
    Promote(promote::Args),
    Databases(databases::Args),
    Status(status::Args),
    #[command(alias = "wal")]
    Ltx(ltx::Args),
    Check(check::Args),
    Verify(verify::Args),
    Health(health::Args),
    Info(info::Args),
    List(list::Args),
    Start(control::StartArgs),
    Stop(control::StopArgs),
    Sync(control::SyncArgs),
    Register(control::RegisterArgs),
    Unregister(control::UnregisterArgs),
    Doctor(doctor::Args),
    Reset(reset::Args),
    Version(version::Args),
    Demo(demo::Args),
    Completions(completions::Args),
    #[command(hide = true)]
    Man(man::Args),
    #[command(hide = true)]
    Schema(schema::Args),
    #[command(hide = true)]
    DemoApp(demo::AppArgs),
    #[command(hide = true)]
    DemoReplicate(demo::ReplicateArgs),
}

/// Which configuration file to read.
#[derive(Debug, Clone, clap::Args)]
pub struct ConfigArgs {
    /// The configuration file [default: $LITESTREAM_CONFIG, else /etc/litestream.yml]
    #[arg(long, value_name = "PATH")]
    pub config: Option<String>,
    /// Take $ signs in the configuration file as they are
    #[arg(long)]
    pub no_expand_env: bool,
}

impl ConfigArgs {
    /// Reads the file, and says what should be said of it. Logs must be on.
    pub fn load(&self) -> Result<Config> {
        let config = self.read()?;
        config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        Ok(config)
    }

    /// Reads the file.
    pub fn read(&self) -> Result<Config> {
        Config::load(self.config.as_deref(), !self.no_expand_env)
    }

    /// Whether the file is there, or must be because the environment names it.
    pub fn is_there(&self) -> Result<bool> {
        Config::is_there(self.config.as_deref())
    }

    /// A replica named by its URL has no use for a configuration file.
    pub fn unused_with_url(&self) -> Result<()> {
        match &self.config {
            None => Ok(()),
            Some(_) => Err(Failure::usage("-config and a replica URL cannot be used together")
                .hint("with -config, name the database by its path")),
        }
    }
}

impl Args {
    /// Reads the command line; `None` if it asked for help, which has been printed.
    pub fn parse_from(args: impl IntoIterator<Item = OsString>) -> Result<Option<Args>> {
        let mut program = Args::command().name(program::name());
        let args = argv::normalise(args, &mut program)?;
        let parsed = program.try_get_matches_from(args).and_then(|it| Args::from_arg_matches(&it));
        match parsed {
            Ok(args) => Ok(Some(args)),
            Err(error) if error.kind() == ErrorKind::DisplayHelp => {
                output::line(program::as_called(error.render().to_string().trim_end()))?;
                Ok(None)
            }
            Err(error) => Err(failure(&error)),
        }
    }
}

/// Says in our words what clap did not understand.
fn failure(error: &clap::Error) -> Failure {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => Some(texts.join(", ")),
        _ => None,
    };
    let invalid = context(ContextKind::InvalidArg).unwrap_or_default();
    let help = usage(error).unwrap_or_else(|| "brooklet help".to_owned());
    match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            Failure::usage("a command is missing")
                .hint("brooklet demo shows what it does; brooklet help lists the commands")
        }
        ErrorKind::InvalidSubcommand => {
            let typed = context(ContextKind::InvalidSubcommand).unwrap_or_default();
            let failure = Failure::usage(format_args!("there is no command {typed:?}"));
            match suggested_command(error) {
                Some(nearest) => failure.hint(format_args!("did you mean {nearest}?")),
                None => failure.hint("brooklet help lists the commands"),
            }
        }
        ErrorKind::UnknownArgument if invalid.starts_with('-') => {
            let failure = Failure::usage(format_args!("unknown flag {}", one_dash(&invalid)));
            match context(ContextKind::SuggestedArg) {
                Some(nearest) => failure.hint(format_args!("did you mean {}?", one_dash(&nearest))),
                None => failure.hint(help),
            }
        }
        ErrorKind::UnknownArgument => {
            Failure::usage(format_args!("unexpected argument {invalid:?}")).hint(help)
        }
        ErrorKind::MissingRequiredArgument => {
            Failure::usage(format_args!("missing: {invalid}")).hint(help)
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let value = context(ContextKind::InvalidValue).unwrap_or_default();
            let flag = one_dash(invalid.split([' ', '=']).next().unwrap_or_default());
            let why = error.source().map(|why| format!(": {why}")).unwrap_or_default();
            let failure =
                Failure::usage(format_args!("{flag}: {value:?} is not a value for it{why}"));
            match context(ContextKind::ValidValue) {
                Some(valid) => failure.hint(format_args!("values: {valid}")),
                None => failure.hint(help),
            }
        }
        _ => {
            let text = error.render().to_string();
            let first = text.lines().next().unwrap_or_default();
            Failure::usage(first.trim_start_matches("error: ")).hint(help)
        }
    }
}

/// The nearest command that is not a hidden one.
fn suggested_command(error: &clap::Error) -> Option<&str> {
    let Some(ContextValue::Strings(names)) = error.get(ContextKind::SuggestedSubcommand) else {
        return None;
    };
    names.iter().map(String::as_str).rfind(|name| !name.starts_with("demo-"))
}

/// The usage line that clap would print.
fn usage(error: &clap::Error) -> Option<String> {
    match error.get(ContextKind::Usage)? {
        ContextValue::StyledStr(text) => {
            let text = text.to_string();
            Some(text.trim().replacen("Usage:", "usage:", 1))
        }
        _ => None,
    }
}

fn one_dash(flag: &str) -> String {
    flag.strip_prefix("--").map_or_else(|| flag.to_owned(), |name| format!("-{name}"))
}
