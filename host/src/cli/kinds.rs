//! `kinds`: what can run, and by what.

use super::Format;
use anyhow::Result;
use executor_runtime::Runtime;
use std::{
    io::{self, Write},
    process::ExitCode,
};

pub(super) fn kinds(format: Option<Format>) -> Result<ExitCode> {
    let runtime = Runtime::new()?;
    let mut out = io::stdout().lock();
    match Format::or_detect(format) {
        Format::Human => {
            for kind in runtime.kinds() {
                writeln!(out, "{kind}  built in")?;
            }
        }
        Format::Json => {
            let kinds: Vec<_> = runtime
                .kinds()
                .iter()
                .map(|kind| serde_json::json!({"runtime_kind": kind, "runner": "built in"}))
                .collect();
            serde_json::to_writer_pretty(&mut out, &kinds)?;
            writeln!(out)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
