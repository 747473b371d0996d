//! Verifies one replica again and again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::local::Local;
use crate::replica::Replica;
use crate::restore::{self, ErrorKind};
use crate::scheduler::{Job, Next};
use crate::shared::{Moment, Shared};
use crate::upload::Uploader;
use crate::verify::{self, Full};

/// When to look again, if a verification is due while nobody knows how the replica goes on.
const UNSETTLED: Duration = Duration::from_secs(60);

/// How often, and how thoroughly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validation {
    /// From the end of one verification to the next.
    pub interval: Duration,
    /// Whether each restores into a scratch file in the local state.
    pub full: bool,
}

/// Does what `brooklet verify` does, on a schedule.
#[derive(Debug)]
pub(crate) struct Verifier {
    replica: Arc<Replica>,
    uploader: Arc<Uploader>,
    local: Arc<Local>,
    shared: Arc<Shared>,
    validation: Validation,
    next: Mutex<Option<Instant>>,
}

impl Verifier {
    pub(crate) fn new(
        uploader: Arc<Uploader>,
        local: Arc<Local>,
        shared: Arc<Shared>,
        validation: Validation,
    ) -> Verifier {
        let (replica, next) = (Arc::clone(&uploader.replica), Mutex::default());
        Verifier { replica, uploader, local, shared, validation, next }
    }

    fn verify(&self) {
        let (replica, began) = (self.replica.storage.url(), Moment::now());
        let full = Full { directory: self.local.scratch(), source: None };
        let full = self.validation.full.then_some(full);
        let request = verify::Request { storage: Arc::clone(&self.replica.storage), full };
        let failed = |error: String| self.shared.verified(self.replica.index, Err(error));
        match verify::run(&request, &()) {
            Ok(report) if report.is_sound() => {
                tracing::info!(replica, txid = %report.moments.last.0, "verified");
                self.shared.verified(self.replica.index, Ok(began.time));
            }
            Ok(report) => {
                let faults = report.faults.join("; ");
                tracing::error!(
                    replica,
                    faults,
                    "the newest state can be restored, but there are faults"
                );
                failed(faults);
            }
            Err(error) => {
                tracing::error!(replica, %error, "verification failed");
                failed(error.to_string());
                self.mend(&error);
            }
        }
    }
}

impl Verifier {
    /// What restores cannot read, a new snapshot gets them past, unless the database itself is
    /// corrupt. What is missing is looked for.
    fn mend(&self, error: &restore::Error) {
        if error.damaged_object().is_some_and(|it| self.replica.damaged_by_name(it)) {
            return self.replica.wake_keepers();
        }
        match error {
            restore::Error::Damaged { .. }
            | restore::Error::Misnamed { .. }
            | restore::Error::MissingPages { .. }
            | restore::Error::Unproven { .. } => {
                self.replica.unsound();
                self.replica.wake_keepers();
            }
            restore::Error::Corrupt { .. } => {}
            _ if error.kind() == ErrorKind::NotRestorable => {
                self.uploader.distrust("it cannot be restored");
            }
            _ => {}
        }
    }
}

impl Job for Verifier {
    fn run(&self) -> Next {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match *next {
            Some(due) if due > now => {}
            Some(_) if self.uploader.is_settled() => {
                self.verify();
                *next = Some(Instant::now() + self.validation.interval);
            }
            // What a replica holds is found out first.
            Some(_) => *next = Some(now + self.validation.interval.min(UNSETTLED)),
            None => *next = Some(now + self.validation.interval),
        }
        next.map_or(Next::WhenWoken, Next::At)
    }
}
