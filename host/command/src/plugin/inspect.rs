//! `plugin inspect`: what a plugin declares.

use crate::{Format, print_json, shown, style};
use anyhow::Result;
use executor_runtime::{
    plugin::{Found, State},
    protocol::{MetadataKey, RuntimeKind},
};
use std::io::{self, Write};

/// A plugin file as machines see it.
pub(super) fn document(found: &Found) -> serde_json::Value {
    let (kinds, reason) = match &found.state {
        State::Usable(kinds) => (kinds.as_slice(), None),
        State::Unusable(reason) => (&[][..], Some(reason.to_string())),
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

pub(super) fn inspect(found: &Found, format: Format) -> Result<()> {
    if format == Format::Json {
        return print_json(&document(found));
    }
    let style = style::stdout();
    let mut out = io::stdout().lock();
    let path = shown::value(&found.path.display().to_string());
    writeln!(out, "{} {path}", style.faint("file     "))?;
    if let State::Unusable(reason) = &found.state {
        let reason = shown::message(&reason.to_string(), "");
        writeln!(out, "{} it {reason}", style.error("unusable:"))?;
    }
    let Some(plugin) = &found.plugin else {
        return Ok(());
    };
    let descriptor = &plugin.descriptor;
    let kinds: Vec<_> = descriptor.kinds.iter().map(RuntimeKind::as_str).collect();
    writeln!(
        out,
        "{} {} {}, {}",
        style.faint("plugin   "),
        descriptor.name,
        descriptor.version,
        shown::value(&descriptor.summary)
    )?;
    writeln!(out, "{} {}", style.faint("carrier  "), plugin.carrier.as_str())?;
    writeln!(out, "{} {}", style.faint("interface"), descriptor.interface)?;
    writeln!(out, "{} {}", style.faint("kinds    "), kinds.join(", "))?;
    if !descriptor.metadata.is_empty() {
        writeln!(out, "{}", style.faint("metadata keys"))?;
    }
    for (key, spec) in &descriptor.metadata {
        writeln!(out, "  {key}  {}", shown::value(&describe_key(spec)))?;
        writeln!(out, "      {}", shown::value(&spec.help))?;
    }
    Ok(())
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
