//! The fields of one JSON object, taken out by name; what is left over is unknown.

use crate::{path::Path, problem::Problem, rules::Value, suggest, tree::Node};
use std::borrow::Cow;

/// An object that is being read.
pub(crate) struct Fields<'v, 'de> {
    value: Value<'v, 'de>,
    entries: Vec<(Cow<'de, str>, Node<'de>)>,
    /// The fields that were asked for and are absent: a misspelt one is among them.
    absent: Vec<&'static str>,
    owner: &'static str,
}

impl<'v, 'de> Fields<'v, 'de> {
    /// Opens an object of type `owner` (with its article, such as `a RuntimeInvocation`); anything else is
    /// a problem.
    pub(crate) fn open(mut value: Value<'v, 'de>, owner: &'static str) -> Option<Self> {
        match value.take() {
            Some(Node::Object(entries)) => Some(Self {
                value,
                entries,
                absent: Vec::new(),
                owner,
            }),
            other => value.reject(other, format_args!("{owner}, a JSON object")),
        }
    }

    /// The field `name` as `rule` reads it. An absent one is a problem, unless the rule knows better.
    pub(crate) fn required<T>(
        &mut self,
        name: &'static str,
        rule: impl FnOnce(Value<'_, 'de>) -> Option<T>,
    ) -> Option<T> {
        let index = self.entries.iter().position(|(key, _)| key == name);
        if index.is_none() {
            self.absent.push(name);
        }
        let node = index.map(|index| self.entries.remove(index).1);
        let path = Path::Key(self.value.path, name);
        rule(Value::new(node, &path, self.value.problems))
    }

    /// The field `name` as `rule` reads it; the default if it is absent.
    pub(crate) fn optional<T: Default>(
        &mut self,
        name: &'static str,
        rule: impl FnOnce(Value<'_, 'de>) -> Option<T>,
    ) -> Option<T> {
        self.required(name, |value| {
            if value.is_absent() {
                Some(T::default())
            } else {
                rule(value)
            }
        })
    }

    /// A field that means nothing here, where it is given, as long as `rule` can read it.
    pub(crate) fn ignored<T>(&mut self, name: &'static str, rule: impl FnOnce(Value<'_, 'de>) -> Option<T>) {
        if self.entries.iter().any(|(key, _)| key == name) {
            self.required(name, rule);
        }
    }

    /// Reports every unknown field.
    pub(crate) fn close(self) {
        for (name, _) in &self.entries {
            self.value.problems.add(|| Problem {
                pointer: Path::Key(self.value.path, name).to_string(),
                found: "an unknown field".into(),
                expected: match suggest::closest(name, self.absent.iter().copied()) {
                    Some(close) => format!("a field of {}; did you mean {close:?}?", self.owner),
                    None if self.absent.is_empty() => format!("a field of {}", self.owner),
                    None => {
                        let absent = self.absent.join(", ");
                        format!("a field of {}; not given yet: {absent}", self.owner)
                    }
                },
            });
        }
    }
}
