//! What is wrong with a document: every problem at once, each as one bounded, printable line.

use crate::{DocumentKind, printable};
use std::fmt;

/// At most this many problems of one document are spelt out; the rest are counted.
pub const MAX_PROBLEMS: usize = 100;

/// The longest text shown of a value that was found, in characters.
const MAX_FOUND_CHARS: usize = 80;

/// One thing that is wrong with a document.
///
/// Its `Display` is one line, safe to print on a terminal:
/// `/timeout_seconds: found 0, expected an integer greater than 0, or null`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Problem {
    /// JSON pointer (RFC 6901) to the value; empty for the document as a whole. Keys of more than 200
    /// characters are cut, with `…` at the end.
    pub pointer: String,
    /// What is there, of bounded length: a value as JSON, its type, or `nothing`.
    pub found: String,
    /// What should be there instead.
    pub expected: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.pointer.as_str() {
            "" => "document".into(),
            pointer => printable(pointer),
        };
        let Self { found, expected, .. } = self;
        write!(f, "{place}: found {found}, expected {expected}")
    }
}

/// A document that breaks the rules of its kind, with everything that is wrong with it.
///
/// Its `Display` is a headline and one indented line a problem; [`one_line`](Self::one_line) is for where there is room for one.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, thiserror::Error)]
pub struct InvalidDocument {
    /// What the document was read as.
    pub document: DocumentKind,
    /// The problems, duplicate keys first, then in the order of the kind's fields. Never empty, and at
    /// most [`MAX_PROBLEMS`].
    pub problems: Vec<Problem>,
    /// How many further problems there are.
    pub omitted: usize,
}

impl InvalidDocument {
    /// The same on one line: `not a valid RuntimeResult: 2 problems: …; …`.
    pub fn one_line(&self) -> String {
        let text = self.to_string();
        text.replacen("\n  ", ": ", 1).replace("\n  ", "; ")
    }
}

impl fmt::Display for InvalidDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len() + self.omitted;
        let s = if count == 1 { "" } else { "s" };
        write!(f, "not a valid {}: {count} problem{s}", self.document)?;
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        if self.omitted > 0 {
            write!(f, "\n  and {} more", self.omitted)?;
        }
        Ok(())
    }
}

/// The problems found so far.
#[derive(Default)]
pub(crate) struct Problems {
    kept: Vec<Problem>,
    omitted: usize,
}

impl Problems {
    /// Adds a problem; `describe` runs only if it will be shown.
    pub(crate) fn add(&mut self, describe: impl FnOnce() -> Problem) {
        if self.kept.len() < MAX_PROBLEMS {
            self.kept.push(describe());
        } else {
            self.omitted += 1;
        }
    }

    /// `value`, if there is one and nothing is wrong.
    pub(crate) fn unless_any<T>(
        self,
        document: DocumentKind,
        value: Option<T>,
    ) -> Result<T, InvalidDocument> {
        match value {
            Some(value) if self.kept.is_empty() => Ok(value),
            _ => Err(InvalidDocument {
                document,
                problems: self.kept,
                omitted: self.omitted,
            }),
        }
    }
}

/// A string as it is shown in a message: quoted, escaped, cut.
pub(crate) fn quoted(text: &str) -> String {
    match text.char_indices().nth(MAX_FOUND_CHARS) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}… ({} bytes)", &text[..end], text.len()),
    }
}

/// The longest key that a line shows, in characters.
pub(crate) const MAX_KEY_CHARS: usize = 200;

/// A key as it is shown at the head of a line: escaped, cut.
pub(crate) fn shown_key(key: &str) -> String {
    match key.char_indices().nth(MAX_KEY_CHARS) {
        None => printable(key).into_owned(),
        Some((end, _)) => printable(&key[..end]).into_owned() + "…",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_one_printable_line() {
        let problem = Problem {
            pointer: "/metadata/a\n\u{1b}[31m\u{202e}'ä".into(),
            found: quoted("x\r\n\u{1b}"),
            expected: "a string".into(),
        };
        assert_eq!(
            problem.to_string(),
            r#"/metadata/a\n\u{1b}[31m\u{202e}'ä: found "x\r\n\u{1b}", expected a string"#
        );
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        let shown = quoted(&"ä".repeat(5000));
        assert_eq!(shown, format!("\"{}\"… (10000 bytes)", "ä".repeat(80)));
    }

    #[test]
    fn problems_past_the_limit_are_counted() {
        let mut problems = Problems::default();
        for n in 0..MAX_PROBLEMS + 5 {
            problems.add(|| Problem {
                pointer: format!("/{n}"),
                found: "1".into(),
                expected: "2".into(),
            });
        }
        let invalid = problems
            .unless_any::<()>(DocumentKind::RuntimeInvocation, None)
            .unwrap_err();
        let text = invalid.to_string();
        assert!(text.starts_with("not a valid RuntimeInvocation: 105 problems\n  /0: found 1"));
        assert!(text.ends_with("\n  /99: found 1, expected 2\n  and 5 more"));
        let line = invalid.one_line();
        assert!(
            line.starts_with("not a valid RuntimeInvocation: 105 problems: /0: found 1, expected 2; /1: ")
        );
        assert!(line.ends_with("; /99: found 1, expected 2; and 5 more"));
    }
}
