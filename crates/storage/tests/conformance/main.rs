//! What every backend must do. A backend joins by one `#[test]` that hands its storage to
//! [`suite::run`].

mod azure;
mod cloud;
mod gcs;
mod nats;
mod oss;
mod proxy;
mod s3;
mod sftp;
mod stub;
mod suite;
mod webdav;

use std::sync::Arc;

use storage::{Environment, FileStorage, Options, Storage, Url};
use suite::{Abilities, Times};

#[test]
fn a_local_directory_conforms() {
    suite::run(Abilities { times: Times::Millis, conditions: true }, || {
        let directory = tempfile::tempdir().expect("temporary directory");
        let storage = Arc::new(FileStorage::new(directory.path().join("backup/shop")));
        suite::Fixture { storage, keep: Box::new(directory) }
    });
}

/// The storage of a URL, with these options and no environment.
fn open(url: &str, options: &[(&str, &str)]) -> Arc<dyn Storage> {
    let url: Url = url.parse().expect("a URL");
    let options: Options = options.iter().copied().collect();
    url.storage(&options, &Environment::default()).expect("a storage")
}
