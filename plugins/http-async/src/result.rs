//! The result of a run that has succeeded, kept as an artifact.

use crate::{plan::Plan, run::Halt};
use executor_runtime_plugin_common::{
    Answer, ReadFailure, Template, Values, beginning, read_failure, unexpected_code,
};
use executor_runtime_sdk::{
    BodyReader, Context, HttpError, Level, RunError,
    http_types::{Response, StatusCode},
};
use std::io;

const ARTIFACT: &str = "result";
const DOING: &str = "result";

/// An attempt that did not work out.
enum Attempt {
    /// Another one may.
    MayPass(RunError),
    Final(Halt),
}

/// Fetches the result; returns the code of the answer. What may pass is tried again as often as polls may fail, after an
/// interval each.
pub(crate) fn fetch(
    ctx: &Context,
    plan: &Plan,
    template: &Template,
    values: Values<'_>,
) -> Result<StatusCode, Halt> {
    let failed = |error: RunError| Halt::Failed(error.context(DOING));
    let url = template.fill(values).map_err(failed)?;
    let mut failures = 0;
    loop {
        if ctx.stop_requested() {
            return Err(Halt::Interrupted(DOING));
        }
        let sent = ctx.http().send(plan.result_request(&url));
        let error = match sent.map_err(refused).and_then(|answer| keep(ctx, answer)) {
            Ok(code) => return Ok(code),
            Err(Attempt::Final(halt)) => return Err(halt),
            Err(Attempt::MayPass(error)) => error,
        };
        failures += 1;
        if failures > plan.max_failures {
            return Err(failed(error));
        }
        let text = format!("the result could not be fetched, {failures} times in a row: {error}");
        ctx.log(Level::Warn, &text);
        if ctx.sleep(plan.intervals.first).is_stopped() {
            return Err(Halt::Interrupted(DOING));
        }
    }
}

fn refused(error: HttpError) -> Attempt {
    match error {
        HttpError::Timeout | HttpError::Stopped => Attempt::Final(Halt::Interrupted(DOING)),
        error => {
            let transient = error.is_transient();
            let error = RunError::failed(error.code(), format!("http error: {error}"));
            match transient {
                true => Attempt::MayPass(error),
                false => Attempt::Final(Halt::Failed(error.context(DOING))),
            }
        }
    }
}

/// Keeps the body of a good answer, as it comes.
fn keep(ctx: &Context, answer: Response<BodyReader>) -> Result<StatusCode, Attempt> {
    let (head, mut body) = answer.into_parts();
    let failed = |error: RunError| Attempt::Final(Halt::Failed(error.context(DOING)));
    let unreadable = |error: io::Error| match read_failure(error) {
        ReadFailure::Http(error) => refused(error),
        ReadFailure::Other(error) => failed(unwritable(&error)),
    };
    if !head.status.is_success() {
        let answer = Answer {
            status: head.status,
            retry_after: None,
            payload: beginning(&mut body).map_err(unreadable)?,
        };
        let error = unexpected_code("2xx", &answer);
        return Err(match head.status.is_server_error() {
            true => Attempt::MayPass(error),
            false => failed(error),
        });
    }
    let mut artifact = match ctx.artifact(ARTIFACT, ARTIFACT) {
        Ok(artifact) => artifact,
        Err(error) => return Err(failed(unwritable(&error))),
    };
    // A second artifact of that name can't be begun: a result that breaks off is not fetched again.
    let copied = artifact.copy_from(&mut body).and_then(|_| artifact.finish());
    match copied.map_err(read_failure) {
        Ok(_) => Ok(head.status),
        Err(ReadFailure::Http(HttpError::Timeout | HttpError::Stopped)) => {
            Err(Attempt::Final(Halt::Interrupted(DOING)))
        }
        Err(ReadFailure::Http(error)) => {
            let error = RunError::failed(error.code(), format!("http error: {error}"));
            Err(failed(error))
        }
        Err(ReadFailure::Other(error)) => Err(failed(unwritable(&error))),
    }
}

fn unwritable(error: &dyn std::fmt::Display) -> RunError {
    RunError::failed("output_unwritable", format!("artifact '{ARTIFACT}': {error}"))
}
