//! Credentials: where they come from, and that they are never shown.

use std::fmt;

use crate::places;

/// A text that no message, log or `Debug` shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps a text to itself.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text, for those who need it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// What a file holds, without the line end that editors and shells add.
pub fn read(path: &str) -> Result<String, String> {
    let shown = |error: std::io::Error| format!("cannot read {path}: {error}");
    let text = std::fs::read_to_string(places::absolute(path).map_err(shown)?).map_err(shown)?;
    match text.trim_end_matches(['\n', '\r']) {
        "" => Err(format!("{path} is empty")),
        text => Ok(text.to_owned()),
    }
}

/// What the file holds that the variable `<name>_FILE` names, if that is set.
pub fn from_file(
    name: &str,
    lookup: impl Fn(&str) -> Option<String>,
) -> Option<Result<String, String>> {
    let variable = format!("{name}_FILE");
    let path = lookup(&variable)?;
    Some(read(&path).map_err(|reason| format!("${variable}: {reason}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_its_text_without_the_line_end() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        assert_eq!(read(&write("a", "hush\r\n")), Ok("hush".into()));
        assert_eq!(read(&write("b", " two\nlines\n")), Ok(" two\nlines".into()));
        let empty = write("c", "\n");
        assert_eq!(read(&empty), Err(format!("{empty} is empty")));
        let lookup = |name: &str| (name == "KEY_FILE").then(|| "/no/such/file".to_owned());
        let error = from_file("KEY", lookup).unwrap().unwrap_err();
        assert!(error.starts_with("$KEY_FILE: cannot read /no/such/file: "), "{error}");
        assert_eq!(from_file("OTHER", lookup), None);
    }

    #[test]
    fn it_is_not_shown() {
        assert_eq!(format!("{:?}", Secret::new("hush")), "Secret");
    }
}
