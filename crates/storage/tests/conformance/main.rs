//! What every backend must do. A backend joins by one `#[test]` that hands its storage to
//! [`suite::run`].

mod suite;

use std::sync::Arc;

use storage::FileStorage;

#[test]
fn a_local_directory_conforms() {
    suite::run(|| {
        let directory = tempfile::tempdir().expect("temporary directory");
        let storage = Arc::new(FileStorage::new(directory.path().join("backup/shop")));
        suite::Fixture { storage, keep: Box::new(directory) }
    });
}
