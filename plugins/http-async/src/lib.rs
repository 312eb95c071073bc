//! The runtime kind `http_async`: starts a run at a backend and polls it until it has ended.
//!
//! The metadata keys are in `plugin.json`.
//!
//! - **Kickoff**: 202 means: poll. 200 with a terminal status in its body is the result; any other 200 is an
//!   acknowledgement. Every other code is a failure.
//! - **Poll**: at once, then on a fixed grid (`schedule`), until the status is a terminal one.
//! - **Stop**: a run that times out or is cancelled calls the cancel URL, once, within its grace. So does one
//!   that can't be polled, because there is no URL with what the backend gave as its id.
//!
//! Once the kickoff has been sent, no run is `rejected`: that would say that nothing was started.
//!
//! The run's id is checkpointed after the kickoff; an interrupted run that is resumed continues polling.
//!
//! The last payload is kept as artifact `final_status`. The receipt has:
//!
//! | key | value |
//! |---|---|
//! | `http.run_id` | the run's id, where a path for it is given |
//! | `http.run_status` | the last status that the backend told |
//! | `http.polls` | how many polls were sent |
//! | `http.status` | the code of the last answer |
//! | `http.resumed` | `true` where an earlier run had done the kickoff |
//! | `http.cancel_status` | the code of the answer to the cancel call |
//! | `http.cancel_error` | why the cancel call was not made, or not answered |

mod exchange;
mod path;
mod plan;
mod run;
mod schedule;
mod template;

use executor_runtime_sdk::{Context, Invocation, Outcome, RunError, Runner, export_runner};

struct HttpAsync;

impl Runner for HttpAsync {
    fn run(&self, invocation: &Invocation, ctx: &mut Context) -> Result<Outcome, RunError> {
        run::run(invocation, ctx)
    }
}

export_runner!(HttpAsync);

#[cfg(test)]
mod tests;
