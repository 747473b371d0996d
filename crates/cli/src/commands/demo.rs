//! `brooklet demo`.
use crate::exit::Exit;
use crate::failure::Result;
/// x
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long)]
    keep: bool,
}
/// y
#[derive(Debug, clap::Args)]
pub struct AppArgs {
    #[arg(long)]
    keep: bool,
}
pub fn run(_: &Args) -> Result<Exit> { Ok(Exit::Done) }
pub fn run_app(_: &AppArgs) -> Result<Exit> { Ok(Exit::Done) }
