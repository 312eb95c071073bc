//! Where in a document something is, as a JSON pointer (RFC 6901).

use crate::problem::MAX_KEY_CHARS;
use std::fmt;

/// A place in a document, as a chain of stack frames: it costs nothing until it is displayed.
#[derive(Clone, Copy)]
pub(crate) enum Path<'p> {
    Root,
    Key(&'p Path<'p>, &'p str),
    Index(&'p Path<'p>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Index(parent, index) => write!(f, "{parent}/{index}"),
            Self::Key(parent, key) => {
                write!(f, "{parent}/")?;
                // A hostile key cannot blow up a report.
                let mut chars = key.chars();
                for c in chars.by_ref().take(MAX_KEY_CHARS) {
                    match c {
                        '~' => f.write_str("~0")?,
                        '/' => f.write_str("~1")?,
                        c => write!(f, "{c}")?,
                    }
                }
                f.write_str(if chars.next().is_some() { "…" } else { "" })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Path;

    #[test]
    fn a_pointer_escapes_its_own_syntax() {
        let key = Path::Key(&Path::Root, "a/b~c");
        assert_eq!(Path::Index(&key, 3).to_string(), "/a~1b~0c/3");
        assert_eq!(Path::Root.to_string(), "");
        assert_eq!(Path::Key(&Path::Root, "").to_string(), "/");
    }

    #[test]
    fn a_pointer_cuts_long_keys() {
        let key = "ä".repeat(10_000);
        let pointer = Path::Key(&Path::Root, &key).to_string();
        assert_eq!(pointer.chars().count(), 202);
        assert!(pointer.ends_with("ä…"));
    }
}
