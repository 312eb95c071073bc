//! The token that requests over TCP need.

use super::private;
use anyhow::{Result, bail};
use std::{fmt, hint, path::Path};

/// A shorter one could be guessed.
const MIN_LENGTH: usize = 16;

/// A secret text.
pub(crate) struct Token(Vec<u8>);

impl Token {
    pub(crate) fn new(token: Vec<u8>) -> Self {
        Self(token)
    }

    /// The token in a file, without the space around it.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = private::read("token file", path)?;
        let token = text.trim_ascii();
        if token.len() < MIN_LENGTH {
            bail!(
                "token file '{}': the token has {} characters; it needs at least {MIN_LENGTH}",
                path.display(),
                token.len()
            );
        }
        if !token.iter().all(u8::is_ascii_graphic) {
            bail!(
                "token file '{}': the token has to be one line of visible ASCII characters",
                path.display()
            );
        }
        Ok(Self::new(token.to_vec()))
    }

    /// Whether `given` is the token. How long this takes tells nothing but the token's length.
    pub(crate) fn is(&self, given: &[u8]) -> bool {
        if self.0.len() != given.len() {
            return false;
        }
        let differences = self
            .0
            .iter()
            .zip(given)
            .fold(0, |all, (own, given)| hint::black_box(all | (own ^ given)));
        differences == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}
