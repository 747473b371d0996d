//! Going on where continuity is not proven: all pages are compared with the last known state.

use super::{Attached, Database};
use crate::Error;
use crate::capture::History;
use crate::image::ImagePlan;
use sqlite::Live;

const COMPARING: &str = "comparing the whole database with the last known state";

impl Database {
    /// Goes on from a comparison of the database with the last known state.
    pub(super) fn rebase(&self, attached: &mut Attached, reason: &str) -> Result<(), Error> {
        let has_pin = match attached.live.gave_way() {
            true => attached.live.take_back(|_, _| Ok(())),
            false => Ok(()),
        };
        has_pin.inspect_err(|_: &Error| self.shared.keep_doubt(reason.to_owned()))?;
        attached.leaving.took_back();
        attached.lost = true;
        let compared = self.compare(&mut attached.live, &attached.history, reason);
        let mut history = compared.inspect_err(|_| self.shared.keep_doubt(reason.to_owned()))?;
        attached.lost = false;
        // What was captured before and nobody was told of yet comes first.
        history.fresh.splice(..0, attached.history.fresh.drain(..));
        history.unsynced.splice(..0, attached.history.unsynced.drain(..));
        attached.history = history;
        Ok(())
    }

    /// Makes the last known state and the database equal again by comparing their pages.
    pub(super) fn compare(
        &self,
        live: &mut Live,
        history: &History,
        reason: &str,
    ) -> Result<History, Error> {
        let db = self.options.path.display();
        match self.around.seats.are_scarce() {
            // The price of leaving databases alone.
            true => tracing::info!(%db, reason, after = %history.txid, "{COMPARING}"),
            false => tracing::warn!(%db, reason, after = %history.txid, "{COMPARING}"),
        }
        let plan = ImagePlan {
            txid: history.txid.next(),
            begins: false,
            lineage: history.lineage,
            not_before: Some(history.timestamp),
            base: history.sums.as_ref(),
        };
        let compared = self.image(live, &plan)?;
        self.shared.rebased();
        Ok(compared)
    }
}

/// The reason if the error means that the history does not continue; any other error stays one.
pub(super) fn discontinuity(error: Error) -> Result<String, Error> {
    match error {
        Error::Discontinuity(reason) => Ok(reason),
        Error::Database(sqlite::Error::Discontinuity { reason, .. }) => Ok(reason),
        error => Err(error),
    }
}
