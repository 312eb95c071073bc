//! Colour, where it is welcome: on a terminal, unless `NO_COLOR` is set.

use std::io::{self, IsTerminal};

/// How to write to one stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    coloured: bool,
}

pub(super) fn stdout() -> Style {
    Style::detect(io::stdout().is_terminal())
}

pub(super) fn stderr() -> Style {
    Style::detect(io::stderr().is_terminal())
}

impl Style {
    fn detect(terminal: bool) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            coloured: terminal && !refused,
        }
    }

    pub(super) fn good(self, text: &str) -> String {
        self.paint("1;32", text)
    }

    pub(super) fn error(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    pub(super) fn faint(self, text: &str) -> String {
        self.paint("2", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.coloured {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}
