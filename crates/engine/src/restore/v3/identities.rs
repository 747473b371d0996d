//! The keys of encrypted backups.

use std::fmt;
use std::io::Read;
use std::str::FromStr;

use age::x25519::Identity;

/// The identities that backups may be encrypted to.
#[derive(Clone, Default)]
pub struct Identities(Vec<Identity>);

impl Identities {
    /// Reads identities, one per line, as `age-keygen` writes them; `#` begins a comment.
    pub fn parse(text: &str) -> Result<Identities, &'static str> {
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(Identity::from_str).collect::<Result<_, _>>().map(Identities)
    }

    pub(super) fn decrypt<R: Read + 'static>(
        &self,
        stored: R,
    ) -> Result<impl Read + use<R>, String> {
        if self.0.is_empty() {
            return Err("no identity was given".to_owned());
        }
        let opened = age::Decryptor::new(stored).and_then(|envelope| {
            envelope.decrypt(self.0.iter().map(|identity| identity as &dyn age::Identity))
        });
        opened.map_err(|error| error.to_string())
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} identities", self.0.len())
    }
}
