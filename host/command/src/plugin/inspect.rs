//! `plugin inspect`: what a plugin declares.

use super::why_unusable;
use crate::{
    Executable, Format, print_json, shown,
    style::{self, Style},
};
use anyhow::Result;
use executor_runtime::{
    plugin::{Found, State},
    protocol::{MetadataKey, RuntimeKind},
};
use std::io::{self, Write};

/// A plugin file as machines see it.
pub(super) fn document(found: &Found, executable: Executable) -> serde_json::Value {
    let reason = why_unusable(found, executable);
    let kinds = match &found.state {
        State::Usable(kinds) if reason.is_none() => kinds.as_slice(),
        _ => &[],
    };
    serde_json::json!({
        "path": found.path,
        "usable": reason.is_none(),
        "reason": reason,
        "runs_kinds": kinds,
        "carrier": found.plugin.as_ref().map(|plugin| plugin.carrier),
        "descriptor": found.plugin.as_ref().map(|plugin| &plugin.descriptor),
    })
}

pub(super) fn inspect(found: &Found, executable: Executable, format: Format) -> Result<()> {
    if format == Format::Json {
        return print_json(&document(found, executable));
    }
    let style = style::stdout();
    let mut out = io::stdout().lock();
    let path = shown::value(&found.path.display().to_string());
    row(&mut out, style, "file", &path)?;
    if let Some(reason) = why_unusable(found, executable) {
        let text = format!("it {}", shown::message(&reason, ""));
        let heading = style.error("unusable:");
        writeln!(out, "{}", style.after(&heading, "unusable:", &text, "  "))?;
    }
    let Some(plugin) = &found.plugin else {
        return Ok(());
    };
    let descriptor = &plugin.descriptor;
    let kinds: Vec<_> = descriptor.kinds.iter().map(RuntimeKind::as_str).collect();
    let (name, version) = (&descriptor.name, &descriptor.version);
    let about = format!("{name} {version}, {}", shown::value(&descriptor.summary));
    row(&mut out, style, "plugin", &about)?;
    row(&mut out, style, "carrier", plugin.carrier.as_str())?;
    row(&mut out, style, "interface", &descriptor.interface.to_string())?;
    row(&mut out, style, "kinds", &kinds.join(", "))?;
    if !descriptor.metadata.is_empty() {
        writeln!(out, "{}", style.faint("metadata keys"))?;
    }
    for (key, spec) in &descriptor.metadata {
        let key = format!("  {key}  {}", shown::value(&describe_key(spec)));
        writeln!(out, "{}", style.wrap(&key, 0, "    "))?;
        let help = format!("      {}", shown::value(&spec.help));
        writeln!(out, "{}", style.wrap(&help, 0, "      "))?;
    }
    Ok(())
}

/// A line that begins with what it is about.
fn row(out: &mut impl Write, style: Style, label: &str, text: &str) -> io::Result<()> {
    let label = format!("{label:9}");
    writeln!(out, "{}", style.after(&style.faint(&label), &label, text, "  "))
}

fn describe_key(spec: &MetadataKey) -> String {
    let mut text = spec.value_type.as_str().to_owned();
    if spec.required {
        text.push_str(", required");
    }
    if let Some(default) = &spec.default {
        text.push_str(&format!(", default {default}"));
    }
    if !spec.one_of.is_empty() {
        text.push_str(&format!(", one of {}", spec.one_of.join(" ")));
    }
    text
}
