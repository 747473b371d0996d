//! A test's folder, its seed and its size.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A temporary folder that stays behind, with its path printed, when the test fails.
#[derive(Debug)]
pub struct Scratch {
    dir: Option<TempDir>,
    root: PathBuf,
}

impl Scratch {
    /// A new folder whose name holds `name`.
    pub fn new(name: &str) -> Scratch {
        let prefix = format!("brooklet-{name}-");
        let dir = TempDir::with_prefix(prefix).expect("create a temporary folder");
        let root = dir.path().to_owned();
        Scratch { dir: Some(dir), root }
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let keep = std::thread::panicking() || std::env::var_os("BROOKLET_TEST_KEEP").is_some();
        if keep && let Some(dir) = self.dir.take() {
            eprintln!("kept for a look: {}", dir.keep().display());
        }
    }
}

/// The seed of a randomised test: `BROOKLET_TEST_SEED`, or a new one, printed either way.
pub fn seed(test: &str) -> u64 {
    let seed = match std::env::var("BROOKLET_TEST_SEED") {
        Ok(text) => text.parse().expect("BROOKLET_TEST_SEED is a number"),
        Err(_) => u64::from(fastrand::u32(..)),
    };
    println!("{test}: to repeat, set BROOKLET_TEST_SEED={seed}");
    seed
}

/// A count times `BROOKLET_TEST_SCALE` (1 unless set), at least 1.
pub fn scaled(count: u64) -> u64 {
    let scale = std::env::var("BROOKLET_TEST_SCALE")
        .map_or(1.0, |text| text.parse::<f64>().expect("BROOKLET_TEST_SCALE is a number"));
    ((count as f64 * scale) as u64).max(1)
}
