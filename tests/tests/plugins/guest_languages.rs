//! What the tests of plugins in other languages than Rust have in common.

use executor_runtime_protocol::RuntimeResult;
pub(super) use executor_runtime_tests::guest_tools::run;

pub(super) fn receipt<'a>(result: &'a RuntimeResult, key: &str) -> &'a str {
    result.metadata.get(key).map_or("", String::as_str)
}

pub(super) fn summary(result: &RuntimeResult) -> &str {
    result.error_summary.as_deref().unwrap_or_default()
}

/// What is between the fences after a mark in a guide.
pub(super) fn shown(guide: &str, language: &str, name: &str) -> String {
    let (_, after) = guide
        .split_once(&format!("<!-- test: {name} -->\n```{language}\n"))
        .unwrap();
    after.split_once("```").unwrap().0.to_owned()
}
