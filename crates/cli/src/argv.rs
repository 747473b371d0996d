//! The command line as Go programs take it, turned into the one that clap takes.
//!
//! `-flag` and `--flag` are the same; a value follows as `-flag value` or `-flag=value`; a
//! boolean takes a value only as `-flag=false`.

use crate::compat;
use crate::failure::{Failure, Result};
use clap::{Arg, ArgAction, Command};
use std::ffi::{OsStr, OsString};

/// Rewrites arguments, the program's name first, for `program`.
pub fn normalise(
    args: impl IntoIterator<Item = OsString>,
    program: &mut Command,
) -> Result<Vec<OsString>> {
    program.build();
    let mut args = args.into_iter();
    let mut out: Vec<OsString> = args.by_ref().take(1).collect();
    let mut command: &Command = program;
    let mut at_root = true;
    while let Some(arg) = args.next() {
        if arg == "--" {
            out.push(arg);
            out.extend(args);
            break;
        }
        if let Some(typed) = Typed::read(&arg) {
            flag(command, &typed, &mut args, &mut out)?;
            continue;
        }
        if at_root {
            at_root = false;
            let name = arg.to_string_lossy();
            match command.find_subcommand(&*name) {
                Some(found) => command = found,
                None => compat::command(&name).map_or(Ok(()), Err)?,
            }
        }
        out.push(arg);
    }
    Ok(out)
}

/// `-name`, `--name`, `-name=value`.
struct Typed<'a> {
    name: &'a str,
    value: Option<&'a str>,
}

impl Typed<'_> {
    fn read(arg: &OsStr) -> Option<Typed<'_>> {
        let text = arg.to_str()?.strip_prefix('-')?;
        let text = text.strip_prefix('-').unwrap_or(text);
        text.starts_with(|c: char| c.is_ascii_alphabetic()).then(|| match text.split_once('=') {
            Some((name, value)) => Typed { name, value: Some(value) },
            None => Typed { name: text, value: None },
        })
    }
}

fn flag(
    command: &Command,
    typed: &Typed<'_>,
    args: &mut impl Iterator<Item = OsString>,
    out: &mut Vec<OsString>,
) -> Result<()> {
    let Some(known) = command.get_arguments().find(|arg| is_called(arg, typed.name)) else {
        compat::flag(command.get_name(), typed.name).map_or(Ok(()), Err)?;
        // clap says what it is not.
        out.push(format!("--{}", typed.name).into());
        return Ok(());
    };
    let long = format!("--{}", known.get_long().unwrap_or(typed.name));
    if takes_value(known) {
        let mut joined = OsString::from(long + "=");
        match (typed.value, args.next_if_none(typed.value)) {
            (Some(value), _) => joined.push(value),
            (None, Some(value)) => joined.push(value),
            (None, None) => {
                return Err(Failure::usage(format_args!("-{} needs a value", typed.name)));
            }
        }
        out.push(joined);
    } else if boolean(typed)? {
        out.push(long.into());
    } else {
        out.retain(|arg| *arg != *long);
    }
    Ok(())
}

/// Takes the next argument only where no value came with the flag.
trait NextIfNone {
    fn next_if_none(&mut self, value: Option<&str>) -> Option<OsString>;
}

impl<I: Iterator<Item = OsString>> NextIfNone for I {
    fn next_if_none(&mut self, value: Option<&str>) -> Option<OsString> {
        if value.is_none() { self.next() } else { None }
    }
}

fn is_called(arg: &Arg, name: &str) -> bool {
    let short = name.chars().next().filter(|_| name.len() == 1);
    arg.get_long() == Some(name)
        || arg.get_all_aliases().is_some_and(|aliases| aliases.contains(&name))
        || (short.is_some() && arg.get_short() == short)
}

fn takes_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
}

/// The words of Go's `strconv.ParseBool`.
fn boolean(typed: &Typed<'_>) -> Result<bool> {
    match typed.value {
        None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(value) => {
            let name = typed.name;
            Err(Failure::usage(format_args!(
                "-{name} is a switch: {value:?} is not a value for it"
            ))
            .hint(format_args!("write -{name}, or -{name}=false")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Args;
    use clap::CommandFactory;

    fn try_normalised(line: &str) -> Result<String> {
        let words = shell_words::split(line).unwrap();
        let out = normalise(words.into_iter().map(OsString::from), &mut Args::command())?;
        let out: Vec<String> = out.into_iter().map(|it| it.into_string().unwrap()).collect();
        Ok(out.join(" "))
    }

    fn normalised(line: &str) -> String {
        try_normalised(line).unwrap()
    }

    #[test]
    fn one_dash_or_two_is_the_same() {
        assert_eq!(normalised("b replicate -once a u"), "b replicate --once a u");
        assert_eq!(normalised("b replicate --once a u"), "b replicate --once a u");
        assert_eq!(normalised("b replicate -config c.yml"), "b replicate --config=c.yml");
        assert_eq!(normalised("b restore -o=x -txid 1 y"), "b restore --output=x --txid=1 y");
        assert_eq!(normalised("b restore y -o x"), "b restore y --output=x");
        assert_eq!(normalised("b -h"), "b --help");
        assert_eq!(normalised("b restore -help"), "b restore --help");
    }

    #[test]
    fn values_may_look_like_flags() {
        assert_eq!(normalised("b replicate -exec '-x y' a u"), "b replicate --exec=-x y a u");
        assert_eq!(normalised("b ltx -- -once"), "b ltx -- -once");
        assert_eq!(normalised("b ltx - -5"), "b ltx - -5");
    }

    #[test]
    fn switches_can_be_turned_off() {
        assert_eq!(normalised("b replicate -once=false a u"), "b replicate a u");
        assert_eq!(normalised("b replicate -once -once=0 a u"), "b replicate a u");
        assert_eq!(normalised("b replicate -once=T a u"), "b replicate --once a u");
        assert!(try_normalised("b replicate -once=no").unwrap_err().message.contains("switch"));
    }

    #[test]
    fn words_of_litestream_are_answered() {
        let message = |line| try_normalised(line).unwrap_err().to_string();
        assert!(message("b restore -generation x").contains("hint: there are no generations"));
        assert!(message("b restore -replica=x").contains("-replica is gone"));
        assert!(message("b snapshots x").contains("brooklet ltx"));
        assert!(message("b restore -txid").contains("-txid needs a value"));
    }
}
