//! The runtime kind `http_async`: starts a run at a backend and polls it until it has ended.
//!
//! The metadata keys are in `plugin.json`.
//!
//! - **Kickoff**: 202 means: poll. 200 with a terminal status in its body is the result; any other 200 is an
//!   acknowledgement. The codes in `http.kickoff_codes` mean the same as 202; every other one is a failure.
//! - **Poll**: at once, then on a fixed grid (`schedule`), until the status is a terminal one.
//! - **Stop**: a run that times out or is cancelled calls the cancel URL, once, within its grace. So does one
//!   that can't be polled, because there is no URL with what the backend gave as its id.
//!
//! Once the kickoff has been sent, no run is `rejected`: that would say that nothing was started.
//!
//! - **Result**: after a success, `http.result_url_template` is fetched and kept as artifact `result`. A result that can't be
//!   had is a failure.
//! - **Exit code**: what the last answer tells (`exit`); else 0 after a success and 1 after a failure.
//! - **Another try**: where the backend may have started a run that is still under way (the kickoff may have arrived, its end
//!   was not seen, and no cancel call was answered with success), the failure is not `error.transient`: another try would
//!   start a second run beside it. Nor is `needs_input`, or a failure after the backend's success. A kickoff that only asks,
//!   such as a GET, may be sent again.
//! - **Input**: a run that waits for a person ends `failed`, `needs_input`. It is not cancelled.
//! - **Cleanup**: at the end, whichever it was, the cleanup URL is called if the backend may have started a run; after a stop
//!   within what the cancel call has left of the grace. That it fails is told in the receipt and nowhere else.
//!
//! The run's id is checkpointed after the kickoff; an interrupted run that is resumed continues polling. Where a result or a
//! cleanup is asked for, the end of the run and the result are, too (`state`): after the host's death they are not asked for
//! again, and the cleanup call is made, perhaps for a second time.
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
//! | `http.result_status` | the code of the answer with the result |
//! | `http.cleanup_status` | the code of the answer to the cleanup call |
//! | `http.cleanup_error` | why the cleanup call was not made, or not answered |

mod exit;
mod plan;
mod progress;
mod result;
mod run;
mod schedule;
mod state;

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
