//! The beginning of an answer, for messages.

use executor_runtime_sdk::BodyReader;
use std::io::{self, Read};

const PREVIEW: usize = 200;

/// The first bytes of a body: as many as [`preview`] can use.
///
/// # Errors
/// When the body breaks off, or the run is told to stop.
pub fn beginning(body: &mut BodyReader) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // A character has at most four bytes.
    body.by_ref().take(4 * PREVIEW as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The first 200 characters of a body; what is not UTF-8 is replaced.
pub fn preview(bytes: &[u8]) -> String {
    let bytes = &bytes[..bytes.len().min(4 * PREVIEW)];
    String::from_utf8_lossy(bytes).chars().take(PREVIEW).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_has_200_characters() {
        assert_eq!(preview(b"short"), "short");
        assert_eq!(preview("😀".repeat(300).as_bytes()), "😀".repeat(200));
        assert_eq!(preview(b"a\xffb"), "a\u{fffd}b");
    }
}
