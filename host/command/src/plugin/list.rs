//! `plugin list`: every plugin file that is found.

use super::inspect::document;
use crate::{Format, host, print_json, shown, style};
use anyhow::Result;
use executor_runtime::{
    plugin::{Plugin, PluginSet, State},
    protocol::RuntimeKind,
};
use std::io::{self, Write};

pub(super) fn list(plugins: &PluginSet, format: Format) -> Result<()> {
    host::check_configured_names(plugins)?;
    if format == Format::Json {
        return print_json(&plugins.list().iter().map(document).collect::<Vec<_>>());
    }
    let style = style::stdout();
    let mut out = io::stdout().lock();
    for found in plugins.list() {
        let path = shown::value(&found.path.display().to_string());
        match (&found.state, &found.plugin) {
            (State::Usable(kinds), Some(plugin)) => {
                let kinds: Vec<_> = kinds.iter().map(RuntimeKind::as_str).collect();
                let Plugin {
                    descriptor, carrier, ..
                } = &**plugin;
                let (name, version) = (&descriptor.name, &descriptor.version);
                writeln!(
                    out,
                    "{} {name} {version}  {}  {}",
                    style.good("ok"),
                    carrier.as_str(),
                    kinds.join(", ")
                )?;
                writeln!(out, "   {}", style.faint(&path))?;
            }
            (State::Unusable(reason), _) => {
                let reason = shown::message(&reason.to_string(), "");
                writeln!(out, "{} '{path}' {reason}", style.error("unusable:"))?;
            }
            (State::Usable(_), None) => {}
        }
    }
    if plugins.list().is_empty() {
        writeln!(out, "no plugins found; searched:")?;
        for directory in plugins.directories() {
            writeln!(out, "  {}", shown::value(&directory.display().to_string()))?;
        }
    }
    Ok(())
}
