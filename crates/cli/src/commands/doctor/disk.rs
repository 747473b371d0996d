//! Disks: what is free on them, and of what kind they are.

use std::path::{Path, PathBuf};

use rustix::fs::statvfs;

use super::finding::Finding;
use crate::output;

/// Less than this is little for anything.
const LITTLE: u64 = 64 << 20;

/// Whether what a database of this size may need is free where `place` is, or will be.
pub fn space(subject: &str, place: &Path, size: u64) -> Finding {
    let there = existing(place);
    match statvfs(&there) {
        Err(error) => Finding::warn(subject, "disk", format!("{}: {error}", there.display())),
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let detail = format!("{} are free at {}", output::bytes(free), there.display());
            match free < size.max(LITTLE) {
                false => Finding::ok(subject, "disk", detail),
                true => Finding::warn(subject, "disk", detail).hint(format!(
                    "a snapshot of the database may take {}: make room",
                    output::bytes(size.max(LITTLE))
                )),
            }
        }
    }
}

/// The place itself, or the nearest directory above it that is there.
pub fn existing(place: &Path) -> PathBuf {
    place.ancestors().find(|it| it.exists()).unwrap_or(Path::new("/")).to_owned()
}

/// The name of the network file system that a file is on, if it is on one.
#[cfg(target_os = "linux")]
pub fn network(path: &Path) -> Option<&'static str> {
    // The numbers are those of statfs(2).
    const KINDS: [(u64, &str); 6] = [
        (0x6969, "NFS"),
        (0x517b, "SMB"),
        (0xff53_4d42, "SMB"),
        (0xfe53_4d42, "SMB"),
        (0x0102_1997, "9P"),
        (0x00c3_6400, "Ceph"),
    ];
    let kind = rustix::fs::statfs(path).ok()?.f_type as u64 & 0xffff_ffff;
    KINDS.iter().find(|(number, _)| *number == kind).map(|(_, name)| *name)
}

/// Nobody knows here.
#[cfg(not(target_os = "linux"))]
pub fn network(_: &Path) -> Option<&'static str> {
    None
}
