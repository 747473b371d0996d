//! Which moments a replica can give.

use std::time::{Duration, SystemTime};

use ltx::{Timestamp, Txid};
use storage::{Object, Storage};

use super::{Error, captured, list, no_backup, plan};

const RUNGS: [Duration; 4] = [
    Duration::from_secs(5 * 60),
    Duration::from_secs(3600),
    Duration::from_secs(24 * 3600),
    Duration::from_secs(30 * 24 * 3600),
];

/// The states that can be restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moments {
    /// The oldest: its transaction, and when that was captured.
    pub first: (Txid, Timestamp),
    /// The newest.
    pub last: (Txid, Timestamp),
    /// How many there are.
    pub states: usize,
    /// How many there are of late, and of longer ago, by the times of the listing.
    pub ladder: Vec<Rung>,
}

/// States within a time before now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rung {
    /// How far back.
    pub within: Duration,
    /// How many.
    pub states: usize,
}

impl Moments {
    /// Lists a replica and sees what it can give.
    pub fn read(storage: &dyn Storage) -> Result<Moments, Error> {
        Moments::of(storage, &list(storage)?)
    }

    pub(crate) fn of(storage: &dyn Storage, objects: &[Object]) -> Result<Moments, Error> {
        let states = plan::states(objects);
        let (Some(first), Some(last)) = (states.first(), states.last()) else {
            return Err(no_backup(storage));
        };
        let time = |file: &Object| Ok::<_, Error>((file.txids.max, captured(storage, file)?));
        let now = SystemTime::now();
        let age = |file: &Object| now.duration_since(file.created.to_system_time());
        let rung = |within| Rung {
            within,
            states: states.iter().filter(|file| age(file).is_ok_and(|age| age <= within)).count(),
        };
        Ok(Moments {
            first: time(first)?,
            last: time(last)?,
            states: states.len(),
            ladder: RUNGS.map(rung).to_vec(),
        })
    }
}
