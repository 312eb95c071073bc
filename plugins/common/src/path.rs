//! Dotted paths into JSON: `data.runs.0.id`.
//!
//! A part names a key of an object or counts into a list, from 0. Only what the path leads to is read into
//! memory; the rest of the document is checked to be JSON and passed over.
//!
//! Where an API has a thing in one of several places, paths are separated by commas: `error.message,message`.

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use std::fmt;

/// One path or more, the first of which counts that leads to something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths(Vec<Path>);

/// A path with at least one part, none of them empty.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Path(Vec<String>);

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing, or null.
    Nothing,
    /// Text without its quotes, or a number, true or false as written.
    Text(String),
    /// A list or an object, as written.
    Composite(String),
}

impl Paths {
    /// None if a part of a path is empty.
    pub fn parse(text: &str) -> Option<Self> {
        text.split(',')
            .map(str::trim)
            .map(Path::parse)
            .collect::<Option<_>>()
            .map(Self)
    }

    /// Whether one of them begins as a JSONPath does, with `$` for the whole document.
    pub(crate) fn looks_like_json_path(&self) -> bool {
        self.0
            .iter()
            .any(|path| path.0.first().is_some_and(|part| part.starts_with('$')))
    }

    /// What the first of them that leads to something leads to in a JSON document; the last of several keys of one name.
    ///
    /// # Errors
    /// When the document is not JSON.
    pub fn find(&self, json: &[u8]) -> serde_json::Result<Found> {
        let mut last = Found::Nothing;
        for path in &self.0 {
            match path.find(json)? {
                Found::Nothing => {}
                // Many APIs have all of their fields, and leave some empty.
                Found::Text(text) if text.is_empty() => last = Found::Text(text),
                found => return Ok(found),
            }
        }
        Ok(last)
    }
}

impl fmt::Display for Paths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths: Vec<_> = self.0.iter().map(|path| path.0.join(".")).collect();
        f.write_str(&paths.join(","))
    }
}

impl Path {
    fn parse(text: &str) -> Option<Self> {
        let parts: Vec<_> = text.split('.').map(str::to_owned).collect();
        (!parts.iter().any(String::is_empty)).then_some(Self(parts))
    }

    fn find(&self, json: &[u8]) -> serde_json::Result<Found> {
        let mut document = serde_json::Deserializer::from_slice(json);
        let found = Walk(&self.0).deserialize(&mut document)?;
        document.end()?;
        Ok(found)
    }
}

struct Walk<'p>(&'p [String]);

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, document: D) -> Result<Found, D::Error> {
        if !self.0.is_empty() {
            return document.deserialize_any(self);
        }
        let raw = <&RawValue>::deserialize(document)?.get();
        Ok(match raw.as_bytes().first() {
            Some(b'{' | b'[') => Found::Composite(raw.to_owned()),
            Some(b'"') => Found::Text(serde_json::from_str(raw).map_err(serde::de::Error::custom)?),
            _ if raw == "null" => Found::Nothing,
            _ => Found::Text(raw.to_owned()),
        })
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found, A::Error> {
        let mut found = Found::Nothing;
        while let Some(key) = map.next_key::<String>()? {
            match self.0.split_first() {
                Some((part, rest)) if *part == key => found = map.next_value_seed(Walk(rest))?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Found, A::Error> {
        let mut found = Found::Nothing;
        if let Some((part, rest)) = self.0.split_first()
            && let Ok(index) = part.parse::<usize>()
        {
            for _ in 0..index {
                if list.next_element::<IgnoredAny>()?.is_none() {
                    return Ok(Found::Nothing);
                }
            }
            found = list.next_element_seed(Walk(rest))?.unwrap_or(Found::Nothing);
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }

    fn visit_unit<E>(self) -> Result<Found, E> {
        Ok(Found::Nothing)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Found, E> {
        Ok(Found::Nothing)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Found, E> {
        Ok(Found::Nothing)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Found, E> {
        Ok(Found::Nothing)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Found, E> {
        Ok(Found::Nothing)
    }

    fn visit_str<E>(self, _: &str) -> Result<Found, E> {
        Ok(Found::Nothing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(path: &str, json: &str) -> Result<Found, String> {
        let path = Paths::parse(path).unwrap();
        path.find(json.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_path_leads_through_objects_and_lists() {
        let json =
            r#"{"a": [{"x": 1}, {"b": "r\u00fcn"}], "n": 12345678901234567890123, "0": true, "f": 1.50}"#;
        for (path, text) in [
            ("a.1.b", "rün"),
            ("a.0.x", "1"),
            ("n", "12345678901234567890123"),
            ("0", "true"),
            ("f", "1.50"),
        ] {
            assert_eq!(find(path, json), Ok(Found::Text(text.to_owned())), "{path}");
        }
        assert_eq!(find("1", r#"["a", "b"]"#), Ok(Found::Text("b".to_owned())));
        let composite = |text: &str| Ok(Found::Composite(text.to_owned()));
        assert_eq!(find("a", json), composite(r#"[{"x": 1}, {"b": "r\u00fcn"}]"#));
        assert_eq!(find("a.0", json), composite(r#"{"x": 1}"#));
    }

    #[test]
    fn the_first_path_that_leads_to_something_counts() {
        for (paths, json, expected) in [
            ("a.b, a", r#"{"a": {"b": 1}}"#, Found::Text("1".to_owned())),
            ("a.b, a", r#"{"a": "x"}"#, Found::Text("x".to_owned())),
            ("a.0,a", r#"{"a": ["x", "y"]}"#, Found::Text("x".to_owned())),
            ("z,a", r#"{"z": null, "a": 0}"#, Found::Text("0".to_owned())),
            ("y,z", r#"{"a": 0}"#, Found::Nothing),
            ("a,b", r#"{"a": "", "b": "x"}"#, Found::Text("x".to_owned())),
            ("a,b", r#"{"a": ""}"#, Found::Text(String::new())),
        ] {
            assert_eq!(find(paths, json), Ok(expected), "{paths} {json}");
        }
        assert_eq!(Paths::parse("a.b, c").unwrap().to_string(), "a.b,c");
    }

    #[test]
    fn what_is_not_there_is_nothing() {
        let json = r#"{"a": [1], "s": "x", "z": null}"#;
        for path in ["b", "a.1", "a.x", "a.-1", "a.0.x", "s.x", "z", "z.x"] {
            assert_eq!(find(path, json), Ok(Found::Nothing), "{path}");
        }
        for json in ["1", "-1", "1.5", "true", "null", "\"a\"", "[]", "{}"] {
            assert_eq!(find("a", json), Ok(Found::Nothing), "{json}");
        }
    }

    #[test]
    fn the_whole_document_has_to_be_json() {
        for json in [
            "",
            "{",
            r#"{"a": "x""#,
            r#"{"a": "x"} x"#,
            r#"{"a": "x", "b": }"#,
            "<html>",
        ] {
            assert!(find("a", json).is_err(), "{json}");
        }
    }

    #[test]
    fn a_deep_document_does_no_harm() {
        let deep = format!(
            "{{\"a\": 1, \"b\": {}{}}}",
            "[".repeat(500_000),
            "]".repeat(500_000)
        );
        assert_eq!(find("a", &deep), Ok(Found::Text("1".to_owned())));
    }

    #[test]
    fn parts_are_not_empty() {
        for text in ["", ".", "a.", ".a", "a..b", "a,", ",", "a,.b"] {
            assert_eq!(Paths::parse(text), None, "{text}");
        }
    }
}
