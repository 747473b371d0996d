//! The program that `-exec` runs, and how its life and ours end together.

use crate::daemon::notify;
use crate::failure::{Failure, Result};
use crate::signals::Event;
use crossbeam_channel::{Receiver, Sender};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io;
use std::process::{self, Command, ExitStatus};

/// A running program. It shares our stdin, stdout, stderr and environment.
#[derive(Debug)]
pub struct Child {
    process: process::Child,
    command: String,
}

impl Child {
    /// Starts a command line, split as a shell splits words (and nothing more); `ended` hears of
    /// the program's end.
    pub fn spawn(command: &str, ended: Sender<Event>) -> Result<Child> {
        let words = split(command)?;
        let mut program = Command::new(&words[0]);
        program.args(&words[1..]);
        // What the service manager wants to hear from us it must not hear from others.
        notify::VARIABLES.iter().for_each(|variable| {
            program.env_remove(variable);
        });
        let process = program.spawn().map_err(|error| {
            Failure::new(
                crate::exit::Exit::Failed,
                format_args!("cannot run {:?}: {error}", words[0]),
            )
            .hint("-exec needs a program on the PATH; for shell syntax: -exec \"sh -c '...'\"")
        })?;
        let child = Child { process, command: command.to_owned() };
        let pid = child.pid();
        std::thread::Builder::new().name("child".into()).spawn(move || {
            await_end(pid);
            let _ = ended.send(Event::ChildEnded);
        })?;
        Ok(child)
    }

    fn pid(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.process.id()).ok()?)
    }

    /// Passes a signal on. The program has not been waited for, so its number is still its own.
    fn forward(&self, signal: i32) {
        let to = Signal::from_named_raw(signal).zip(self.pid());
        if let Some((signal, pid)) = to {
            let _ = kill_process(pid, signal);
        }
    }

    /// The end of a program that is known to have ended.
    fn reap(mut self) -> Result<ExitStatus> {
        Ok(self.process.wait()?)
    }

    /// Ends it at once.
    fn kill(mut self) -> Result<ExitStatus> {
        let _ = self.process.kill();
        self.reap()
    }
}

/// The words of a command line: at least one.
pub fn split(command: &str) -> Result<Vec<String>> {
    match shell_words::split(command) {
        Ok(words) if words.is_empty() => Err(Failure::usage("-exec: the command is empty")),
        Ok(words) => Ok(words),
        Err(error) => Err(Failure::usage(format_args!("-exec: cannot split {command:?}: {error}"))
            .hint("close the quotes")),
    }
}

/// Waits without collecting the exit status: until it is collected, the process number cannot
/// go to another process, and signals reach the right one.
fn await_end(pid: Option<Pid>) {
    let Some(pid) = pid else { return };
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while let Err(error) = waitid(WaitId::Pid(pid), options) {
        if error != rustix::io::Errno::INTR {
            return;
        }
    }
}

/// How the time of replication came to its end.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    /// What became of the program, if there was one.
    pub child: Option<ExitStatus>,
    /// A second signal came: no final sync.
    pub at_once: bool,
}

/// Waits for the end: the child's, or a signal that is passed on to it. A second signal ends the
/// child at once. What else is asked for is handed on.
pub fn attend(
    mut child: Option<Child>,
    events: &Receiver<Event>,
    mut asked: impl FnMut(Event),
) -> Result<Ended> {
    let mut signals = 0;
    for event in events {
        match (event, child.take()) {
            (Event::ChildEnded, Some(ended)) => {
                let status = ended.reap()?;
                return Ok(Ended { child: Some(status), at_once: false });
            }
            (Event::ChildEnded, None) => {}
            (Event::Reload | Event::Dump, running) => {
                asked(event);
                child = running;
            }
            (Event::Lost, None) => return Ok(Ended { child: None, at_once: false }),
            (Event::Lost, Some(running)) => {
                tracing::error!(
                    command = running.command,
                    "ending the program: another one writes now"
                );
                running.forward(SIGTERM);
                signals += 1;
                child = Some(running);
            }
            (Event::Signal(_), None) => return Ok(Ended { child: None, at_once: signals > 0 }),
            (Event::Signal(_), Some(child)) if signals > 0 => {
                tracing::warn!(command = child.command, "second signal: ending the program");
                return Ok(Ended { child: Some(child.kill()?), at_once: true });
            }
            (Event::Signal(signal), Some(running)) => {
                signals += 1;
                if signal == SIGINT && terminal_told_all() {
                    tracing::info!("interrupted: waiting for the program to end");
                } else {
                    tracing::info!(signal, "signal received: passing it on to the program");
                    running.forward(signal);
                }
                child = Some(running);
            }
        }
    }
    Err(io::Error::other("the signal thread has ended").into())
}

/// Ctrl-C on our terminal reaches the whole foreground group, so the child has it already; a
/// second copy would make many programs give up their own orderly end.
fn terminal_told_all() -> bool {
    let stdin = io::stdin();
    rustix::termios::tcgetpgrp(&stdin).is_ok_and(|group| group == rustix::process::getpgrp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use crossbeam_channel::unbounded;

    fn attended(command: &str, signals: &[i32]) -> Ended {
        let (sender, events) = unbounded();
        let child = Child::spawn(command, sender.clone()).unwrap();
        for signal in signals {
            sender.send(Event::Signal(*signal)).unwrap();
        }
        attend(Some(child), &events, |_| ()).unwrap()
    }

    fn exit(ended: &Ended) -> Exit {
        Exit::of_child(ended.child.unwrap())
    }

    #[test]
    fn a_child_that_ends_brings_its_code() {
        assert_eq!(exit(&attended("sh -c 'exit 7'", &[])), Exit::Child(7));
        assert_eq!(exit(&attended("true", &[])), Exit::Done);
        assert_eq!(exit(&attended("sh -c 'kill -9 $$'", &[])), Exit::Child(137));
    }

    #[test]
    fn a_signal_is_passed_on_and_the_child_waited_for() {
        let ended = attended("sleep 1000", &[SIGTERM]);
        assert_eq!(exit(&ended), Exit::Child(143));
        assert!(!ended.at_once);
    }

    #[test]
    fn a_second_signal_ends_a_deaf_child() {
        // Ignored signals stay ignored across exec: the child is deaf from its first moment.
        let ended = attended("sh -c 'trap \"\" TERM; exec sleep 1000'", &[SIGTERM, SIGTERM]);
        assert!(ended.at_once);
        assert!(matches!(exit(&ended), Exit::Child(137 | 143)));
    }

    #[test]
    fn without_a_child_a_signal_is_the_end() {
        let (sender, events) = unbounded();
        sender.send(Event::Signal(SIGINT)).unwrap();
        let ended = attend(None, &events, |_| ()).unwrap();
        assert_eq!(ended, Ended { child: None, at_once: false });
    }

    #[test]
    fn commands_that_cannot_run_are_explained() {
        let (sender, _events) = unbounded();
        let message = |command| Child::spawn(command, sender.clone()).unwrap_err().message;
        assert!(message("").contains("empty"));
        assert!(message("sh 'x").contains("cannot split"));
        assert!(message("/no/such/program x").contains("/no/such/program"));
    }
}
