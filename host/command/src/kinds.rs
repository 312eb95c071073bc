//! `kinds`: what can run, and by what.

use super::{Format, args::HostOptions, host, print_json, shown, style};
use anyhow::Result;
use executor_runtime::Origin;
use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

/// One kind and what runs it.
#[derive(serde::Serialize)]
struct Row {
    runtime_kind: String,
    /// The plugin's name and version; none for what is built in.
    plugin: Option<String>,
    carrier: &'static str,
    path: Option<PathBuf>,
    /// Why it can't run all the same; none if it can.
    reason: Option<String>,
}

pub(super) fn kinds(options: &HostOptions, format: Option<Format>) -> Result<ExitCode> {
    let builder = host::builder(options)?;
    host::check_configured_names(builder.plugins())?;
    let host = host::start(builder)??;
    let rows: Vec<_> = host
        .origins()
        .into_iter()
        .map(|(kind, origin)| {
            let runtime_kind = kind.to_string();
            match origin {
                Origin::Plugin(plugin) => Row {
                    runtime_kind,
                    plugin: Some(format!(
                        "{} {}",
                        plugin.descriptor.name, plugin.descriptor.version
                    )),
                    carrier: plugin.carrier.as_str(),
                    path: Some(plugin.path.clone()),
                    reason: options.executable.missing_for(host.plugins().carrier(&plugin)),
                },
                Origin::BuiltIn | Origin::Embedder => Row {
                    runtime_kind,
                    plugin: None,
                    carrier: "built-in",
                    path: None,
                    reason: None,
                },
            }
        })
        .collect();
    match Format::or_detect(format) {
        Format::Json => print_json(&rows)?,
        Format::Human => print(&rows)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn print(rows: &[Row]) -> io::Result<()> {
    let style = style::stdout();
    let kinds = rows.iter().map(|row| row.runtime_kind.len()).max().unwrap_or(0);
    let carriers = rows.iter().map(|row| row.carrier.len()).max().unwrap_or(0);
    let mut out = io::stdout().lock();
    for row in rows {
        let mut line = format!("{:kinds$}  {:carriers$}", row.runtime_kind, row.carrier);
        if let (Some(plugin), Some(path)) = (&row.plugin, &row.path) {
            line.push_str(&format!(
                "  {plugin}  {}",
                shown::value(&path.display().to_string())
            ));
        }
        writeln!(out, "{}", style.wrap(line.trim_end(), 0, "  "))?;
        if let Some(reason) = &row.reason {
            let (heading, reason) = (style.error("  can't run:"), shown::value(reason));
            writeln!(
                out,
                "{}",
                style.after(&heading, "  can't run:", &format!("it {reason}"), "    ")
            )?;
        }
    }
    Ok(())
}
