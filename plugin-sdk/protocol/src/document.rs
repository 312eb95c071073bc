//! How every document is read: bounds, syntax, duplicate keys, then the rules of its kind.

use crate::{
    problem::{InvalidDocument, Problem, Problems},
    rules::Value,
    tree,
};
use serde::de::{Deserializer, Error as _};
use std::fmt;

/// The longest document that is read, in bytes (16 MiB). Larger data belongs in a file of its own, which
/// an invocation names as its `input_payload_path`.
pub const MAX_DOCUMENT_BYTES: usize = 16 << 20;

/// What a document is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub enum DocumentKind {
    /// What a caller asks for.
    RuntimeInvocation,
    /// What happened.
    RuntimeResult,
    /// A file that a run left.
    ArtifactDescriptor,
    /// What a plugin is and takes: `plugin.json`.
    PluginDescriptor,
}

impl DocumentKind {
    /// Its name, such as `RuntimeInvocation`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RuntimeInvocation => "RuntimeInvocation",
            Self::RuntimeResult => "RuntimeResult",
            Self::ArtifactDescriptor => "ArtifactDescriptor",
            Self::PluginDescriptor => "plugin descriptor",
        }
    }

    /// Its name with an article, for messages.
    pub(crate) fn with_article(self) -> &'static str {
        match self {
            Self::RuntimeInvocation => "a RuntimeInvocation",
            Self::RuntimeResult => "a RuntimeResult",
            Self::ArtifactDescriptor => "an ArtifactDescriptor",
            Self::PluginDescriptor => "a plugin descriptor",
        }
    }
}

impl fmt::Display for DocumentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A type that is read from a document of its own.
pub(crate) trait Document: Sized {
    const KIND: DocumentKind;
    /// The longest text that is read, in bytes.
    const MAX_BYTES: usize = MAX_DOCUMENT_BYTES;
    /// What to do about a text that is longer.
    const TOO_LONG_HINT: &str = "";

    /// Checks a tree against the rules. Where it returns `None` it has reported why.
    fn check(value: Value<'_, '_>) -> Option<Self>;
}

/// Reads a document from its text.
pub(crate) fn from_json<T: Document>(json: &[u8]) -> Result<T, InvalidDocument> {
    let mut problems = Problems::default();
    let value = parse::<T>(json, &mut problems).and_then(|node| T::check(Value::root(node, &mut problems)));
    problems.unless_any(T::KIND, value)
}

/// Reads a document through serde, by the same rules; the error lists all problems in one line.
pub(crate) fn deserialize<'de, T: Document, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let mut problems = Problems::default();
    let node = tree::read(deserializer, &mut problems)?;
    let value = T::check(Value::root(node, &mut problems));
    let read = problems.unless_any(T::KIND, value);
    read.map_err(|invalid| D::Error::custom(invalid.one_line()))
}

fn parse<'de, T: Document>(json: &'de [u8], problems: &mut Problems) -> Option<tree::Node<'de>> {
    if json.len() > T::MAX_BYTES {
        // Reading stops here, so the full length is not known.
        let found = format!("more than {} bytes", T::MAX_BYTES);
        let expected = format!("at most {} bytes{}", T::MAX_BYTES, T::TOO_LONG_HINT);
        return refuse(problems, found, expected);
    }
    if json.starts_with(b"\xef\xbb\xbf") || json.starts_with(b"\xff\xfe") || json.starts_with(b"\xfe\xff") {
        let found = "a byte order mark".into();
        return refuse(problems, found, "JSON in UTF-8 without one".into());
    }
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let read = tree::read(&mut deserializer, problems).and_then(|node| deserializer.end().map(|()| node));
    match read {
        Ok(node) => Some(node),
        Err(_) if json.trim_ascii().is_empty() => refuse(problems, "nothing".into(), "a JSON object".into()),
        Err(error) => refuse(problems, syntax(&error), "well-formed JSON".into()),
    }
}

fn refuse<T>(problems: &mut Problems, found: String, expected: String) -> Option<T> {
    problems.add(|| Problem {
        pointer: String::new(),
        found,
        expected,
    });
    None
}

