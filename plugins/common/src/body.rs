//! The body of a request: `http.body` as `http.body_format` says, else the input payload.
//!
//! | `http.body_format` | `http.body` | is sent as | content-type |
//! |---|---|---|---|
//! | `json` (default) | JSON text | it is, to the byte | `application/json` |
//! | `form` | a JSON object of text, numbers, true, false, null, and lists of these | `a=1&b=2`, in the order given; a list is repeated, null is empty | `application/x-www-form-urlencoded` |
//! | `raw` | any text | it is | none |
//!
//! An input payload is streamed as it is, whatever the format; the format still gives the content-type. A
//! content-type of the invocation's own (`http.header.Content-Type`) wins.

use executor_runtime_sdk::{Body, Invocation, RunError};
use serde::{
    Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::Value;
use std::fmt;

const BODY: &str = "http.body";
const FORMAT: &str = "http.body_format";

/// The body and its content-type.
pub(crate) fn body(invocation: &Invocation) -> Result<(Body, Option<&'static str>), RunError> {
    let format = invocation.text(FORMAT).unwrap_or("json");
    let content_type = match format {
        "json" => Some("application/json"),
        "form" => Some("application/x-www-form-urlencoded"),
        "raw" => None,
        other => {
            return Err(invalid(format!(
                "{FORMAT} is '{}', expected json, form or raw",
                other.escape_debug()
            )));
        }
    };
    let Some(text) = invocation.text(BODY) else {
        return Ok(if invocation.input_payload_path.is_some() {
            (Body::input(), content_type)
        } else {
            (Body::empty(), None)
        });
    };
    let body = match format {
        "json" => {
            // What is sent is the text itself: numbers and the order of keys stay as the caller wrote them.
            serde_json::from_str::<IgnoredAny>(text).map_err(|error| not_json(&error))?;
            text.into()
        }
        "form" => form(text)?.into(),
        _ => text.into(),
    };
    Ok((body, content_type))
}

fn form(text: &str) -> Result<String, RunError> {
    let mut document = serde_json::Deserializer::from_str(text);
    let fields = document
        .deserialize_any(Fields)
        .and_then(|fields| document.end().map(|()| fields))
        .map_err(|error| not_json(&error))?
        .ok_or_else(|| {
            invalid(format!(
                "{BODY} is not a JSON object, which {FORMAT} 'form' asks for"
            ))
        })?;
    let mut form = form_urlencoded::Serializer::new(String::new());
    for (name, value) in &fields {
        match value {
            Value::Array(items) => {
                for item in items {
                    form.append_pair(name, &field(name, item)?);
                }
            }
            value => {
                form.append_pair(name, &field(name, value)?);
            }
        }
    }
    Ok(form.finish())
}

fn field(name: &str, value: &Value) -> Result<String, RunError> {
    match value {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text.clone()),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        Value::Array(_) | Value::Object(_) => Err(invalid(format!(
            "field '{}' of {BODY} is nested too deeply for a form: a field is text, a number, true, false, \
             null or a list of these",
            name.escape_debug()
        ))),
    }
}

fn not_json(error: &serde_json::Error) -> RunError {
    invalid(format!("{BODY} is not JSON: {error}"))
}

fn invalid(what: String) -> RunError {
    RunError::rejected("invalid_body", format!("invalid body: {what}"))
}

/// The fields of an object in the order of the text; None for anything else. `serde_json`'s own map sorts.
struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Option<Vec<(String, Value)>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Some(fields))
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(text: &str) -> Result<String, String> {
        form(text).map_err(|error| error.summary().to_owned())
    }

    #[test]
    fn a_form_keeps_the_order_and_encodes() {
        assert_eq!(
            encoded(r#"{"z": "a b&c=ä", "a": 1, "f": 1.5, "t": true, "n": null, "l": ["x", 2], "z": ""}"#),
            Ok("z=a+b%26c%3D%C3%A4&a=1&f=1.5&t=true&n=&l=x&l=2&z=".to_owned())
        );
        assert_eq!(encoded("{}"), Ok(String::new()));
    }

    #[test]
    fn a_form_is_an_object_of_plain_values() {
        for text in ["[]", "[1, {}]", "1", "-1", "1.5", "\"a\"", "null", "true"] {
            assert_eq!(
                encoded(text),
                Err(
                    "invalid body: http.body is not a JSON object, which http.body_format 'form' asks for"
                        .into()
                ),
                "{text}"
            );
        }
        for text in [r#"{"a": {}}"#, r#"{"a": [[]]}"#] {
            assert!(
                encoded(text).unwrap_err().starts_with("invalid body: field 'a'"),
                "{text}"
            );
        }
        for text in ["{", "{} {}", "", "[1"] {
            assert!(
                encoded(text)
                    .unwrap_err()
                    .starts_with("invalid body: http.body is not JSON: "),
                "{text}"
            );
        }
    }

    #[test]
    fn each_format_has_its_content_type() {
        let of = |format: &str, text: &str| {
            let invocation = Invocation::new("http").with(FORMAT, format).with(BODY, text);
            body(&invocation).map(|(_, content_type)| content_type)
        };
        assert_eq!(of("json", "[1]"), Ok(Some("application/json")));
        assert_eq!(of("form", "{}"), Ok(Some("application/x-www-form-urlencoded")));
        assert_eq!(of("raw", "{"), Ok(None));
        for (format, text, words) in [
            ("json", "{", "http.body is not JSON"),
            ("xml", "1", "http.body_format"),
        ] {
            let error = of(format, text).unwrap_err();
            assert!(error.summary().starts_with("invalid body: "), "{error}");
            assert!(error.summary().contains(words), "{error}");
        }
        assert_eq!(body(&Invocation::new("http")).unwrap().1, None);
    }
}
