//! What we were called: started as `litestream`, we speak of ourselves by that name.

use std::path::Path;
use std::sync::OnceLock;

const OWN: &str = "brooklet";
const OTHER: &str = "litestream";

/// The program's name.
pub fn name() -> &'static str {
    static NAME: OnceLock<&str> = OnceLock::new();
    NAME.get_or_init(|| {
        let called = std::env::args_os().next().unwrap_or_default();
        let is_other = Path::new(&called).file_name().is_some_and(|name| name == OTHER);
        if is_other { OTHER } else { OWN }
    })
}

/// A text with commands in it that can be typed as they stand.
pub fn as_called(text: &str) -> String {
    in_words_of(name(), text)
}

fn in_words_of(name: &str, text: &str) -> String {
    text.replace(&format!("{OWN} "), &format!("{name} "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_those_of_the_name() {
        let text = "did it work? brooklet ltx lists them; .brooklet-doctor";
        assert_eq!(in_words_of(OWN, text), text);
        let other = "did it work? litestream ltx lists them; .brooklet-doctor";
        assert_eq!(in_words_of(OTHER, text), other);
    }
}
