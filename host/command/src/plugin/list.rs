//! `plugin list`: every plugin file that is found.

use super::{inspect::document, why_unusable};
use crate::{
    Executable, Format, host, print_json, shown,
    style::{self, Style},
};
use anyhow::Result;
use executor_runtime::{
    plugin::{Found, Plugin, PluginSet, State},
    protocol::RuntimeKind,
};
use std::io::{self, Write};

const INDENT: &str = "   ";

pub(super) fn list(plugins: &PluginSet, executable: Executable, format: Format) -> Result<()> {
    host::check_configured_names(plugins)?;
    if format == Format::Json {
        let documents = plugins.list().iter().map(|found| document(found, executable));
        return print_json(&documents.collect::<Vec<_>>());
    }
    let style = style::stdout();
    let mut out = io::stdout().lock();
    for found in plugins.list() {
        print(&mut out, style, found, executable)?;
    }
    if plugins.list().is_empty() {
        writeln!(out, "no plugins found; searched:")?;
        for directory in plugins.directories() {
            writeln!(out, "  {}", shown::value(&directory.display().to_string()))?;
        }
    }
    Ok(())
}

fn print(out: &mut impl Write, style: Style, found: &Found, executable: Executable) -> io::Result<()> {
    let path = shown::value(&found.path.display().to_string());
    if let Some(reason) = why_unusable(found, executable) {
        let (heading, reason) = (style.error("unusable:"), shown::message(&reason, ""));
        let text = format!("'{path}' {reason}");
        return writeln!(out, "{}", style.after(&heading, "unusable:", &text, "  "));
    }
    let (State::Usable(kinds), Some(plugin)) = (&found.state, &found.plugin) else {
        return Ok(());
    };
    let kinds: Vec<_> = kinds.iter().map(RuntimeKind::as_str).collect();
    let Plugin {
        descriptor, carrier, ..
    } = &**plugin;
    let text = format!(
        "{} {}  {}  {}",
        descriptor.name,
        descriptor.version,
        carrier.as_str(),
        kinds.join(", ")
    );
    writeln!(out, "{}", style.after(&style.good("ok"), "ok", &text, INDENT))?;
    writeln!(
        out,
        "{INDENT}{}",
        style.faint(&style.wrap(&path, INDENT.len(), INDENT))
    )
}
