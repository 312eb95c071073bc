//! A JSON document as a tree that borrows from its text, read in one pass that also finds duplicate keys:
//! serde's own maps keep the last of two values and say nothing.

use crate::{
    path::Path,
    problem::{Problem, Problems, quoted},
};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::{borrow::Cow, fmt};

/// A document with more values than this is refused: a tree takes some thirty times the memory of its
/// shortest text, and no document of ours comes near.
const MAX_VALUES: usize = 1_000_000;

/// A JSON value. Objects keep the order of their keys, each once.
pub(crate) enum Node<'de> {
    Null,
    Bool(bool),
    Unsigned(u64),
    Negative(i64),
    Float(f64),
    String(Cow<'de, str>),
    Array(Vec<Self>),
    Object(Vec<(Cow<'de, str>, Self)>),
}

/// The value as a message shows it: one bounded line.
impl fmt::Display for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null | Self::Array(_) | Self::Object(_) => f.write_str(self.type_name()),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Unsigned(value) => write!(f, "{value}"),
            Self::Negative(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value:?}"),
            Self::String(value) => f.write_str(&quoted(value)),
        }
    }
}

impl Node<'_> {
    /// Its type with an article, for values that a message should not repeat.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Unsigned(_) | Self::Negative(_) | Self::Float(_) => "a number",
            Self::String(_) => "a string",
            Self::Array(items) if items.is_empty() => "an empty array",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

/// Reads a tree from any deserializer; duplicate keys go into `problems`.
pub(crate) fn read<'de, D: Deserializer<'de>>(
    deserializer: D,
    problems: &mut Problems,
) -> Result<Node<'de>, D::Error> {
    let mut values = 0;
    Reader {
        path: &Path::Root,
        problems,
        values: &mut values,
    }
    .deserialize(deserializer)
}

struct Reader<'r> {
    path: &'r Path<'r>,
    problems: &'r mut Problems,
    values: &'r mut usize,
}

impl Reader<'_> {
    fn at<'s>(&'s mut self, path: &'s Path<'s>) -> Reader<'s> {
        Reader {
            path,
            problems: self.problems,
            values: self.values,
        }
    }

    /// Drops all but the first value of each key, and reports the keys that had more than one.
    fn without_duplicates<'de>(
        self,
        mut entries: Vec<(Cow<'de, str>, Node<'de>)>,
    ) -> Vec<(Cow<'de, str>, Node<'de>)> {
        let mut order: Vec<usize> = (0..entries.len()).collect();
        order.sort_by(|&a, &b| entries[a].0.cmp(&entries[b].0).then(a.cmp(&b)));
        let mut extra = Vec::new();
        for same in order.chunk_by(|&a, &b| entries[a].0 == entries[b].0) {
            if let [first, rest @ ..] = same
                && !rest.is_empty()
            {
                extra.extend_from_slice(rest);
                self.problems.add(|| Problem {
                    pointer: Path::Key(self.path, &entries[*first].0).to_string(),
                    found: format!("a key that is given {} times", same.len()),
                    expected: "each key once".into(),
                });
            }
        }
        if !extra.is_empty() {
            extra.sort_unstable();
            let mut index = 0;
            entries.retain(|_| {
                index += 1;
                extra.binary_search(&(index - 1)).is_err()
            });
        }
        entries
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Node<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node<'de>, D::Error> {
        *self.values += 1;
        if *self.values > MAX_VALUES {
            return Err(D::Error::custom(format_args!("more than {MAX_VALUES} values")));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node<'de>, E> {
        Ok(Node::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node<'de>, E> {
        Ok(Node::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node<'de>, E> {
        Ok(match u64::try_from(value) {
            Ok(value) => Node::Unsigned(value),
            Err(_) => Node::Negative(value),
        })
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node<'de>, E> {
        Ok(Node::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node<'de>, E> {
        Ok(Node::String(Cow::Owned(value.to_owned())))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Node<'de>, E> {
        Ok(Node::String(Cow::Borrowed(value)))
    }

    fn visit_string<E>(self, value: String) -> Result<Node<'de>, E> {
        Ok(Node::String(Cow::Owned(value)))
    }

    fn visit_unit<E>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Node<'de>, A::Error> {
        let mut items = Vec::new();
        loop {
            let path = Path::Index(self.path, items.len());
            match seq.next_element_seed(self.at(&path))? {
                Some(item) => items.push(item),
                None => return Ok(Node::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Node<'de>, A::Error> {
        let mut entries = Vec::new();
        while let Some(Key(key)) = map.next_key()? {
            let path = Path::Key(self.path, &key);
            let value = map.next_value_seed(self.at(&path))?;
            entries.push((key, value));
        }
        Ok(Node::Object(self.without_duplicates(entries)))
    }
}

/// A key that borrows where the input allows it.
#[derive(serde::Deserialize)]
struct Key<'k>(#[serde(borrow)] Cow<'k, str>);
