//! Whether what is configured for plugins is for plugins that are there.
//!
//! What is configured under a wrong name does not count for the plugin that was meant: it runs although it is disabled,
//! or with another file than the pinned one. So a name that looks like a mistake is an error. One that looks like
//! nothing here may be for a plugin that another machine has, or that comes later, and is a warning. So it is with the kinds
//! whose runs a host that serves is to limit.

use crate::Plugin;
use executor_runtime_config::Config;
use executor_runtime_protocol::{RuntimeKind, closest, misspelt};

const BUILT_IN: &str = "subprocess";

/// What the names in the configuration were found to be.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// What is wrong with those that look like a mistake.
    pub(super) mistakes: Vec<String>,
    /// A sentence about each of those that look like nothing here.
    pub(super) unknown: Vec<String>,
}

/// Compares the names in the configuration with the plugins that were found.
pub(super) fn check<'a>(config: &Config, plugins: impl Iterator<Item = &'a Plugin> + Clone) -> Names {
    let names = || plugins.clone().map(|plugin| plugin.descriptor.name.as_str());
    let mut found = Names::default();
    for name in config.plugin_names() {
        if names().any(|there| there == name) {
            continue;
        }
        if let Some(mistake) = mistake(name, plugins.clone()) {
            found
                .mistakes
                .push(format!("[plugins.{name}] in the configuration {mistake}"));
            continue;
        }
        let meant =
            closest(name, names()).map_or_else(String::new, |meant| format!("; did you mean '{meant}'?"));
        found.unknown.push(format!(
            "[plugins.{name}] in the configuration matches no plugin that was found{meant}"
        ));
    }
    found
}

/// Compares the kinds whose runs are limited with those that were found.
pub(super) fn check_limited_kinds<'a>(config: &Config, plugins: impl Iterator<Item = &'a Plugin>) -> Names {
    let found = plugins.flat_map(|plugin| plugin.descriptor.kinds.iter().map(RuntimeKind::as_str));
    let kinds: Vec<_> = found.chain([BUILT_IN]).collect();
    let mut names = Names::default();
    let limited = &config.serve().max_running_by_kind;
    for kind in limited.keys() {
        let kind = kind.as_str();
        if kinds.contains(&kind) {
            continue;
        }
        let problem = format!("max_running_by_kind in the configuration has '{kind}', which is no kind here");
        // A kind that has a limit of its own is not the one that was meant: `build2` is gone, and `build1` is there.
        let is_limited = |meant: &str| limited.keys().any(|kind| kind.as_str() == meant);
        match misspelt(kind, kinds.iter().copied()).filter(|meant| !is_limited(meant)) {
            Some(meant) => names.mistakes.push(format!("{problem}; did you mean '{meant}'?")),
            None => names.unknown.push(problem),
        }
    }
    names
}

/// What is wrong with `name`, which no plugin has, if it looks like a mistake.
fn mistake<'a>(name: &str, plugins: impl Iterator<Item = &'a Plugin> + Clone) -> Option<String> {
    let kinds = plugins
        .clone()
        .flat_map(|plugin| plugin.descriptor.kinds.iter().map(move |kind| (kind, plugin)))
        .map(|(kind, plugin)| (RuntimeKind::as_str(kind), plugin.descriptor.name.as_str()));
    let runs = |kind: &str| kinds.clone().find(|(there, _)| *there == kind);
    if let Some((_, plugin)) = runs(name) {
        return Some(format!(
            "is for a kind, and not for the plugin that runs it; write [plugins.{plugin}]"
        ));
    }
    let no_plugin = "matches no plugin; did you mean";
    if let Some(meant) = misspelt(name, plugins.map(|plugin| plugin.descriptor.name.as_str())) {
        return Some(format!("{no_plugin} [plugins.{meant}]?"));
    }
    if let Some((kind, plugin)) = misspelt(name, kinds.clone().map(|(kind, _)| kind)).and_then(runs) {
        return Some(format!(
            "{no_plugin} [plugins.{plugin}], which runs kind '{kind}'?"
        ));
    }
    misspelt(name, [BUILT_IN])
        .map(|built_in| format!("is for a kind that is built in; write [{built_in}] or [limits] for that"))
}
