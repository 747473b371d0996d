//! Writes that happen only if nobody else came first.

use crate::{Error, Result, Storage};

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

/// Where conditions are tried.
const PROBE: &str = "brooklet-probe";

/// Whether a storage keeps to conditions: it refuses to create what is there, and to replace what
/// has changed.
pub(crate) fn are_kept<S: Storage + ?Sized>(storage: &S) -> Result<bool> {
    match try_them(storage) {
        Err(Error::Unsupported { .. }) => match storage.remove_key(PROBE) {
            Ok(()) | Err(Error::Unsupported { .. }) => Ok(false),
            Err(error) => Err(error),
        },
        kept => kept,
    }
}

fn try_them<S: Storage + ?Sized>(storage: &S) -> Result<bool> {
    let is_refused = |result: Result<Version>| match result {
        Ok(_) => Ok(false),
        Err(Error::Conflict { .. }) => Ok(true),
        Err(error) => Err(error),
    };
    storage.remove_key(PROBE)?;
    let first = storage.put_if(PROBE, b"first", &Condition::Absent)?;
    let mut kept = is_refused(storage.put_if(PROBE, b"second", &Condition::Absent))?;
    if kept {
        let over_first = Condition::Unchanged(first);
        storage.put_if(PROBE, b"third", &over_first)?;
        kept = is_refused(storage.put_if(PROBE, b"fourth", &over_first))?;
    }
    storage.remove_key(PROBE)?;
    Ok(kept)
}
