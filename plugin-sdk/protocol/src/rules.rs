//! The rules for single values. Each takes a [`Value`] and returns what it means, or reports why it means
//! nothing and returns `None`.
//!
//! Numbers follow JSON Schema: what counts is the value, so `5.0` is an integer.

use crate::{
    RuntimeKind, Status, Timestamp,
    path::Path,
    problem::{Problem, Problems},
    tree::Node,
};
use std::{collections::BTreeMap, fmt, num::NonZeroU64};

/// A value of a document at its place; absent where a field is missing.
pub(crate) struct Value<'v, 'de> {
    node: Option<Node<'de>>,
    pub(crate) path: &'v Path<'v>,
    pub(crate) problems: &'v mut Problems,
}

impl<'v, 'de> Value<'v, 'de> {
    pub(crate) fn new(node: Option<Node<'de>>, path: &'v Path<'v>, problems: &'v mut Problems) -> Self {
        Self { node, path, problems }
    }

    pub(crate) fn root(node: Node<'de>, problems: &'v mut Problems) -> Self {
        Self::new(Some(node), &Path::Root, problems)
    }

    pub(crate) fn is_absent(&self) -> bool {
        self.node.is_none()
    }

    /// The text, if it is a string.
    pub(crate) fn as_str(&self) -> Option<&str> {
        match &self.node {
            Some(Node::String(text)) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn take(&mut self) -> Option<Node<'de>> {
        self.node.take()
    }

    /// Reports `found` at this place.
    pub(crate) fn report<T>(&mut self, found: impl fmt::Display, expected: impl fmt::Display) -> Option<T> {
        self.problems.add(|| Problem {
            pointer: self.path.to_string(),
            found: found.to_string(),
            expected: expected.to_string(),
        });
        None
    }

    /// Reports `node` as not being what is expected.
    pub(crate) fn reject<T>(&mut self, node: Option<Node<'de>>, expected: impl fmt::Display) -> Option<T> {
        match node {
            Some(node) => self.report(node, expected),
            None => self.report("nothing", expected),
        }
    }

    /// Reads the value with `read`, which gives back what it cannot use.
    pub(crate) fn read<T>(
        mut self,
        expected: impl fmt::Display,
        read: impl FnOnce(Node<'de>) -> Result<T, Node<'de>>,
    ) -> Option<T> {
        match self.take().map(read) {
            Some(Ok(value)) => Some(value),
            Some(Err(node)) => self.reject(Some(node), expected),
            None => self.reject(None, expected),
        }
    }

    /// Reads a string with `read`, which returns `None` for one that it cannot use.
    pub(crate) fn read_string<T>(
        self,
        expected: impl fmt::Display,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        self.read(expected, |node| match &node {
            Node::String(text) => read(text).ok_or(node),
            _ => Err(node),
        })
    }
}

pub(crate) fn constant(wanted: &'static str) -> impl FnOnce(Value<'_, '_>) -> Option<()> {
    move |value| value.read_string(format_args!("{wanted:?}"), |text| (text == wanted).then_some(()))
}

pub(crate) fn string(value: Value<'_, '_>) -> Option<String> {
    value.read("a string", |node| match node {
        Node::String(text) => Ok(text.into_owned()),
        other => Err(other),
    })
}

pub(crate) fn non_empty_string(value: Value<'_, '_>) -> Option<String> {
    value.read("a non-empty string", |node| match node {
        Node::String(text) if !text.is_empty() => Ok(text.into_owned()),
        other => Err(other),
    })
}

pub(crate) fn string_or_null(value: Value<'_, '_>) -> Option<Option<String>> {
    value.read("a string or null", |node| match node {
        Node::Null => Ok(None),
        Node::String(text) => Ok(Some(text.into_owned())),
        other => Err(other),
    })
}

pub(crate) fn runtime_kind(value: Value<'_, '_>) -> Option<RuntimeKind> {
    let expected = "a runtime kind: a lower-case letter, then at most 63 of a-z, 0-9 and _";
    value.read_string(expected, RuntimeKind::new)
}

pub(crate) fn status(value: Value<'_, '_>) -> Option<Status> {
    let names = Status::ALL.map(Status::as_str).join(", ");
    value.read_string(format_args!("one of {names}"), Status::from_name)
}

pub(crate) fn timestamp(value: Value<'_, '_>) -> Option<Timestamp> {
    let expected = "an RFC 3339 date-time, such as \"2026-05-06T10:00:00Z\"";
    value.read_string(expected, |text| Timestamp::parse(text).ok())
}

/// A count of seconds; one too large for 64 bits becomes the largest that fits.
pub(crate) fn timeout(value: Value<'_, '_>) -> Option<Option<NonZeroU64>> {
    value.read("an integer greater than 0, or null", |node| match node {
        Node::Null => Ok(None),
        Node::Unsigned(0) => Err(node),
        Node::Unsigned(seconds) => Ok(NonZeroU64::new(seconds)),
        // `as` saturates.
        Node::Float(seconds) if seconds.fract() == 0.0 && seconds > 0.0 => {
            Ok(NonZeroU64::new(seconds as u64))
        }
        other => Err(other),
    })
}

/// An exit code; one that does not fit 64 bits becomes the nearest that does.
pub(crate) fn exit_code(value: Value<'_, '_>) -> Option<Option<i64>> {
    value.read("an integer or null", |node| match node {
        Node::Null => Ok(None),
        Node::Unsigned(code) => Ok(Some(i64::try_from(code).unwrap_or(i64::MAX))),
        Node::Negative(code) => Ok(Some(code)),
        // `as` saturates.
        Node::Float(code) if code.fract() == 0.0 => Ok(Some(code as i64)),
        other => Err(other),
    })
}

pub(crate) fn command(value: Value<'_, '_>) -> Option<Vec<String>> {
    let expected = "a non-empty array of strings, such as [\"program\", \"argument\"]";
    array(value, 1, expected, string)
}

/// An array of at least `min` items that `rule` reads. `expected` says so.
pub(crate) fn array<'de, T>(
    mut value: Value<'_, 'de>,
    min: usize,
    expected: &str,
    mut rule: impl FnMut(Value<'_, 'de>) -> Option<T>,
) -> Option<Vec<T>> {
    let nodes = match value.take() {
        Some(Node::Array(nodes)) if nodes.len() >= min => nodes,
        other => return value.reject(other, expected),
    };
    let count = nodes.len();
    let mut items = Vec::new();
    for (index, node) in nodes.into_iter().enumerate() {
        let path = Path::Index(value.path, index);
        items.extend(rule(Value::new(Some(node), &path, value.problems)));
    }
    (items.len() == count).then_some(items)
}

/// An object whose values `rule` reads, given the key. `expected` says so.
pub(crate) fn map<'de, T>(
    mut value: Value<'_, 'de>,
    expected: &str,
    rule: impl Fn(&str, Value<'_, 'de>) -> Option<T>,
) -> Option<BTreeMap<String, T>> {
    let entries = match value.take() {
        Some(Node::Object(entries)) => entries,
        other => return value.reject(other, expected),
    };
    let count = entries.len();
    let mut map = BTreeMap::new();
    for (key, node) in entries {
        let path = Path::Key(value.path, &key);
        if let Some(read) = rule(&key, Value::new(Some(node), &path, value.problems)) {
            map.insert(key.into_owned(), read);
        }
    }
    (map.len() == count).then_some(map)
}

/// An object of strings.
pub(crate) fn string_map(value: Value<'_, '_>) -> Option<BTreeMap<String, String>> {
    map(value, "an object of strings", |_, mut value| {
        match value.take() {
            Some(Node::String(text)) => Some(text.into_owned()),
            // Environments hold secrets: the message names the type and not the value.
            other => value.report(other.map_or("nothing", |node| node.type_name()), "a string"),
        }
    })
}
