//! What others wrote, as it is let onto a terminal: ids, summaries, paths, names, output of programs.

use executor_runtime::protocol::{is_printable, printable};
use std::time::Duration;

/// The longest text that is shown of one value, in characters. All of it is in the JSON.
const MAX_CHARS: usize = 4000;

/// A value on one line: nothing in it steers the terminal or passes for something else.
pub fn value(text: &str) -> String {
    bounded(text, |text| printable(text).into_owned())
}

/// What a run's error is said to be, on one or more lines that begin with `indent`, the first one aside.
pub fn summary(text: &str, indent: &str) -> String {
    bounded(text, |text| message(text, indent))
}

/// A line of a program's output: the same, but tabs are tabs, and it is bounded already.
pub fn output(line: &str) -> String {
    line.split('\t').map(printable).collect::<Vec<_>>().join("\t")
}

/// A message of the host's own, whose length is bounded already and whose lines are lines.
pub fn message(text: &str, indent: &str) -> String {
    let lines: Vec<_> = text.lines().map(output).collect();
    lines.join(&format!("\n{indent}"))
}

/// A duration with its unit, as it may be written where one is read.
pub fn duration(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds < 1.0 => format!("{}ms", time.as_millis()),
        seconds => format!("{}s", (seconds * 1000.0).round() / 1000.0),
    }
}

/// A limit or setting of this name, with its unit: `64 MiB`, `1.5 s`. As it is where its name tells no unit.
pub fn setting(name: &str, number: &str) -> String {
    let bytes = || name.ends_with("_bytes").then(|| number.parse().ok()).flatten();
    let seconds = || {
        name.ends_with("_seconds")
            .then(|| number.parse::<f64>().ok())
            .flatten()
    };
    if let Some(bytes) = bytes() {
        exact_size(bytes)
    } else if let Some(seconds) = seconds() {
        format!("{seconds} s")
    } else {
        value(number)
    }
}

/// A number of bytes in the largest unit in which it is a whole number.
fn exact_size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 8] = [
        (1 << 40, "TiB"),
        (1 << 30, "GiB"),
        (1 << 20, "MiB"),
        (1 << 10, "KiB"),
        (1_000_000_000_000, "TB"),
        (1_000_000_000, "GB"),
        (1_000_000, "MB"),
        (1000, "kB"),
    ];
    // The one that leaves the smallest number, so that 1 GB is not 976562.5 KiB or the like.
    let in_unit = UNITS
        .iter()
        .filter(|(unit, _)| bytes > 0 && bytes.is_multiple_of(*unit));
    match in_unit.max_by_key(|(unit, _)| *unit) {
        Some((unit, name)) => format!("{} {name}", bytes / unit),
        None if bytes == 1 => "1 byte".to_owned(),
        None => format!("{bytes} bytes"),
    }
}

/// A number of bytes: exact as long as it is short.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes == 1 {
        return "1 byte".to_owned();
    }
    if bytes < 100_000 {
        return format!("{bytes} bytes");
    }
    let mut number = bytes as f64 / 1024.0;
    let mut unit = 0;
    while number >= 1024.0 && unit + 1 < UNITS.len() {
        number /= 1024.0;
        unit += 1;
    }
    format!("{number:.1} {}", UNITS[unit])
}

fn bounded(text: &str, show: impl Fn(&str) -> String) -> String {
    match text.char_indices().nth(MAX_CHARS) {
        None => show(text),
        Some((end, _)) => format!("{}… ({} bytes)", show(&text[..end]), text.len()),
    }
}

/// A JSON document in which everything is escaped that a terminal does not show as itself. What it says is the
/// same.
pub fn json(document: &str) -> String {
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
    fn durations_and_sizes_have_units() {
        assert_eq!(duration(Duration::from_millis(250)), "250ms");
        assert_eq!(duration(Duration::from_secs(2)), "2s");
        assert_eq!(duration(Duration::from_millis(90_500)), "90.5s");
        assert_eq!(
            (size(1), size(8192)),
            ("1 byte".to_owned(), "8192 bytes".to_owned())
        );
        assert_eq!(
            (size(1 << 20), size(5 << 39)),
            ("1.0 MiB".to_owned(), "2.5 TiB".to_owned())
        );
    }

    #[test]
    fn a_setting_is_shown_with_its_unit() {
        for (name, number, shown) in [
            ("limits.memory_bytes", "67108864", "64 MiB"),
            ("artifact_bytes", "1000000000", "1 GB"),
            ("artifact_bytes", "1500", "1500 bytes"),
            ("artifact_bytes", "1", "1 byte"),
            ("artifact_bytes", "0", "0 bytes"),
            ("plugin.grace_seconds", "1.5", "1.5 s"),
            ("timeout_seconds", "90", "90 s"),
            ("limits.processes", "1024", "1024"),
        ] {
            assert_eq!(setting(name, number), shown, "{name} {number}");
        }
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
