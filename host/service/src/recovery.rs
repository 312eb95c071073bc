//! What becomes of the runs that a dead host has left.
//!
//! | it was | it becomes |
//! |---|---|
//! | accepted, and had not begun | begun when its turn comes |
//! | begun, and has ended, but the journal does not know | what is in its capture directory, or in its result file |
//! | begun, and has left a checkpoint | gone on with; if it was told to stop, it is told so again, and can stop what it has started elsewhere |
//! | begun, and has left neither a result nor a checkpoint | `failed`, `host_lost`: it may have done anything, so it is not started again |
//! | the same, and told to stop | `cancelled`: its caller was told that it stops, so it must not start again |

use crate::{
    journal::JournalError,
    runs::{Beginning, Recorded, Runs, SubmitOptions},
    table::Entry,
};
use executor_runtime::{
    ErrorKind, Failure,
    protocol::{RuntimeInvocation, RuntimeResult, Status, Timestamp},
    reject,
};
use executor_runtime_run::{
    capture::{Left, forget_left, left_by},
    exhaustion,
};
use std::{fs::File, io::Read, sync::Arc, time::Duration};

/// The longest result file that is read, in bytes.
const MAX_RESULT: u64 = 64 << 20;

impl Runs {
    /// Takes up what a dead host has left.
    pub(crate) async fn recover(&self) -> Result<(), JournalError> {
        let unfinished = self.journal().unfinished().await?;
        let (mut queued, mut begun) = (0, 0);
        for run in unfinished {
            let (started_at, queue_until) = (run.started_at.clone(), run.queue_until.clone());
            let entry = Arc::new(Entry::recovered(run));
            // Each id is in the journal once.
            let _ = self.table().insert(&entry);
            match started_at {
                None => {
                    queued += 1;
                    let options = what_is_left_of(queue_until);
                    let beginning = Beginning {
                        is_late: options.queue_timeout == Some(Duration::ZERO),
                        ..Beginning::default()
                    };
                    self.readmit(&entry, options, beginning);
                }
                Some(started_at) => {
                    begun += 1;
                    // A file system that does not answer holds up no other run.
                    let runs = self.clone();
                    self.settle(async move { runs.take_up(&entry, started_at).await });
                }
            }
        }
        if queued + begun > 0 {
            tracing::warn!(
                "the host before this one died with unfinished runs: {queued} had not started and start now; {begun} had \
                 started, and continue from a checkpoint, have the result that they left, or fail as `host_lost`"
            );
        }
        Ok(())
    }

    /// A run that had begun.
    async fn take_up(&self, entry: &Arc<Entry>, started_at: Timestamp) {
        let (invocation, of) = (entry.invocation.clone(), entry.fingerprint);
        let (is_cancelled, retries) = (entry.cancel.reason().is_some(), self.retries());
        // Where runs are tried again, a result file without success may be of an attempt before the last.
        let is_the_end = move |result: &RuntimeResult| !retries || result.status == Status::Succeeded;
        let found = exhaustion::run_blocking(move || {
            let mut left = left_by(&invocation, of);
            let ended = left
                .result
                .take()
                .filter(|result| is_of(result, &invocation, &started_at))
                .or_else(|| written_result(&invocation, &started_at).filter(is_the_end));
            match ended {
                Some(result) => Some((result, true)),
                None if left.can_resume => None,
                None => Some((lost(&invocation, left, started_at, is_cancelled), false)),
            }
        });
        match found.await {
            Ok(None) => {
                let beginning = Beginning {
                    is_resumed: true,
                    ..Beginning::default()
                };
                self.readmit(entry, SubmitOptions::default(), beginning);
            }
            Ok(Some((result, has_ended))) => {
                let result = match self.end(entry, &result).await {
                    Recorded::Yes if has_ended => {
                        let invocation = entry.invocation.clone();
                        let _ = exhaustion::run_blocking(move || forget_left(&invocation)).await;
                        Some(result)
                    }
                    Recorded::Yes | Recorded::GivenUp => Some(result),
                    Recorded::No => None,
                };
                self.let_be_known(entry, result);
            }
            Err(error) => tracing::error!("'{}' can't be taken up: {error}", entry.id()),
        }
    }
}

/// How much longer a run may wait for its turn.
fn what_is_left_of(queue_until: Option<Timestamp>) -> SubmitOptions {
    let now = Timestamp::now().unix_micros();
    SubmitOptions {
        queue_timeout: queue_until.map(|until| {
            let left = until.unix_micros().saturating_sub(now);
            Duration::from_micros(u64::try_from(left).unwrap_or(0))
        }),
        ..SubmitOptions::default()
    }
}

/// The result of a run that can't go on. Blocks.
fn lost(
    invocation: &RuntimeInvocation,
    left: Left,
    started_at: Timestamp,
    is_cancelled: bool,
) -> RuntimeResult {
    let failure = match is_cancelled {
        true => Failure::new(
            ErrorKind::Cancelled,
            "the host ended while the run was stopping; it may have been carried out in part",
        ),
        false => Failure::new(
            ErrorKind::HostLost,
            "the host ended while the run was under way; it may have been carried out in part",
        ),
    };
    RuntimeResult {
        started_at,
        stdout_path: left.stdout_path,
        stderr_path: left.stderr_path,
        ..reject(invocation, failure)
    }
}

/// The result that the run itself has written to its file, in which case only the journal does not know of its end.
fn written_result(invocation: &RuntimeInvocation, started_at: &Timestamp) -> Option<RuntimeResult> {
    let file = File::open(invocation.output_result_path.as_ref()?).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = Vec::new();
    file.take(MAX_RESULT).read_to_end(&mut text).ok()?;
    let result: RuntimeResult = serde_json::from_slice(&text).ok()?;
    is_of(&result, invocation, started_at).then_some(result)
}

/// Whether a result is of the run of `invocation` that began then, and not of an earlier one.
fn is_of(result: &RuntimeResult, invocation: &RuntimeInvocation, started_at: &Timestamp) -> bool {
    result.invocation_id == invocation.invocation_id
        && result.runtime_kind == invocation.runtime_kind
        && !result.finished_at.is_before(started_at)
}
