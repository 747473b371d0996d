//! Which process has a lease, and whether it still runs.
//!
//! A number alone does not say: others get it later, and each container has a number 1.

use std::fs;

/// `host:pid`, for people.
pub(super) fn owner() -> String {
    let host = rustix::system::uname();
    format!("{}:{}", host.nodename().to_string_lossy(), std::process::id())
}

/// This process, as no other was or will be; none where the system does not tell.
pub(super) fn ours() -> Option<String> {
    of(std::process::id())
}

/// `boot/namespace/number/start`
pub(super) fn of(pid: u32) -> Option<String> {
    Some(format!("{}/{pid}/{}", world()?, start(pid)?))
}

/// Whether a process ran in our world, and does no more. Of other worlds nothing is known.
pub(super) fn has_ended(process: &str) -> bool {
    let Some(ours) = world() else { return false };
    let Some(rest) = process.strip_prefix(&ours).and_then(|rest| rest.strip_prefix('/')) else {
        return false;
    };
    let Some((pid, began)) = rest.split_once('/') else { return false };
    pid.parse().is_ok_and(|pid| start(pid).as_deref() != Some(began))
}

/// One boot of one machine, and the part of it in which process numbers have a meaning.
fn world() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{}/{}", boot.trim(), namespace.display()))
}

/// When it began, in ticks since the boot; none if there is no such process, or only its remains.
fn start(pid: u32) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may hold anything.
    let mut fields = status.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") { None } else { fields.nth(18).map(str::to_owned) }
}
