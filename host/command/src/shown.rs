//! What others wrote, as it is let onto a terminal: ids, summaries, paths, names, output of programs.

use executor_runtime::protocol::{is_printable, printable};

/// The longest text that is shown of one value, in characters. All of it is in the JSON.
const MAX_CHARS: usize = 4000;

/// A value on one line: nothing in it steers the terminal or passes for something else.
pub(super) fn value(text: &str) -> String {
    bounded(text, |text| printable(text).into_owned())
}

/// What a run's error is said to be, on one or more lines that begin with `indent`, the first one aside.
pub(super) fn summary(text: &str, indent: &str) -> String {
    bounded(text, |text| message(text, indent))
}

/// A line of a program's output: the same, but tabs are tabs, and it is bounded already.
pub(super) fn output(line: &str) -> String {
    line.split('\t').map(printable).collect::<Vec<_>>().join("\t")
}

/// A message of the host's own, whose length is bounded already and whose lines are lines.
pub(super) fn message(text: &str, indent: &str) -> String {
    let lines: Vec<_> = text.lines().map(output).collect();
    lines.join(&format!("\n{indent}"))
}

fn bounded(text: &str, show: impl Fn(&str) -> String) -> String {
    match text.char_indices().nth(MAX_CHARS) {
        None => show(text),
        Some((end, _)) => format!("{}… ({} bytes)", show(&text[..end]), text.len()),
    }
}

/// A JSON document in which everything is escaped that a terminal does not show as itself. What it says is the
/// same.
pub(super) fn json(document: &str) -> String {
    let mut shown = String::with_capacity(document.len());
    for c in document.chars() {
        // The line breaks are those between the values: within a string JSON has them escaped.
        if c == '\n' || is_printable(c) {
            shown.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                shown.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_one_bounded_line() {
        assert_eq!(value("a\n\u{1b}[2J\u{202e}b"), r"a\n\u{1b}[2J\u{202e}b");
        let long = value(&"ä".repeat(1 << 20));
        assert_eq!(long, format!("{}… (2097152 bytes)", "ä".repeat(MAX_CHARS)));
    }

    #[test]
    fn output_keeps_its_tabs_and_a_message_its_lines() {
        assert_eq!(output("a\tb\u{9b}c"), "a\tb\\u{9b}c");
        assert_eq!(message("one\n\ttwo\u{7}", "> "), "one\n> \ttwo\\u{7}");
        assert!(summary(&"x\n".repeat(1 << 20), "").ends_with("x… (2097152 bytes)"));
    }

    #[test]
    fn a_document_that_is_shown_says_the_same() {
        let document = serde_json::json!({"a\u{9b}\u{7f}": ["\u{1b}\n\u{202e}", "\u{e0041}", "ü"]});
        let text = serde_json::to_string_pretty(&document).unwrap();
        let shown = json(&text);
        assert!(shown.chars().all(|c| c == '\n' || is_printable(c)));
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&shown).unwrap(),
            document
        );
        assert!(shown.contains('ü'));
    }
}
