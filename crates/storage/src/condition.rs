//! Writes that happen only if nobody else came first.

use crate::{Error, Result, Storage, layout};

/// When an object may be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// If there is none of this name.
    Absent,
    /// If it is still the one of this version.
    Unchanged(Version),
}

/// What tells one content of an object from the next: an `ETag`, a generation, a sequence number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version(pub String);

/// Whether a storage keeps to conditions: it refuses to create what is there, and to replace what
/// has changed.
///
/// Tried under a name that nobody else has: those who try at the same time would each take the
/// other's writes for those of a storage that heeds nothing.
pub(crate) fn are_kept<S: Storage + ?Sized>(storage: &S) -> Result<bool> {
    let probe = format!("{}-{:016x}", layout::PROBE, fastrand::u64(..));
    let kept = match try_them(storage, &probe) {
        Err(Error::Unsupported { .. }) => Ok(false),
        kept => kept,
    };
    match (kept, storage.remove_key(&probe)) {
        (Ok(false), Err(Error::Unsupported { .. })) => Ok(false),
        (kept, removed) => kept.and_then(|kept| removed.map(|()| kept)),
    }
}

fn try_them<S: Storage + ?Sized>(storage: &S, probe: &str) -> Result<bool> {
    let is_refused = |result: Result<Version>| match result {
        Ok(_) => Ok(false),
        Err(Error::Conflict { .. }) => Ok(true),
        Err(error) => Err(error),
    };
    // Where nothing may be deleted, nothing is written either: each start would leave an object.
    storage.remove_key(probe)?;
    let first = storage.put_if(probe, b"first", &Condition::Absent)?;
    if !is_refused(storage.put_if(probe, b"second", &Condition::Absent))? {
        return Ok(false);
    }
    let over_first = Condition::Unchanged(first);
    storage.put_if(probe, b"third", &over_first)?;
    is_refused(storage.put_if(probe, b"fourth", &over_first))
}
