//! How to write to a terminal: in colour, where it is welcome, and within its width.
//!
//! `NO_COLOR`, and a terminal that is `dumb` or unnamed, get no escape sequence at all.

use std::{
    env,
    io::{self, IsTerminal},
    os::fd::{AsRawFd, RawFd},
};

/// What a terminal that does not tell its width is taken for.
const USUAL_COLUMNS: usize = 80;

/// How to write to one stream.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    coloured: bool,
    /// How wide the terminal is; none if there is no terminal.
    columns: Option<usize>,
}

/// How to write to our stdout.
pub fn stdout() -> Style {
    let stream = io::stdout();
    Style::detect(stream.is_terminal(), stream.as_raw_fd())
}

/// How to write to our stderr.
pub fn stderr() -> Style {
    let stream = io::stderr();
    Style::detect(stream.is_terminal(), stream.as_raw_fd())
}

/// Whether the terminal moves its cursor when it is told to.
pub fn is_dumb() -> bool {
    env::var_os("TERM").is_none_or(|name| name.is_empty() || name == "dumb")
}

/// Whether no escape sequence is wanted.
pub fn is_plain() -> bool {
    is_dumb() || env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

impl Style {
    fn detect(terminal: bool, descriptor: RawFd) -> Self {
        Self {
            coloured: terminal && !is_plain(),
            columns: terminal.then(|| columns(descriptor)),
        }
    }

    /// A terminal without colours that is so wide; none.
    #[cfg(test)]
    pub fn of_columns(columns: Option<usize>) -> Self {
        Self {
            coloured: false,
            columns,
        }
    }

    /// Whether it goes to a terminal.
    pub fn is_terminal(self) -> bool {
        self.columns.is_some()
    }

    /// Something that went well, in green.
    pub fn good(self, text: &str) -> String {
        self.paint("1;32", text)
    }

    /// Something that went wrong, in red.
    pub fn error(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// Something that matters less.
    pub fn faint(self, text: &str) -> String {
        self.paint("2", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.coloured {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// What clears a line of which this many columns are written, and goes to its beginning.
    pub fn cleared(self, columns: usize) -> String {
        if self.coloured {
            "\r\x1b[K".to_owned()
        } else {
            format!("\r{}\r", " ".repeat(columns))
        }
    }

    /// `text` after a heading, of which only the plain form's width counts.
    pub fn after(self, heading: &str, plain: &str, text: &str, indent: &str) -> String {
        format!(
            "{heading}{}",
            self.wrap(&format!(" {text}"), width(plain), indent)
        )
    }

    /// `text`, whose first line begins at column `start` and whose other lines begin with `indent`. Lines that are
    /// too long for the terminal are broken between words; without a terminal they are as they are.
    pub fn wrap(self, text: &str, start: usize, indent: &str) -> String {
        let most = self.columns.unwrap_or(usize::MAX);
        let mut wrapped = String::with_capacity(text.len());
        let mut used = start;
        for (index, line) in text.split('\n').enumerate() {
            if index > 0 {
                wrapped.push('\n');
                wrapped.push_str(indent);
                used = indent.len();
            }
            for (index, word) in line.split(' ').enumerate() {
                let wide = width(word);
                // Of several spaces only the last can be where a line is broken.
                let breaks = !word.is_empty() && used.saturating_add(1 + wide) > most;
                if index > 0 && breaks {
                    wrapped.truncate(wrapped.trim_end_matches(' ').len());
                    wrapped.push('\n');
                    wrapped.push_str(indent);
                    used = indent.len();
                } else if index > 0 {
                    wrapped.push(' ');
                    used += 1;
                }
                wrapped.push_str(word);
                used = used.saturating_add(wide);
            }
        }
        wrapped
    }

    /// The beginning of `text` that fits on one line.
    pub fn fit(self, text: &str) -> String {
        cut(text, self.room())
    }

    /// How many columns a line may have.
    pub fn room(self) -> usize {
        // The last column is left free: some terminals go to the next line when it is written.
        self.columns.unwrap_or(usize::MAX).saturating_sub(1)
    }
}

/// The beginning of `text` that fits in so many columns.
pub fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut fitting = String::new();
    // Two for the ellipsis, as some fonts have it.
    let mut left = columns.saturating_sub(2);
    for c in text.chars() {
        let Some(rest) = left.checked_sub(char_width(c)) else {
            break;
        };
        left = rest;
        fitting.push(c);
    }
    fitting.push('…');
    fitting
}

/// How many columns a text takes at most.
pub fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

/// At most: what is not ASCII may be wide.
fn char_width(c: char) -> usize {
    if c.is_ascii() { 1 } else { 2 }
}

/// How many columns a text takes on most terminals, which is what columns of a table are aligned by.
pub fn usual_width(text: &str) -> usize {
    text.chars().map(usual_char_width).sum()
}

/// Wide are the scripts of East Asia and pictures (Unicode's annex 11), and none are marks above or below others.
fn usual_char_width(c: char) -> usize {
    match u32::from(c) {
        0x300..=0x36f | 0x200b..=0x200f | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f
        | 0x2e80..=0x303e
        | 0x3041..=0xa4cf
        | 0xa960..=0xa97f
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1f64f
        | 0x1f680..=0x1f6ff
        | 0x1f900..=0x1f9ff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

fn columns(terminal: RawFd) -> usize {
    match usize::from(size(terminal).ws_col) {
        0 => USUAL_COLUMNS,
        columns => columns,
    }
}

/// How many lines stdout shows at a time, if it is a terminal that tells.
pub fn lines() -> Option<usize> {
    let lines = usize::from(size(io::stdout().as_raw_fd()).ws_row);
    (lines > 0).then_some(lines)
}

/// The size of a terminal; zeros where it does not tell.
fn size(terminal: RawFd) -> libc::winsize {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: `size` is valid for writing, and large enough for what this request writes.
    unsafe { libc::ioctl(terminal, libc::TIOCGWINSZ, &raw mut size) };
    size
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide(columns: usize) -> Style {
        Style::of_columns(Some(columns))
    }

    #[test]
    fn lines_are_broken_between_words() {
        let text = "one two three\nfour a-word-that-is-too-long five";
        let expected = "one two\n  three\n  four\n  a-word-that-is-too-long\n  five";
        assert_eq!(wide(10).wrap(text, 2, "  "), expected);
        assert_eq!(wide(12).wrap("a    column   b", 0, "  "), "a    column\n  b");
        let nowhere = Style::of_columns(None);
        assert_eq!(
            nowhere.wrap(text, 2, "> "),
            "one two three\n> four a-word-that-is-too-long five"
        );
    }

    #[test]
    fn what_does_not_fit_after_a_heading_goes_below_it() {
        let after = |text| wide(20).after("\x1b[1mHEADING___\x1b[0m", "HEADING___", text, "  ");
        assert_eq!(
            after("a-long-name, then"),
            "\x1b[1mHEADING___\x1b[0m\n  a-long-name, then"
        );
        assert_eq!(after("short, then"), "\x1b[1mHEADING___\x1b[0m short,\n  then");
    }

    #[test]
    fn columns_are_counted_as_terminals_do() {
        for (text, expected) in [
            ("abc", 3),
            ("abc…", 4),
            ("äé", 2),
            ("e\u{301}", 1),
            ("日本", 4),
            ("🚀", 2),
        ] {
            assert_eq!(usual_width(text), expected, "{text}");
        }
    }

    #[test]
    fn what_does_not_fit_on_one_line_is_cut() {
        assert_eq!(wide(10).fit("123456789"), "123456789");
        assert_eq!(wide(10).fit("1234567890"), "1234567…");
        assert_eq!(wide(10).fit("äöüäöü"), "äöü…");
    }
}
