//! Hands views of a database from the one who captures it to those who make snapshots of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::snapshot::Source;

/// At most one view at a time, shared by all who asked when it was made.
#[derive(Debug, Default)]
pub(crate) struct Views(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Replicas that ask, and those that were given a view which they have not taken yet.
    replicas: BTreeMap<usize, Option<Arc<Source>>>,
    current: Weak<Source>,
    /// Stands a moment longer, until the current view's files are closed.
    open: Weak<()>,
}

impl Views {
    /// The view that this replica asked for, if it was made.
    pub(crate) fn take(&self, replica: usize) -> Option<Arc<Source>> {
        let mut state = self.lock();
        state.replicas.get(&replica)?.as_ref()?;
        state.replicas.remove(&replica)?
    }

    /// Whether this replica has asked for a view.
    pub(crate) fn has_asked(&self, replica: usize) -> bool {
        self.lock().replicas.contains_key(&replica)
    }

    /// Asks for a view.
    pub(crate) fn ask(&self, replica: usize) {
        self.lock().replicas.entry(replica).or_default();
    }

    /// Whether somebody waits for a view, and there is none that still lives.
    pub(crate) fn is_asked(&self) -> bool {
        let state = self.lock();
        state.open.strong_count() == 0 && state.replicas.values().any(Option::is_none)
    }

    /// Whether nobody asks for a view, or has one.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.lock();
        state.open.strong_count() == 0 && state.replicas.is_empty()
    }

    /// Gives a view to all who asked.
    pub(crate) fn give(&self, view: Source) {
        let mut state = self.lock();
        let view = Arc::new(view);
        state.current = Arc::downgrade(&view);
        state.open = view.open();
        state.replicas.values_mut().for_each(|slot| *slot = Some(Arc::clone(&view)));
    }

    /// Asks for the view back. Says whether it is gone already.
    pub(crate) fn recall(&self) -> bool {
        let mut state = self.lock();
        state.replicas.clear();
        if let Some(view) = state.current.upgrade() {
            view.recall();
        }
        state.open.strong_count() == 0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
