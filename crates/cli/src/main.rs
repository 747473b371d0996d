//! The command line of brooklet.
// In a binary, `pub` reaches no further than `pub(crate)`, and reads better.
#![allow(unreachable_pub)]
// The doc comments of arguments are what `help` prints.
#![allow(clippy::doc_markdown)]

mod args;
mod argv;
mod call;
mod commands;
mod compat;
mod config;
mod connect;
mod daemon;
mod demo;
mod exit;
mod failure;
mod go_duration;
mod http;
mod logging;
mod metrics;
mod output;
mod places;
mod program;
mod secret;
mod signals;
mod source;
mod supervise;
mod when;

use std::process::ExitCode;

fn main() -> ExitCode {
    let ended = match args::Args::parse_from(std::env::args_os()) {
        Ok(Some(args)) => commands::run(args.command),
        Ok(None) => Ok(exit::Exit::Done),
        Err(failure) => Err(failure),
    };
    ended.unwrap_or_else(failure::Failure::report).into()
}
