//! `cancel`: asks runs to stop.

use super::{Outcomes, block_on, distinct};
use crate::{Format, args::CancelOptions, print_json, shown, style};
use anyhow::Result;
use executor_runtime::protocol::Status;
use executor_runtime_client::{Page, RunSummary};
use std::process::ExitCode;

pub(crate) fn cancel(options: &CancelOptions, format: Option<Format>) -> Result<ExitCode> {
    let client = options.server.client()?;
    let mut outcomes = Outcomes::default();
    let asked = block_on(async {
        let mut asked = Vec::new();
        for id in distinct(&options.ids) {
            match client.cancel(id, options.now).await {
                Ok(run) => {
                    outcomes.add(0);
                    asked.push(run);
                }
                Err(error) => outcomes.failed(error),
            }
        }
        Ok(asked)
    })?;
    match Format::or_detect(format) {
        Format::Json => print_json(&Page {
            runs: asked,
            next_cursor: None,
        })?,
        Format::Human => {
            let style = style::stdout();
            let lines: String = asked
                .iter()
                .map(|run| style.wrap(&told(run), 0, "  ") + "\n")
                .collect();
            crate::print(lines.as_bytes())?;
        }
    }
    Ok(outcomes.code().into())
}

fn told(run: &RunSummary) -> String {
    let id = shown::value(&run.invocation_id);
    match run.status {
        Status::Pending | Status::Running => format!("{id}: asked to stop"),
        Status::Cancelled => format!("{id}: cancelled"),
        status => format!("{id}: had ended: {}", status.as_str().replace('_', " ")),
    }
}
