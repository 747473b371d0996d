//! A copy that follows a replica, seen from the replica's storage.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use engine::Replicator;
use engine::restore::{Follower, Request};
use storage::Storage;

use crate::{PATIENCE, Stage};

struct Followed {
    stage: Stage,
    replicator: Replicator,
    follower: Follower,
}

impl Followed {
    fn new() -> Followed {
        let stage = Stage::new();
        let replicator = stage.replicate_untouched();
        stage.commit();
        replicator.sync(Instant::now() + PATIENCE).unwrap();
        let storage = Arc::clone(&stage.storage) as Arc<dyn Storage>;
        let request = Request::new(storage, copy(&stage));
        let (follower, _) = Follower::open(vec![request], &()).unwrap();
        Followed { stage, replicator, follower }
    }

    fn commit(&self) {
        self.stage.commit();
        self.replicator.sync(Instant::now() + PATIENCE).unwrap();
    }
}

fn copy(stage: &Stage) -> PathBuf {
    stage.db.with_extension("copy")
}

#[test]
fn a_copy_that_is_up_to_date_costs_one_listing_a_look() {
    let mut followed = Followed::new();
    for _ in 0..3 {
        followed.commit();
        assert!(followed.follower.advance(&()).unwrap().is_some());
        let before = followed.stage.storage.requests();
        for looks in 1..=5 {
            assert_eq!(followed.follower.advance(&()).unwrap(), None);
            assert_eq!(followed.stage.storage.requests(), before + looks);
        }
    }
}
