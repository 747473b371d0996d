//! File names as users write them, made whole.

use std::path::{Path, PathBuf};

/// Expands `~`, drops `sqlite://` and `sqlite3://`, and makes the path absolute, as Litestream
/// does wherever it takes a path.
pub fn absolute(text: &str) -> std::io::Result<PathBuf> {
    let bare = text.strip_prefix("sqlite://").or_else(|| text.strip_prefix("sqlite3://"));
    std::path::absolute(home(bare.unwrap_or(text)))
}

fn home(text: &str) -> PathBuf {
    let below = match text.strip_prefix('~') {
        Some("") => Some(""),
        Some(rest) => rest.strip_prefix('/'),
        None => None,
    };
    match (below, std::env::home_dir()) {
        (Some(below), Some(home)) => home.join(below),
        _ => Path::new(text).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_absolute() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(absolute("a.db").unwrap(), here.join("a.db"));
        assert_eq!(absolute("sqlite:///srv/a.db").unwrap(), Path::new("/srv/a.db"));
        assert_eq!(absolute("sqlite3://a.db").unwrap(), here.join("a.db"));
        assert_eq!(absolute("/srv/~/a.db").unwrap(), Path::new("/srv/~/a.db"));
        let home = std::env::home_dir().unwrap();
        assert_eq!(absolute("~/a.db").unwrap(), home.join("a.db"));
        assert_eq!(absolute("~other/a.db").unwrap(), here.join("~other/a.db"));
    }
}
