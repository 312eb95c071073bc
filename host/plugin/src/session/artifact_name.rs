//! What an artifact may be called.

/// The longest name, in bytes.
pub const MAX_ARTIFACT_NAME: usize = 128;

/// Whether it is a plain file name, which begins with no dot: a file that is not finished does.
pub fn is_valid_artifact_name(name: &str) -> bool {
    (1..=MAX_ARTIFACT_NAME).contains(&name.len())
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_file_names() {
        for good in ["a", "response_body", "a.b-C_9"] {
            assert!(is_valid_artifact_name(good), "{good}");
        }
        for bad in ["", ".a", "a/b", "ä", &"x".repeat(129)] {
            assert!(!is_valid_artifact_name(bad), "{bad}");
        }
    }
}
