//! `runtime_kind`: which runner an invocation is for.

use crate::problem::quoted;
use serde::{Deserialize, Deserializer, de::Error as _};
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

impl<'de> Deserialize<'de> for RuntimeKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::new(&name).ok_or_else(|| {
            D::Error::custom(format_args!(
                "{} is not a valid runtime kind: expected a lower-case letter, then at most 63 of a-z, 0-9 and _",
                quoted(&name)
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::RuntimeKind;

    #[test]
    fn kinds_are_short_lower_case_words() {
        let longest = "k".repeat(64);
        for name in RuntimeKind::RXP.into_iter().chain(["a", "a_1_", &longest]) {
            let kind = RuntimeKind::new(name).unwrap();
            assert_eq!(kind.as_str(), name);
            let json = serde_json::to_string(&kind).unwrap();
            assert_eq!(serde_json::from_str::<RuntimeKind>(&json).unwrap(), kind);
        }
        let too_long = "k".repeat(65);
        for name in ["", "1a", "_a", "Http", "a-b", "a b", "ä", "a\n", &too_long] {
            assert_eq!(RuntimeKind::new(name), None, "{name:?}");
            let json = serde_json::to_string(name).unwrap();
            assert!(serde_json::from_str::<RuntimeKind>(&json).is_err());
        }
    }
}
