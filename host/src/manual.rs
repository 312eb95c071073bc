//! `manual` in the library: a closure of the caller's executes the invocation.

use crate::{CancelReason, ErrorKind, Failure, Outcome, Run, RunFuture, Runner, host::panicked, receipt};
use executor_runtime_protocol::{RuntimeInvocation, RuntimeResult, Status};
use executor_runtime_run::{exhaustion, until};
use std::{fmt, sync::Arc};

type Dispatch = dyn Fn(RuntimeInvocation) -> RuntimeResult + Send + Sync;

/// Hands invocations to a closure and returns the result that it answers.
///
/// The closure may block; it runs on a thread of its own. It can't be interrupted: when the deadline passes
/// or the run is cancelled, the run ends, and what the closure answers later is ignored.
///
/// ```
/// # use executor_runtime::{Host, ManualRunner, protocol::*};
/// # use std::{collections::BTreeMap, sync::Arc};
/// let runner = ManualRunner::new(|invocation| RuntimeResult {
///     invocation_id: invocation.invocation_id,
///     runtime_name: invocation.runtime_name,
///     runtime_kind: invocation.runtime_kind,
///     status: Status::Succeeded,
///     exit_code: Some(0),
///     started_at: Timestamp::now(),
///     finished_at: Timestamp::now(),
///     stdout_path: None,
///     stderr_path: None,
///     artifacts: Vec::new(),
///     error_summary: None,
///     metadata: BTreeMap::new(),
/// });
/// let host = Host::builder()
///     .runner(RuntimeKind::new("manual").unwrap(), Arc::new(runner))
///     .build()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct ManualRunner {
    dispatch: Arc<Dispatch>,
}

impl ManualRunner {
    /// A runner that executes invocations with `dispatch`.
    pub fn new(dispatch: impl Fn(RuntimeInvocation) -> RuntimeResult + Send + Sync + 'static) -> Self {
        Self {
            dispatch: Arc::new(dispatch),
        }
    }

    async fn execute(&self, run: &Run) -> Outcome {
        let (dispatch, invocation) = (self.dispatch.clone(), run.invocation.clone());
        let answer = match exhaustion::try_spawn_blocking(move || dispatch(invocation)) {
            Ok(answer) => answer,
            Err(error) => return Failure::exhausted(&error).into(),
        };
        tokio::select! {
            biased;
            answer = answer.join() => match answer {
                Ok(result) => accept(result, &run.invocation),
                Err(panic) => panicked(&*panic),
            },
            () = run.cancel.raised(CancelReason::Requested) => Outcome::failure(
                ErrorKind::Cancelled,
                "the run was cancelled; its dispatcher can't be interrupted and may still be running",
            ),
            () = until(run.deadline) => Outcome::failure(
                ErrorKind::Timeout,
                format!(
                    "the dispatcher did not answer within {} seconds; it can't be interrupted and may still be running",
                    run.invocation.timeout_seconds.map_or(0, std::num::NonZeroU64::get),
                ),
            ),
        }
    }
}

impl fmt::Debug for ManualRunner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualRunner").finish_non_exhaustive()
    }
}

impl Runner for ManualRunner {
    fn run<'a>(&'a self, run: &'a Run) -> RunFuture<'a> {
        Box::pin(self.execute(run))
    }
}

/// Takes over an answer, if it is one to this invocation.
fn accept(result: RuntimeResult, invocation: &RuntimeInvocation) -> Outcome {
    if let Err(problem) = check_identity(&result, invocation) {
        return Outcome::failure(
            ErrorKind::DispatcherProtocol,
            format!("the dispatcher's answer {problem}"),
        );
    }
    if result.finished_at.is_before(&result.started_at) {
        return Outcome::failure(
            ErrorKind::DispatcherProtocol,
            format!(
                "the dispatcher's answer has the finished_at '{}', which is before its started_at '{}'",
                result.finished_at, result.started_at
            ),
        );
    }
    let mut outcome = match result.status {
        Status::Succeeded => Outcome::succeeded(),
        Status::Pending | Status::Running => {
            return Outcome::failure(
                ErrorKind::DispatcherProtocol,
                format!(
                    "the dispatcher's answer has the status '{}', which is not final",
                    result.status.as_str()
                ),
            );
        }
        status => {
            let code = result.metadata.get(receipt::ERROR_KIND).cloned();
            Outcome::failure(
                ErrorKind::Reported {
                    code: code.unwrap_or_else(|| "dispatcher_reported".to_owned()),
                    status,
                },
                result
                    .error_summary
                    .unwrap_or_else(|| format!("the dispatcher reported {}", status.as_str())),
            )
        }
    };
    outcome.exit_code = result.exit_code;
    outcome.stdout_path = result.stdout_path;
    outcome.stderr_path = result.stderr_path;
    outcome.artifacts = result.artifacts;
    outcome.receipt = result.metadata;
    outcome.receipt.remove(receipt::ERROR_KIND);
    outcome.times = Some((result.started_at, result.finished_at));
    outcome
}

fn check_identity(result: &RuntimeResult, invocation: &RuntimeInvocation) -> Result<(), String> {
    let fields = [
        (
            "invocation_id",
            result.invocation_id.as_str(),
            invocation.invocation_id.as_str(),
        ),
        ("runtime_name", &result.runtime_name, &invocation.runtime_name),
        (
            "runtime_kind",
            result.runtime_kind.as_str(),
            invocation.runtime_kind.as_str(),
        ),
    ];
    match fields.into_iter().find(|(_, found, expected)| found != expected) {
        Some((field, found, expected)) => Err(format!("has {field}='{found}' instead of '{expected}'")),
        None => Ok(()),
    }
}
