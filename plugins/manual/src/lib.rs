//! The runtime kind `manual`: a dispatcher outside the host does the work.
//!
//! The invocation goes to it as JSON, and what it answers is the result: status, exit code, error, times, files
//! and metadata. Only `error.kind` of a run that succeeded, an `error.kind` that is no valid code, and `plugin.*` are
//! not taken from the dispatcher. Its paths are passed on without checking that the files exist.
//!
//! An answer that is not a finished RuntimeResult for this very invocation is a failure with the code
//! `dispatcher_protocol`, which says what is wrong with it.

mod answer;
mod dispatcher;
mod socket;

use dispatcher::Dispatcher;
use executor_runtime_sdk::{Context, Invocation, Outcome, RunError, Runner, export_runner};

struct Manual;

impl Runner for Manual {
    fn run(&self, invocation: &Invocation, ctx: &mut Context) -> Result<Outcome, RunError> {
        let dispatcher = Dispatcher::choose(invocation, |key| ctx.config(key))?;
        let answered = dispatcher
            .ask(invocation, ctx)
            .and_then(|answer| answer::accept(invocation, &answer));
        let (key, value) = ("manual.dispatcher", dispatcher.to_string());
        match answered {
            Ok(outcome) => Ok(outcome.receipt(key, value)),
            Err(error) => Err(error.receipt(key, value)),
        }
    }
}

/// A dispatcher that does not keep to what it has to answer.
fn protocol(what: impl std::fmt::Display) -> RunError {
    RunError::failed("dispatcher_protocol", format!("the dispatcher's answer {what}"))
}

export_runner!(Manual);

#[cfg(test)]
mod tests;
