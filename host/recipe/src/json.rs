//! JSON text of an invocation's values.

use serde::Serialize;
use serde_json::{Serializer, Value, ser::Formatter};
use std::io::{self, Write};

/// The text of a value, in whose strings no brace is open: what the base puts into the templates of a recipe, such as the
/// `{run_id}` of a body, finds no place in a value. What reads it as JSON gets the same.
pub(crate) fn of_value(value: &Value) -> String {
    let mut text = Vec::new();
    // Writing to memory can't fail.
    let _ = value.serialize(&mut Serializer::with_formatter(&mut text, NoBraces));
    String::from_utf8_lossy(&text).into_owned()
}

/// What is between the quotes of a string.
pub(crate) fn within(string: &str) -> &str {
    string
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(string)
}

struct NoBraces;

impl Formatter for NoBraces {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        for (index, piece) in fragment.split('{').enumerate() {
            if index > 0 {
                writer.write_all(b"\\u007b")?;
            }
            writer.write_all(piece.as_bytes())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_value_is_the_same_and_has_no_open_brace_in_its_strings() {
        let value = json!({"a{run_id}": ["{run_id}", "{{x}}\n\"", 1, null, {"b": true}], "c": {}});
        let text = of_value(&value);
        assert!(!text.contains("{run_id}") && !text.contains("{{"), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        assert_eq!(within(&of_value(&json!("a\"b"))), "a\\\"b");
    }
}
