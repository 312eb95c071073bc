//! JSON text of an invocation's values. It stays text from one end to the other: the numbers in it are as the caller wrote
//! them, also those that are too long or too large for a floating-point number.

use serde::de::IgnoredAny;
use serde_json::Value;

/// Why a text is not JSON; None if it is.
pub(crate) fn problem(text: &str) -> Option<String> {
    let error = serde_json::from_str::<IgnoredAny>(text).err()?;
    // What reads values has better words for the same place, such as for a comma too many; but it knows fewer numbers.
    let place = |error: &serde_json::Error| (error.line(), error.column());
    let of_value = serde_json::from_str::<Value>(text).err();
    let better = of_value.filter(|other| place(other) == place(&error));
    Some(better.unwrap_or(error).to_string())
}

/// The same JSON, in whose strings no brace is open: what the base puts into the templates of a recipe, such as the
/// `{run_id}` of a body, finds no place in a value. What reads it as JSON gets the same.
pub(crate) fn without_braces(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for (char, in_string) in chars(json) {
        match (char, in_string) {
            ('{', true) => text.push_str("\\u007b"),
            (char, _) => text.push(char),
        }
    }
    text
}

/// The same JSON without spaces and line breaks between its values.
pub(crate) fn compact(json: &str) -> String {
    chars(json)
        .filter(|(char, in_string)| *in_string || !char.is_ascii_whitespace())
        .map(|(char, _)| char)
        .collect()
}

/// The members of an object, names and values as JSON; none if it is something else. Of those with the same name the last
/// one counts.
pub(crate) fn members(json: &str) -> Option<Vec<(String, String)>> {
    let json = compact(json);
    let inner = json.strip_prefix('{')?.strip_suffix('}')?;
    let mut members = Vec::new();
    for member in split(inner, ',').filter(|member| !member.is_empty()) {
        let colon = split(member, ':').next()?.len();
        let (name, value) = (&member[..colon], member.get(colon + 1..)?);
        // One spelling for a name, so that it is known to be the same as another: "a" may be written "\u0061".
        let name = match serde_json::from_str::<String>(name) {
            Ok(name) => Value::from(name).to_string(),
            Err(_) => name.to_owned(),
        };
        members.push((name, value.to_owned()));
    }
    Some(members)
}

/// The items of an array, each as JSON; none if it is something else.
pub(crate) fn items(json: &str) -> Option<Vec<String>> {
    let json = compact(json);
    let inner = json.strip_prefix('[')?.strip_suffix(']')?;
    Some(
        split(inner, ',')
            .filter(|item| !item.is_empty())
            .map(str::to_owned)
            .collect(),
    )
}

/// What is between the quotes of a string.
pub(crate) fn within(string: &str) -> &str {
    string
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(string)
}

/// The characters of a JSON text, each with whether it is a part of a string; a quote that ends a string is none.
pub(crate) fn chars(json: &str) -> impl Iterator<Item = (char, bool)> {
    let mut in_string = false;
    let mut is_escaped = false;
    json.chars().map(move |char| {
        let was_in_string = in_string;
        match (in_string, is_escaped, char) {
            (true, true, _) => is_escaped = false,
            (true, false, '\\') => is_escaped = true,
            (_, _, '"') => in_string = !in_string,
            _ => {}
        }
        (char, was_in_string && in_string)
    })
}

/// The parts of compact JSON between separators that are in no string, array or object.
fn split(json: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    let mut begin = 0;
    let ends = json
        .char_indices()
        .zip(chars(json))
        .filter_map(move |((index, char), (_, in_string))| {
            match char {
                _ if in_string => {}
                '[' | '{' => depth += 1,
                ']' | '}' => depth = depth.saturating_sub(1),
                char if char == separator && depth == 0 => return Some(index),
                _ => {}
            }
            None
        });
    ends.chain([json.len()]).map(move |end| {
        let part = &json[begin..end];
        begin = end + separator.len_utf8();
        part
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_value_is_the_same_and_has_no_open_brace_in_its_strings() {
        let value = json!({"a{run_id}": ["{run_id}", "{{x}}\n\"", "\\", "{", 1, null, {"b": true}], "c": {}});
        for text in [value.to_string(), format!("{value:#}")] {
            let text = without_braces(&text);
            assert!(!text.contains("{run_id}") && !text.contains("{{"), "{text}");
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        }
        assert_eq!(compact(&format!("{value:#}")), value.to_string());
        assert_eq!(within(&without_braces(r#""a\"b""#)), "a\\\"b");
    }

    #[test]
    fn the_members_of_an_object_are_as_they_are_written() {
        let text = r#" { "a" : [1e999, {"x,y": ":"}], "\u0062\"," : 0.10, "c":"{,}" , "d": -12345678901234567890123 } "#;
        let expected = [
            (r#""a""#, r#"[1e999,{"x,y":":"}]"#),
            (r#""b\",""#, "0.10"),
            (r#""c""#, r#""{,}""#),
            (r#""d""#, "-12345678901234567890123"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(members(text).unwrap(), expected);
        assert_eq!(members("{}").unwrap(), []);
        for other in ["[1]", "7", "null", "\"x\"", "\"{}\""] {
            assert_eq!(members(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_no_json_is_told() {
        for (text, words) in [
            (r#"{"a": 1,}"#, Some("trailing comma at line 1 column 9")),
            (
                r#"{"a": 1e999,}"#,
                Some("key must be a string at line 1 column 13"),
            ),
            ("[1] x", Some("trailing characters at line 1 column 5")),
            (r#"{"a": [1e999, 0.10]}"#, None),
        ] {
            assert_eq!(problem(text).as_deref(), words, "{text}");
        }
    }

    #[test]
    fn the_items_of_an_array_are_as_they_are_written() {
        let text = r#" [ "a,]" , 1e999, 0.10, [1, 2], {"x": [",", 3]}, null ] "#;
        let expected = [r#""a,]""#, "1e999", "0.10", "[1,2]", r#"{"x":[",",3]}"#, "null"];
        assert_eq!(items(text).unwrap(), expected);
        assert_eq!(items("[ ]").unwrap(), [""; 0]);
        for other in ["{}", "7", "\"[]\""] {
            assert_eq!(items(other), None, "{other}");
        }
    }
}
