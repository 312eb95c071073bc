//! `plugin check`: what would fail in use, and how to fix it.

use super::find;
use crate::{Format, args::HostOptions, host, print_json, shown, style};
use anyhow::{Context, Result};
use executor_runtime::Host;
use executor_runtime_conformance::{self as conformance, Report, Verdict};
use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

pub(super) fn check(plugin: &str, options: &HostOptions, format: Format) -> Result<ExitCode> {
    options.executable.need_engine()?;
    let host = host::start(host::builder(options)?)??;
    let path = find(host.plugins(), plugin)?.path;
    check_with(&host, &path, format)
}

/// Checks the plugin in a file, whatever it is called.
pub(super) fn check_file(path: &Path, options: &HostOptions, format: Format) -> Result<ExitCode> {
    let host = host::start(host::builder(options)?)??;
    check_with(&host, path, format)
}

fn check_with(host: &Host, path: &Path, format: Format) -> Result<ExitCode> {
    let executor = executor_runtime::executor()?;
    let report = executor
        .block_on(conformance::check(path, host.plugins()))
        .context("the plugin can't be run on this machine")?;
    // A plugin that could not be ended may still hold a thread.
    executor.shutdown_background();
    match format {
        Format::Json => print_json(&report)?,
        Format::Human => print(&report)?,
    }
    Ok(if report.passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn print(report: &Report) -> io::Result<()> {
    let style = style::stdout();
    let mut out = io::stdout().lock();
    let mut counts = [0; 3];
    for check in &report.checks {
        let promise = check.promise;
        match &check.verdict {
            Verdict::Passed => {
                counts[0] += 1;
                writeln!(out, "{}      {promise}", style.good("ok"))?;
            }
            Verdict::Failed { reason, remedy } => {
                counts[1] += 1;
                writeln!(out, "{}  {promise}", style.error("FAILED"))?;
                writeln!(out, "        found: {}", indented(reason))?;
                writeln!(out, "        to do: {}", indented(remedy))?;
            }
            Verdict::Skipped { reason } => {
                counts[2] += 1;
                if report.is_recipe && !check.name.applies_to_recipes() {
                    continue;
                }
                let reason = indented(reason);
                writeln!(out, "{} {promise} ({reason})", style.faint("skipped"))?;
            }
        }
    }
    if report.is_recipe {
        writeln!(
            out,
            "{} everything about code and how it runs: a recipe has none; check the plugin of its base for that",
            style.faint("skipped")
        )?;
    }
    let [passed, failed, skipped] = counts;
    writeln!(
        out,
        "'{}': {passed} passed, {failed} failed, {skipped} skipped",
        shown::value(&report.path.display().to_string())
    )
}

/// Text of a plugin's, on lines of its own under ours.
fn indented(text: &str) -> String {
    shown::summary(text, "               ")
}
