//! What is checked about `plugin.json` while a plugin is compiled: that it is one JSON object with the
//! required keys. Whether their values are right takes more than a constant can do, and is tested.

const REQUIRED: [&str; 5] = ["name", "version", "kinds", "interface", "summary"];
const MAX_DEPTH: usize = 32;

/// Fails to compile where `json` can't be a descriptor.
///
/// # Panics
/// That is how a constant fails.
pub const fn check(json: &[u8]) {
    let mut seen = [false; REQUIRED.len()];
    let end = value(json, space(json, 0), 0, &mut seen);
    assert!(
        space(json, end) == json.len(),
        "plugin.json: unexpected text after its end"
    );
    assert!(seen[0], "plugin.json: \"name\" is missing");
    assert!(seen[1], "plugin.json: \"version\" is missing");
    assert!(seen[2], "plugin.json: \"kinds\" is missing");
    assert!(seen[3], "plugin.json: \"interface\" is missing");
    assert!(seen[4], "plugin.json: \"summary\" is missing");
}

/// The bytes as an array: a section holds the descriptor itself, not a pointer to it.
///
/// # Panics
/// If `N` is not the length of `json`.
pub const fn embed<const N: usize>(json: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(json);
    array
}

/// The rest of the check, for the test that comes with the export: everything that the host will check.
///
/// # Panics
/// If the host would refuse the descriptor, with the reasons.
pub fn test(json: &[u8]) {
    use executor_runtime_protocol::{INTERFACE_VERSION, PluginDescriptor};
    match PluginDescriptor::from_json(json) {
        Ok(descriptor) => assert!(
            descriptor.interface.loads_in(INTERFACE_VERSION),
            "plugin.json: interface {} is not the one of this SDK, {INTERFACE_VERSION}",
            descriptor.interface
        ),
        Err(invalid) => panic!("plugin.json: {invalid}"),
    }
}

/// Position after a value that begins at `at`. At depth 0 it has to be an object, whose keys are noted.
const fn value(json: &[u8], at: usize, depth: usize, seen: &mut [bool; REQUIRED.len()]) -> usize {
    assert!(depth < MAX_DEPTH, "plugin.json: it is nested too deeply");
    assert!(at < json.len(), "plugin.json: it ends too early");
    let first = json[at];
    assert!(depth > 0 || first == b'{', "plugin.json: it is not a JSON object");
    match first {
        b'{' => members(json, at + 1, depth, seen),
        b'[' => items(json, at + 1, depth, seen),
        b'"' => string(json, at + 1),
        b't' => word(json, at, b"true"),
        b'f' => word(json, at, b"false"),
        b'n' => word(json, at, b"null"),
        b'-' | b'0'..=b'9' => number(json, at),
        _ => panic!("plugin.json: a syntax error: a value was expected"),
    }
}

const fn members(json: &[u8], at: usize, depth: usize, seen: &mut [bool; REQUIRED.len()]) -> usize {
    let mut at = space(json, at);
    if at < json.len() && json[at] == b'}' {
        return at + 1;
    }
    loop {
        assert!(
            at < json.len() && json[at] == b'"',
            "plugin.json: a syntax error: a key was expected (perhaps after a trailing comma)"
        );
        let end = string(json, at + 1);
        if depth == 0 {
            note(json, at + 1, end - 1, seen);
        }
        at = space(json, end);
        assert!(
            at < json.len() && json[at] == b':',
            "plugin.json: a syntax error: a ':' was expected after a key"
        );
        at = space(json, value(json, space(json, at + 1), depth + 1, seen));
        assert!(at < json.len(), "plugin.json: it ends too early");
        match json[at] {
            b',' => at = space(json, at + 1),
            b'}' => return at + 1,
            _ => panic!("plugin.json: a syntax error: ',' or '}}' was expected after a value"),
        }
    }
}

const fn items(json: &[u8], at: usize, depth: usize, seen: &mut [bool; REQUIRED.len()]) -> usize {
    let mut at = space(json, at);
    if at < json.len() && json[at] == b']' {
        return at + 1;
    }
    loop {
        at = space(json, value(json, at, depth + 1, seen));
        assert!(at < json.len(), "plugin.json: it ends too early");
        match json[at] {
            b',' => at = space(json, at + 1),
            b']' => return at + 1,
            _ => panic!("plugin.json: a syntax error: ',' or ']' was expected after a value"),
        }
    }
}

const fn note(json: &[u8], start: usize, end: usize, seen: &mut [bool; REQUIRED.len()]) {
    let mut index = 0;
    while index < REQUIRED.len() {
        let name = REQUIRED[index].as_bytes();
        let mut same = name.len() == end - start;
        let mut offset = 0;
        while same && offset < name.len() {
            same = name[offset] == json[start + offset];
            offset += 1;
        }
        seen[index] = seen[index] || same;
        index += 1;
    }
}

/// Position after a string whose quotation mark is before `at`.
const fn string(json: &[u8], mut at: usize) -> usize {
    loop {
        assert!(at < json.len(), "plugin.json: a string is not terminated");
        match json[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            0..=31 => panic!("plugin.json: a string has a control character in it (a line break?)"),
            _ => at += 1,
        }
    }
}

const fn number(json: &[u8], mut at: usize) -> usize {
    while at < json.len() && matches!(json[at], b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9') {
        at += 1;
    }
    at
}

const fn word(json: &[u8], at: usize, word: &[u8]) -> usize {
    let mut offset = 0;
    while offset < word.len() {
        assert!(
            at + offset < json.len() && json[at + offset] == word[offset],
            "plugin.json: a syntax error: true, false or null was expected"
        );
        offset += 1;
    }
    at + word.len()
}

const fn space(json: &[u8], mut at: usize) -> usize {
    while at < json.len() && matches!(json[at], b' ' | b'\t' | b'\r' | b'\n') {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{
        "name": "n", "version": "0.1.0", "kinds": ["k"], "interface": "1.0", "summary": "a \"quoted\" s",
        "metadata": {"k.x": {"type": "number", "min": -1.5e3, "required": true, "default": null, "o": []}}
    }"#;

    #[test]
    fn a_descriptor_passes_and_is_embedded_as_it_is() {
        check(GOOD.as_bytes());
        assert_eq!(embed::<2>(b"{}"), *b"{}");
    }

    #[test]
    fn each_mistake_is_named() {
        for (json, message) in [
            ("", "it ends too early"),
            ("[]", "not a JSON object"),
            (&GOOD.replace("\"kinds\"", "\"kind\""), "\"kinds\" is missing"),
            (&GOOD.replace("[\"k\"],", "[\"k\",],"), "a value was expected"),
            (&GOOD.replace("true,", "true"), "',' or '}' was expected"),
            (&GOOD.replace("\"name\":", "\"name\""), "':' was expected"),
            (&format!("{GOOD}x"), "unexpected text after its end"),
            (&GOOD[..21], "ends too early"),
            (&"[".repeat(100).replacen('[', "{\"a\":", 1), "nested too deeply"),
        ] {
            let panic = std::panic::catch_unwind(|| check(json.as_bytes())).unwrap_err();
            let text = panic.downcast_ref::<&str>().copied().map_or_else(
                || panic.downcast_ref::<String>().cloned().unwrap_or_default(),
                str::to_owned,
            );
            assert!(text.contains(message), "{json}: {text}");
        }
    }
}
