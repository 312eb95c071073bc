//! `wait`: waits for runs and prints their results.

use super::{Outcomes, block_on, distinct};
use crate::{Format, args::WaitOptions, exit, live::Seen, print_json_line, run, shown, summary};
use anyhow::{Context, Result};
use executor_runtime::protocol::RuntimeResult;
use executor_runtime_client::{RunSummary, Waited};
use std::{process::ExitCode, sync::Arc};
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};

/// Runs that are waited for at a time: each takes a connection.
const MOST: usize = 200;

pub(crate) fn wait(options: &WaitOptions, format: Option<Format>) -> Result<ExitCode> {
    let client = options.server.client()?;
    let ids = distinct(&options.ids);
    let format = Format::or_detect(format);
    let propagate = options.propagate_exit_code && ids.len() == 1;
    let outcomes = block_on(async {
        let until = options.timeout.and_then(|time| Instant::now().checked_add(time));
        let places = Arc::new(Semaphore::new(MOST));
        let mut waiting = JoinSet::new();
        for id in ids {
            let (client, id, places) = (client.clone(), id.clone(), Arc::clone(&places));
            waiting.spawn(async move {
                let _place = places.acquire().await;
                client.wait(&id, until).await
            });
        }
        let mut outcomes = Outcomes::default();
        while let Some(waited) = waiting.join_next().await {
            match waited.context("a run can't be waited for any more")? {
                Ok(Waited::Ended(result)) => outcomes.add(deliver(&result, format, propagate)),
                Ok(Waited::Unfinished(run)) => {
                    say!("{}", unfinished(&run));
                    outcomes.add(exit::UNFINISHED);
                }
                Err(error) => outcomes.failed(error),
            }
        }
        Ok(outcomes)
    })?;
    Ok(outcomes.code().into())
}

fn deliver(result: &RuntimeResult, format: Format, propagate: bool) -> u8 {
    run::delivered(result, None, propagate, || match format {
        Format::Json => {
            summary::print_file_error(result);
            Ok(print_json_line(result)?)
        }
        Format::Human => Ok(summary::print(result, Seen::default(), None)?),
    })
}

fn unfinished(run: &RunSummary) -> String {
    format!(
        "{}: not ended yet ({})",
        shown::value(&run.invocation_id),
        run.status
    )
}
