//! `brooklet completions`.

use clap::{CommandFactory, ValueEnum};

use crate::exit::Exit;
use crate::failure::Result;
use crate::output;

/// Print a script with which a shell completes commands and flags
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  brooklet completions bash > /etc/bash_completion.d/brooklet
  brooklet completions zsh > \"${fpath[1]}/_brooklet\"
  brooklet completions fish > ~/.config/fish/completions/brooklet.fish")]
pub struct Args {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Exit> {
    let shell = match args.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    let mut program = crate::args::Args::command();
    clap_complete::generate(shell, &mut program, "brooklet", &mut script);
    output::line(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::Done)
}
