//! What a dispatcher answers, checked and passed on.

use crate::protocol;
use executor_runtime_sdk::{
    DelegatedRun, Invocation, Outcome, RunError,
    protocol::{RuntimeResult, Status},
};

/// The code where the dispatcher gives none.
const REPORTED: &str = "dispatcher_reported";

/// The result in the answer, as this run's own.
pub(crate) fn accept(invocation: &Invocation, answer: &[u8]) -> Result<Outcome, RunError> {
    outcome(check(invocation, answer)?)
}

fn check(invocation: &Invocation, answer: &[u8]) -> Result<RuntimeResult, RunError> {
    if answer.iter().all(u8::is_ascii_whitespace) {
        return Err(protocol("is empty"));
    }
    let result = RuntimeResult::from_json(answer)
        .map_err(|invalid| protocol(format_args!("is {}", invalid.one_line())))?;
    for (field, found, expected) in [
        (
            "invocation_id",
            &*result.invocation_id,
            &*invocation.invocation_id,
        ),
        ("runtime_name", &*result.runtime_name, &*invocation.runtime_name),
        (
            "runtime_kind",
            result.runtime_kind.as_str(),
            invocation.runtime_kind.as_str(),
        ),
    ] {
        if found != expected {
            let found: String = found.chars().take(200).collect();
            return Err(protocol(format_args!(
                "is for another invocation: {field} is '{}', expected '{}'",
                found.escape_debug(),
                expected.escape_debug()
            )));
        }
    }
    if matches!(result.status, Status::Pending | Status::Running) {
        return Err(protocol(format_args!(
            "has the status '{}', which is not final",
            result.status
        )));
    }
    if result.finished_at.is_before(&result.started_at) {
        return Err(protocol(format_args!(
            "has the finished_at '{}', which is before its started_at '{}'",
            result.finished_at, result.started_at
        )));
    }
    Ok(result)
}

fn outcome(result: RuntimeResult) -> Result<Outcome, RunError> {
    let code = result
        .metadata
        .get("error.kind")
        .filter(|code| is_code(code))
        .map_or(REPORTED, String::as_str);
    let summary = result.error_summary.clone().unwrap_or_else(|| {
        format!(
            "the dispatcher reported '{}' without an error_summary",
            result.status
        )
    });
    let delegated_run = DelegatedRun {
        started_at: result.started_at,
        finished_at: result.finished_at,
        stdout_path: result.stdout_path,
        stderr_path: result.stderr_path,
        artifacts: result.artifacts,
    };
    let error = match result.status {
        Status::Rejected => RunError::rejected(code, summary),
        Status::TimedOut => RunError::timed_out(code, summary),
        Status::Cancelled => RunError::cancelled(code, summary),
        Status::Failed | Status::Pending | Status::Running => RunError::failed(code, summary),
        Status::Succeeded => {
            let mut outcome = Outcome::succeeded().delegated_run(delegated_run);
            if let Some(code) = result.exit_code {
                outcome = outcome.exit_code(code);
            }
            return Ok(result
                .metadata
                .into_iter()
                .fold(outcome, |outcome, (key, value)| outcome.receipt(key, value)));
        }
    }
    .delegated_run(delegated_run);
    let error = match result.exit_code {
        Some(code) => error.exit_code(code),
        None => error,
    };
    Err(result
        .metadata
        .into_iter()
        .fold(error, |error, (key, value)| error.receipt(key, value)))
}

fn is_code(code: &str) -> bool {
    code.len() <= 64
        && code.starts_with(|c: char| c.is_ascii_lowercase())
        && code
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}
