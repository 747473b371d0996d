//! What a service manager is told: systemd's `Type=notify`, with its watchdog.

use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::fleet::Fleet;
use super::health::{self, Thresholds};

/// The variables that only we should heed.
pub const VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"];
/// Until everything has begun, how often that is looked at.
const BEGIN: Duration = Duration::from_millis(50);
/// How long databases that fail keep us from being called started.
const GRACE: Duration = Duration::from_secs(30);
/// How often the status line is made anew.
const STATUS: Duration = Duration::from_secs(10);

/// The way to the service manager, if there is one.
#[derive(Debug, Default)]
pub struct Notify {
    to: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notify {
    /// As the environment tells.
    pub fn from_environment() -> Notify {
        let variable = |name: &str| std::env::var_os(name);
        let to = variable("NOTIFY_SOCKET").and_then(|place| match open(&place) {
            Ok(to) => Some(to),
            Err(error) => {
                tracing::warn!(%error, "the service manager cannot be reached");
                None
            }
        });
        let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|usec| ours && *usec > 0);
        Notify { to, watchdog: watchdog.map(Duration::from_micros) }
    }

    fn send(&self, message: &str) {
        if let Some((socket, address)) = &self.to
            && let Err(error) = socket.send_to_addr(message.as_bytes(), address)
        {
            tracing::debug!(%error, "the service manager was not told");
        }
    }

    /// The configuration is read again; [`Notify::reloaded`] follows.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let usec = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={usec}"));
    }

    /// It was read.
    pub fn reloaded(&self) {
        self.send("READY=1");
    }

    /// The last commits are carried to the replicas.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=Carrying the last commits to the replicas");
    }

    /// Tells of the beginning and, for as long as the program lives, that it lives.
    pub fn attend(self: &Arc<Notify>, fleet: &Arc<Fleet>) -> std::io::Result<()> {
        if self.to.is_none() {
            return Ok(());
        }
        let (notify, fleet) = (Arc::clone(self), Arc::clone(fleet));
        thread::Builder::new().name("notify".into()).spawn(move || notify.run(&fleet))?;
        Ok(())
    }

    fn run(&self, fleet: &Fleet) {
        let began = Instant::now();
        // Not later than in half of the watchdog's time, and the look itself takes some of it.
        let beat = self.watchdog.map(|it| it / 3);
        let (mut ready, mut told, mut beaten) = (false, String::new(), None::<Instant>);
        loop {
            if !ready && (has_begun(fleet) || began.elapsed() >= GRACE) {
                self.send("READY=1");
                ready = true;
            }
            let line = status_line(fleet);
            if line != told {
                self.send(&format!("STATUS={line}"));
                told = line;
            }
            if let Some(beat) = beat.filter(|it| beaten.is_none_or(|at| at.elapsed() >= *it)) {
                if fleet.replicator().is_alive(beat) {
                    self.send("WATCHDOG=1");
                    beaten = Some(Instant::now());
                } else {
                    tracing::error!(
                        "the databases are not looked at any more: the watchdog is not told that all is well"
                    );
                }
            }
            let wait = if ready { beat.unwrap_or(STATUS).min(STATUS) } else { BEGIN };
            thread::sleep(wait);
        }
    }
}

fn open(place: &OsString) -> std::io::Result<(UnixDatagram, SocketAddr)> {
    let address = match place.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(place)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

fn has_begun(fleet: &Fleet) -> bool {
    fleet.statuses().iter().all(health::has_begun)
}

/// What `systemctl status` shows.
fn status_line(fleet: &Fleet) -> String {
    let (statuses, problems) = (fleet.statuses(), health::of(fleet, &Thresholds::default()));
    match problems.as_slice() {
        [] => format!("Replicating {} databases", statuses.len()),
        [one] => format!("Replicating {} databases; {one}", statuses.len()),
        [first, rest @ ..] => {
            format!("Replicating {} databases; {first}; and {} more", statuses.len(), rest.len())
        }
    }
    .replace('\n', " ")
}
