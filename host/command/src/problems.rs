//! What is wrong with a document, for people: a headline, and each problem on lines of its own.

use super::{
    input,
    style::{self, Style},
};
use executor_runtime::protocol::InvalidDocument;
use std::path::Path;

/// Tells it on stderr.
pub(super) fn tell(file: Option<&Path>, invalid: &InvalidDocument) {
    let style = style::stderr();
    tell!("{}", text(style, &style.error("error:"), "error:", file, invalid));
}

/// The same as text, after a heading of which only the plain form's width counts.
pub(super) fn text(
    style: Style,
    heading: &str,
    plain: &str,
    file: Option<&Path>,
    invalid: &InvalidDocument,
) -> String {
    let told = invalid.to_string();
    let mut lines = told.lines();
    let headline = format!("{} is {}", input::name(file), lines.next().unwrap_or_default());
    let mut text = style.after(heading, plain, &headline, "  ");
    for problem in lines {
        // Its indentation is there already.
        text.push('\n');
        text.push_str(&style.wrap(problem, 0, "    "));
    }
    text
}
