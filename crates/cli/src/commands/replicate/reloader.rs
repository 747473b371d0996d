//! SIGHUP: the configuration is read again while everything runs.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use engine::folder::Stop;

use super::{Job, Settings, folders};
use crate::args::ConfigArgs;
use crate::config::Config;
use crate::config::directory::Directory;
use crate::connect;
use crate::daemon::fleet::Fleet;
use crate::daemon::notify::Notify;
use crate::daemon::reload;

/// How soon to try again to take in databases that something is in the way of.
const AGAIN: Duration = Duration::from_millis(200);

/// Reads it when asked to, on a thread of its own, since databases that go are synced first.
#[derive(Debug)]
pub struct Reloader {
    asked: Option<Sender<()>>,
    watches: Arc<Mutex<Watches>>,
}

/// The directories that are watched.
#[derive(Debug, Default)]
struct Watches {
    directories: Vec<Directory>,
    listed: HashSet<PathBuf>,
    stops: Vec<Stop>,
    /// No more are to be begun.
    over: bool,
}

struct Reading {
    config: ConfigArgs,
    settings: Settings,
    fleet: Arc<Fleet>,
    notify: Arc<Notify>,
    watches: Arc<Mutex<Watches>>,
}

impl Reloader {
    /// Watches the directories of the configuration, and waits to be asked.
    pub fn new(job: &Job, fleet: &Arc<Fleet>, notify: &Arc<Notify>) -> Reloader {
        let watches = Arc::new(Mutex::new(Watches::default()));
        let begin = |it: &mut Watches| it.begin(fleet, &job.directories, &job.listed);
        begin(&mut watches.lock().unwrap_or_else(PoisonError::into_inner));
        let asked = job.config.clone().and_then(|config| {
            let reading = Reading {
                config,
                settings: job.settings.clone(),
                fleet: Arc::clone(fleet),
                notify: Arc::clone(notify),
                watches: Arc::clone(&watches),
            };
            // Asked again while it reads, it reads once more.
            let (asked, asking) = bounded(1);
            let named = thread::Builder::new().name("reload".into());
            let spawned = named.spawn(move || reading.run(&asking));
            spawned.map_or_else(
                |error| {
                    tracing::error!(%error, "SIGHUP will do nothing");
                    None
                },
                |_| Some(asked),
            )
        });
        Reloader { asked, watches }
    }

    /// Has the configuration read.
    pub fn ask(&mut self) {
        match &self.asked {
            Some(asked) => drop(asked.try_send(())),
            None => tracing::info!("there is no configuration to read again"),
        }
    }

    /// Ends all of it.
    pub fn stop(&mut self) {
        self.asked = None;
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        watches.end();
        watches.over = true;
    }
}

impl Watches {
    fn begin(&mut self, fleet: &Arc<Fleet>, directories: &[Directory], listed: &HashSet<PathBuf>) {
        self.end();
        if self.over {
            return;
        }
        self.directories = directories.to_vec();
        self.listed.clone_from(listed);
        match folders::watch(fleet, directories, listed) {
            Ok(stops) => self.stops = stops,
            Err(error) => {
                // The next reading tries again, changed or not.
                self.directories.clear();
                tracing::error!(%error, "directories cannot be watched");
            }
        }
    }

    fn end(&mut self) {
        self.stops.drain(..).for_each(|stop| stop.stop());
    }
}

impl Reading {
    fn run(&self, asking: &Receiver<()>) {
        loop {
            let wait = if self.fleet.coming().is_empty() { Duration::MAX } else { AGAIN };
            match asking.recv_timeout(wait) {
                Ok(()) => self.read(),
                Err(RecvTimeoutError::Timeout) => reload::take_in(&self.fleet, Duration::ZERO),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn read(&self) {
        tracing::info!("reading the configuration again");
        self.notify.reloading();
        let read = self.config.load().and_then(|config| self.take_over(&config));
        if let Err(failure) = read {
            let hint = failure.hint.unwrap_or_default();
            tracing::error!(
                error = failure.message,
                hint,
                "the new configuration is not used; everything goes on as before"
            );
        }
        self.notify.reloaded();
    }

    fn take_over(&self, config: &Config) -> crate::failure::Result<()> {
        let wanted = reload::wanted(config, &self.fleet)?;
        let renewed = connect::refresh()?;
        if renewed {
            tracing::info!("credentials of the environment have changed");
        }
        let plan = reload::plan(&self.fleet.members(), wanted, renewed);
        let (removed, changed, kept) = (plan.remove.len(), plan.changed, plan.kept);
        let added = plan.take_in.len() - changed;
        tracing::info!(added, changed, removed, kept, "the configuration was read");
        self.tell_what_waits(&Settings::of(config));
        let listed: HashSet<PathBuf> = config.databases.iter().map(|it| it.path.clone()).collect();
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        let same = watches.directories == config.directories && watches.listed == listed;
        if !same {
            watches.end();
        }
        drop(watches);
        self.fleet.set_defaults(config.defaults.clone());
        reload::carry_out(plan, &self.fleet, self.settings.shutdown_sync_timeout);
        if !same {
            let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
            watches.begin(&self.fleet, &config.directories, &listed);
        }
        Ok(())
    }

    /// Says what of the configuration has no effect before the next start.
    fn tell_what_waits(&self, new: &Settings) {
        let old = &self.settings;
        let changes = [
            ("addr", old.address != new.address),
            ("socket", old.socket != new.socket),
            ("exec", old.exec != new.exec),
            ("logging", old.logging != new.logging),
            ("heartbeat-url", old.heartbeat != new.heartbeat),
            ("shutdown-sync-timeout", old.shutdown_sync_timeout != new.shutdown_sync_timeout),
            ("upload-rate or request-rate", old.limits != new.limits),
        ];
        for (key, _) in changes.into_iter().filter(|(_, changed)| *changed) {
            tracing::warn!(key, "this change has no effect before the next start");
        }
    }
}
