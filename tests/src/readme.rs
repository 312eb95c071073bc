//! The marked sections of the README and of the pages that it leads to.

use std::{fs, path::Path};

/// The README and its pages, in the workspace.
pub const PAGES: [&str; 6] = [
    "README.md",
    "host/ORCHESTRATORS.md",
    "host/OPERATORS.md",
    "plugins/README.md",
    "plugin-sdk/README.md",
    ".github/CONTRIBUTING.md",
];

/// What follows the comment `<!-- test: name -->` on one of the pages: a fenced block's text, or a table.
///
/// # Panics
/// When not exactly one page has such a section.
pub fn section(name: &str) -> String {
    let mark = format!("<!-- test: {name} -->\n");
    let mut found = PAGES.iter().filter_map(|page| {
        let text = page_text(page);
        let (_, after) = text.split_once(&mark)?;
        Some(after.to_owned())
    });
    let after = found
        .next()
        .unwrap_or_else(|| panic!("no page has a section '{name}'"));
    assert!(found.next().is_none(), "two pages have a section '{name}'");
    if let Some(block) = after.strip_prefix("```") {
        let (_language, block) = block.split_once('\n').expect("a fence ends its line");
        let (block, _) = block.split_once("```").expect("a fence is closed");
        return block.to_owned();
    }
    after.split("\n\n").next().unwrap_or_default().to_owned()
}

/// A page of the workspace.
///
/// # Panics
/// When it is not there.
pub fn page_text(page: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(page);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
