//! The marked sections of the README.

use std::{fs, path::Path};

/// What follows the comment `<!-- test: name -->`: a fenced block's text, or a table.
///
/// # Panics
/// When the README has no such section.
pub fn section(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = fs::read_to_string(path).expect("there is a README");
    let (_, after) = readme
        .split_once(&format!("<!-- test: {name} -->\n"))
        .expect("the section is marked");
    if let Some(block) = after.strip_prefix("```") {
        let (_language, block) = block.split_once('\n').expect("a fence ends its line");
        let (block, _) = block.split_once("```").expect("a fence is closed");
        return block.to_owned();
    }
    after.split("\n\n").next().unwrap_or_default().to_owned()
}
