//! `runtime_kind`: which runner an invocation is for.

use std::fmt;

/// A kind of runtime: RxP's own vocabulary, or the name that a plugin gives its kind
/// (`[a-z][a-z0-9_]{0,63}`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct RuntimeKind(String);

impl RuntimeKind {
    /// The kinds that RxP 0.1 itself names.
    pub const RXP: [&'static str; 6] = [
        "subprocess",
        "http",
        "http_async",
        "container",
        "manual",
        "unknown",
    ];

    /// A kind, if `name` is one.
    pub fn new(name: &str) -> Option<Self> {
        let mut bytes = name.bytes();
        let valid = name.len() <= 64
            && bytes.next().is_some_and(|b| b.is_ascii_lowercase())
            && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        valid.then(|| Self(name.to_owned()))
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RuntimeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
