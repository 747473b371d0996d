//! Words of Litestream's command line that version 0.5 dropped.

use crate::failure::Failure;

/// Flags of Litestream 0.3 and what replaces them.
const DROPPED_FLAGS: [(&str, &str); 3] = [
    ("replica", "give the replica's URL, as in: restore -o app.db file:///backup"),
    ("generation", "there are no generations any more: choose a state with -txid or -timestamp"),
    ("index", "there are no WAL indexes any more: choose a state with -txid or -timestamp"),
];

const DROPPED_COMMANDS: [&str; 2] = ["generations", "snapshots"];

/// What to say about a command that is not ours, if Litestream has or had it.
pub fn command(name: &str) -> Option<Failure> {
    DROPPED_COMMANDS.contains(&name).then(|| {
        Failure::usage(format_args!("the command {name} is gone since Litestream 0.5"))
            .hint("list a replica's files: brooklet ltx -level all DB")
    })
}

/// What to say about a flag that is not ours, if Litestream has or had it.
pub fn flag(command: &str, name: &str) -> Option<Failure> {
    let (_, replacement) = DROPPED_FLAGS.iter().find(|(dropped, _)| *dropped == name)?;
    let message = format_args!("{command}: -{name} is gone since Litestream 0.5");
    Some(Failure::usage(message).hint(replacement))
}
