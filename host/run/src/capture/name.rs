//! The name of an invocation's directory: any id becomes one harmless path component.
//!
//! Everything but `A-Z a-z 0-9 . _ -` is percent-encoded, a leading dot too. A name over 200 bytes is cut
//! and given `~` and a digest of the whole id; `~` occurs in no other name, so different ids never share a
//! directory.

use sha2::{Digest, Sha256};
use std::fmt::Write;

const MAX_BYTES: usize = 200;
const DIGEST_DIGITS: usize = 32;

pub(super) fn directory_name(invocation_id: &str) -> String {
    let mut name = String::with_capacity(invocation_id.len());
    let mut cut = 0;
    for (index, byte) in invocation_id.bytes().enumerate() {
        if name.len() < MAX_BYTES - DIGEST_DIGITS {
            cut = name.len();
        }
        let plain =
            byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') || (byte == b'.' && index > 0);
        if plain {
            name.push(char::from(byte));
        } else {
            // Writing to a string can't fail.
            let _ = write!(name, "%{byte:02X}");
        }
    }
    if name.len() > MAX_BYTES {
        name.truncate(cut);
        let digest = format!("{:x}", Sha256::digest(invocation_id));
        name.push('~');
        name.push_str(&digest[..DIGEST_DIGITS]);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_ids_become_one_harmless_component() {
        for (id, name) in [
            ("inv-001", "inv-001"),
            ("v1.2_x", "v1.2_x"),
            (".", "%2E"),
            ("..", "%2E."),
            ("../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"),
            ("/abs", "%2Fabs"),
            ("a b%c~", "a%20b%25c%7E"),
            ("é\n\0", "%C3%A9%0A%00"),
        ] {
            assert_eq!(directory_name(id), name, "{id:?}");
        }
    }

    #[test]
    fn long_ids_are_cut_between_characters_and_stay_apart() {
        assert_eq!(directory_name(&"a".repeat(200)), "a".repeat(200));
        for filler in ["a", "/"] {
            let one = directory_name(&(filler.repeat(400) + "1"));
            let two = directory_name(&(filler.repeat(400) + "2"));
            assert_ne!(one, two);
            assert!(one.len() <= MAX_BYTES, "{}", one.len());
            let (kept, digest) = one.split_once('~').unwrap();
            assert_eq!(digest.len(), DIGEST_DIGITS);
            assert_eq!(kept.len() % directory_name(&format!("x{filler}")[1..]).len(), 0);
        }
    }
}
