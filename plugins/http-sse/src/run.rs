//! One run: what comes before the stream, and what is left at the end.

use crate::{
    follow::{Follower, Halt},
    journal::Journal,
    plan::Plan,
    state::{Ended, State},
};
use executor_runtime_plugin_common::{call_receipt, interrupted, kickoff_request};
use executor_runtime_sdk::{Context, Invocation, Outcome, RunError};

pub(crate) fn run(invocation: &Invocation, ctx: &Context) -> Result<Outcome, RunError> {
    let plan = Plan::read(invocation)?;
    kickoff_request(invocation)?;
    let resumed = State::resumed(ctx)?;
    let is_resumed = resumed.is_some();
    let mut journal = match &resumed {
        Some(state) => Journal::reopen(ctx, state)?,
        None => Journal::begin(ctx)?,
    };
    let mut follower = Follower::new(invocation, ctx, &plan, &mut journal);
    let followed = follower.follow(resumed);
    let cancelled = match (&followed, &plan.cancel) {
        (Err(Halt::Interrupted(_) | Halt::Lost(_)), Some(cancel)) => {
            Some(cancel.send(ctx, follower.values(), 1.0))
        }
        _ => None,
    };
    let is_cancelled = matches!(&cancelled, Some(Ok(code)) if code.is_success());
    let may_still_run = followed.is_err() && follower.may_still_run() && !is_cancelled;
    let Follower {
        state,
        code,
        reconnects,
        ..
    } = follower;
    let truncated = journal.is_full();
    let kept = journal.finish();
    let cursor = state.place().map(str::to_owned);
    let end = followed.as_ref().ok().map(|ended| ended.by.clone());
    let outcome = followed.map_err(|halt| match halt {
        Halt::Interrupted(doing) => interrupted(invocation, ctx, doing),
        Halt::Lost(error) | Halt::Failed(error) => error,
    });
    let outcome = outcome.and_then(|ended| judge(ended, state.input));
    // Another try would start a second run beside it, or do its work again.
    let is_final = may_still_run || outcome.is_ok() && !plan.only_asks;
    let outcome = outcome.and(kept).map_err(|error| match is_final {
        true => error.transient(false),
        false => error,
    });
    let receipt = [
        ("http.status", code.map(|code| code.as_str().to_owned())),
        ("sse.events", Some(state.events.to_string())),
        ("sse.cursor", cursor),
        ("sse.reconnects", Some(reconnects.to_string())),
        ("sse.end", end),
        ("sse.events_truncated", truncated.then(|| "true".to_owned())),
        ("http.run_id", state.run_id),
        ("http.resumed", is_resumed.then(|| "true".to_owned())),
    ];
    let cancel = call_receipt(["http.cancel_status", "http.cancel_error"], cancelled);
    let receipt = receipt
        .into_iter()
        .chain(cancel)
        .filter_map(|(key, value)| Some((key, value?)));
    match outcome {
        Ok(()) => Ok(
            receipt.fold(Outcome::succeeded().exit_code(0), |outcome, (key, value)| {
                outcome.receipt(key, value)
            }),
        ),
        Err(error) => Err(receipt.fold(error, |error, (key, value)| error.receipt(key, value))),
    }
}

/// What the end of a run means, which may have asked a person for input.
fn judge(ended: Ended, input: Option<String>) -> Result<(), RunError> {
    let Ended { success, by, words } = ended;
    if success {
        return match input {
            None => Ok(()),
            Some(input) => {
                let summary = format!("the run waits for input: {input}");
                Err(RunError::failed("needs_input", summary).transient(false))
            }
        };
    }
    let words = words.map(|words| format!(": {words}")).unwrap_or_default();
    Err(RunError::failed("backend_status", format!("backend reported the end: {by}{words}")).exit_code(1))
}
