//! Text of others, made safe to show.
//!
//! A terminal obeys control characters, and Unicode has characters that reorder what stands beside them, break
//! the line or are not seen at all: with either, a text can pass for another. They are escaped wherever text
//! written by others is shown to a person.

use std::borrow::Cow;

/// Whether `c` is shown as itself, where it stands: no control character, no control of the direction of text,
/// no separator of lines, nothing that has no width.
pub fn is_printable(c: char) -> bool {
    let hidden = matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}'
    );
    !hidden && !c.is_control()
}

/// `text` on one line, with every character escaped that [is not printable](is_printable).
///
/// ```
/// use executor_runtime_protocol::printable;
///
/// assert_eq!(printable("für 'x'"), "für 'x'");
/// assert_eq!(printable("a\u{1b}[2J\n\u{202e}b"), r"a\u{1b}[2J\n\u{202e}b");
/// ```
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_printable) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_printable(c) {
            shown.push(c);
        } else {
            shown.extend(c.escape_default());
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_reorders_or_hides_is_escaped() {
        for c in [
            '\0',
            '\t',
            '\n',
            '\u{1b}',
            '\u{7f}',
            '\u{9b}',
            '\u{61c}',
            '\u{200b}',
            '\u{200c}',
            '\u{200d}',
            '\u{200e}',
            '\u{200f}',
            '\u{2028}',
            '\u{2029}',
            '\u{202a}',
            '\u{202e}',
            '\u{2066}',
            '\u{2069}',
            '\u{feff}',
            '\u{e0041}',
        ] {
            let shown = printable(&format!("a{c}b")).into_owned();
            assert!(shown.starts_with("a\\") && shown.ends_with('b'), "{shown:?}");
            assert!(shown.chars().all(|c| c.is_ascii_graphic()), "{shown:?}");
        }
    }

    #[test]
    fn what_people_write_is_left_alone() {
        for text in [
            "",
            "it's \"quoted\" \\ done",
            "e\u{301}té",
            "日本語",
            "नमस्ते",
            "שלום",
            "🙂",
        ] {
            assert_eq!(printable(text), text);
        }
    }
}
