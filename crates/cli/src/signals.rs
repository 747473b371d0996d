//! SIGTERM and SIGINT: the first asks for an orderly end, the second for an immediate one. SIGHUP and
//! SIGUSR1 ask a daemon for something else.

use crate::exit::Exit;
use crossbeam_channel::{Receiver, Sender, unbounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long an immediate end may take before the process is ended from here.
const LAST_PATIENCE: Duration = Duration::from_secs(2);

/// Something that ends a replication, or is asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A signal came.
    Signal(i32),
    /// The supervised program has ended.
    ChildEnded,
    /// The configuration is to be read again.
    Reload,
    /// All that is known is to be logged.
    Dump,
    /// Another process has the lease on every replica: there is nothing left to write to.
    Lost,
}

/// What has been asked for, and the way to hear of it.
#[derive(Debug)]
pub struct Listener {
    /// Ends, as they come.
    pub events: Receiver<Event>,
    /// For others that have something to tell.
    pub sender: Sender<Event>,
    /// Whether any signal came.
    pub stop: Arc<AtomicBool>,
    /// Whether a second one came.
    pub abort: Arc<AtomicBool>,
}

/// Begins to listen. Signals that come later no longer end the process by themselves.
pub fn listen() -> std::io::Result<Listener> {
    listen_for(&[SIGTERM, SIGINT])
}

/// The same for a daemon, which may be asked for more.
pub fn listen_as_daemon() -> std::io::Result<Listener> {
    listen_for(&[SIGTERM, SIGINT, SIGHUP, SIGUSR1])
}

fn listen_for(signals: &[i32]) -> std::io::Result<Listener> {
    let (sender, events) = unbounded();
    let listener = Listener {
        events,
        sender: sender.clone(),
        stop: Arc::new(AtomicBool::new(false)),
        abort: Arc::new(AtomicBool::new(false)),
    };
    let (stop, abort) = (listener.stop.clone(), listener.abort.clone());
    let mut signals = Signals::new(signals)?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            if let Some(asked) = asked(signal) {
                let _ = sender.send(asked);
                continue;
            }
            if stop.swap(true, Ordering::SeqCst) {
                abort.store(true, Ordering::SeqCst);
            }
            let _ = sender.send(Event::Signal(signal));
            if abort.load(Ordering::SeqCst) {
                std::thread::sleep(LAST_PATIENCE);
                std::process::exit(Exit::Unsynced.code().into());
            }
        }
    })?;
    Ok(listener)
}

fn asked(signal: i32) -> Option<Event> {
    match signal {
        SIGHUP => Some(Event::Reload),
        SIGUSR1 => Some(Event::Dump),
        _ => None,
    }
}