/// A parser's complaint as what was found, and where.
fn syntax(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(&*text, |(what, _)| what);
    let what = match what {
        "recursion limit exceeded" => "more than 127 levels of nesting".into(),
        _ if error.is_eof() => format!("the end of the text ({what})"),
        _ if error.is_syntax() => format!("a syntax error ({what})"),
        _ => what.to_owned(),
    };
    format!("{what} at line {line}, column {column}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RuntimeInvocation, RuntimeResult};

    fn problems(json: &[u8]) -> Vec<String> {
        let invalid = RuntimeInvocation::from_json(json).unwrap_err();
        invalid.problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn text_that_is_no_json_is_located() {
        for (json, expected) in [
            ("", "document: found nothing, expected a JSON object"),
            (" \n ", "document: found nothing, expected a JSON object"),
            (
                "{\"command\": [\"a\",\n \"b\"",
                "document: found the end of the text (EOF while parsing a list) at line 2, column 4, \
                 expected well-formed JSON",
            ),
            (
                "{\n  invocation_id: 1}",
                "document: found a syntax error (key must be a string) at line 2, column 3, \
                 expected well-formed JSON",
            ),
            (
                "{} {}",
                "document: found a syntax error (trailing characters) at line 1, column 4, \
                 expected well-formed JSON",
            ),
            (
                "\u{feff}{}",
                "document: found a byte order mark, expected JSON in UTF-8 without one",
            ),
            (
                "[]",
                "document: found an empty array, expected a RuntimeInvocation, a JSON object",
            ),
            (
                "\"x\"",
                "document: found \"x\", expected a RuntimeInvocation, a JSON object",
            ),
        ] {
            assert_eq!(problems(json.as_bytes()), [expected], "{json}");
        }
    }

    #[test]
    fn text_that_is_not_utf8_is_located() {
        assert_eq!(
            problems(b"{\"command\": \"\xff\"}"),
            [
                "document: found a syntax error (invalid unicode code point) at line 1, column 14, \
              expected well-formed JSON"
            ]
        );
    }

    #[test]
    fn hostile_size_ends_in_an_error() {
        for (json, expected) in [
            (
                "[".repeat(MAX_DOCUMENT_BYTES),
                "more than 127 levels of nesting at line 1, column 128",
            ),
            (
                " ".repeat(MAX_DOCUMENT_BYTES + 1),
                "found more than 16777216 bytes, expected at most 16777216 bytes; pass large input as a file, through input_payload_path",
            ),
            (
                format!("[{}0]", "0,".repeat(MAX_DOCUMENT_BYTES / 2 - 8)),
                "more than 1000000 values at line 1",
            ),
        ] {
            let problems = problems(json.as_bytes());
            assert_eq!(problems.len(), 1);
            assert!(problems[0].contains(expected), "{}", problems[0]);
        }
    }

    #[test]
    fn a_descriptor_is_smaller_than_other_documents() {
        let json = " ".repeat(crate::MAX_DESCRIPTOR_BYTES + 1);
        let invalid = crate::PluginDescriptor::from_json(json.as_bytes()).unwrap_err();
        let text = invalid.problems[0].to_string();
        assert_eq!(
            text,
            "document: found more than 262144 bytes, expected at most 262144 bytes"
        );
    }

    #[test]
    fn reports_stay_small() {
        let key = "k".repeat(1 << 20);
        let values = format!("{{\"{key}\": 1}},").repeat(8);
        let json = format!(
            "{{\"environment\": [{values} {{\"{key}\": [{}1]}}]}}",
            "{\"a\":1,\"a\":2},".repeat(10_000)
        );
        let invalid = RuntimeInvocation::from_json(json.as_bytes()).unwrap_err();
        assert!(invalid.omitted > 9_000);
        assert!(invalid.to_string().len() < 60_000);
    }

    #[test]
    fn duplicate_keys_are_found_everywhere() {
        let json = br#"{
            "metadata": {"b": "1", "a": "1", "b": "2", "b": "3"},
            "environment": {"x": [{"y": 1, "y": 2}]},
            "metadata": {}
        }"#;
        let duplicates: Vec<_> = problems(json)
            .into_iter()
            .filter(|problem| problem.contains("each key once"))
            .collect();
        assert_eq!(
            duplicates,
            [
                "/metadata/b: found a key that is given 3 times, expected each key once",
                "/environment/x/0/y: found a key that is given 2 times, expected each key once",
                "/metadata: found a key that is given 2 times, expected each key once",
            ]
        );
    }

    #[test]
    fn serde_reads_by_the_same_rules() {
        let error = serde_json::from_str::<RuntimeResult>("{\"exit_code\": 1.5}").unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("not a valid RuntimeResult: 14 problems: /schema_version: found nothing"));
        assert!(text.contains("; /exit_code: found 1.5, expected an integer or null; "));
        assert!(!text.contains('\n'));
    }
}
