//! What becomes of the runs that a dead host has left.
//!
//! | it was | it becomes |
//! |---|---|
//! | accepted, and had not begun | begun when its turn comes |
//! | begun, and has left a checkpoint | gone on with |
//! | begun, and has left none | `failed`, `host_lost`: it may have done anything, so it is not begun again |

use crate::{
    journal::{JournalError, Unfinished},
    runs::Runs,
    table::Entry,
};
use executor_runtime::{
    ErrorKind, Failure,
    protocol::{RuntimeResult, Timestamp},
    reject,
};
use executor_runtime_run::{
    capture::{Left, left_by},
    exhaustion,
};
use std::sync::Arc;

impl Runs {
    /// Takes up what a dead host has left.
    pub(crate) async fn recover(&self) -> Result<(), JournalError> {
        let unfinished = self.journal().unfinished().await?;
        let (mut queued, mut resumed, mut lost) = (0, 0, 0);
        for run in unfinished {
            let Unfinished {
                run: number,
                invocation,
                accepted_at,
                started_at,
                last_event,
            } = run;
            let entry = Entry::recovered(invocation, number, accepted_at, last_event);
            let (entry, _) = self.table().get_or_insert(entry);
            let Some(started_at) = started_at else {
                queued += 1;
                self.readmit(&entry, false);
                continue;
            };
            let invocation = entry.invocation.clone();
            let left = exhaustion::run_blocking(move || left_by(&invocation)).await;
            match left.unwrap_or_default() {
                Left { can_resume: true, .. } => {
                    resumed += 1;
                    self.readmit(&entry, true);
                }
                left => {
                    lost += 1;
                    self.lose(&entry, left, started_at).await;
                }
            }
        }
        if queued + resumed + lost > 0 {
            tracing::warn!(
                "an earlier host has ended without an end to its runs: {queued} begin now, {resumed} go on from their \
                 checkpoints, {lost} are lost (`host_lost`)"
            );
        }
        Ok(())
    }

    /// A run that can't go on.
    async fn lose(&self, entry: &Arc<Entry>, left: Left, started_at: Timestamp) {
        let invocation = entry.invocation.clone();
        let failure = Failure::new(
            ErrorKind::HostLost,
            "the host ended while the run was under way; it may have been carried out in part",
        );
        let made = exhaustion::run_blocking(move || RuntimeResult {
            started_at,
            stdout_path: left.stdout_path,
            stderr_path: left.stderr_path,
            ..reject(&invocation, failure)
        });
        if let Ok(result) = made.await {
            self.record_end(entry, &result).await;
            let at = result.finished_at.clone();
            entry.end(result, &at);
        }
        self.table().remove(entry.id());
    }
}
