//! What a dispatcher answers, checked and passed on.

use crate::protocol;
use executor_runtime_plugin_common::keep_artifact;
use executor_runtime_sdk::{
    Context, Invocation, Outcome, RunError,
    protocol::{RuntimeResult, Status},
};

const ARTIFACT: &str = "dispatcher_result";

/// The code where the dispatcher gives none.
const REPORTED: &str = "dispatcher_reported";

/// The result in the answer, as this run's own.
pub(crate) fn accept(invocation: &Invocation, ctx: &Context, answer: &[u8]) -> Result<Outcome, RunError> {
    let result = check(invocation, answer)?;
    let names_files =
        !result.artifacts.is_empty() || result.stdout_path.is_some() || result.stderr_path.is_some();
    if names_files || invocation.artifact_directory.is_some() {
        keep_artifact(invocation, ctx, ARTIFACT, answer)?;
    }
    outcome(result)
}

fn check(invocation: &Invocation, answer: &[u8]) -> Result<RuntimeResult, RunError> {
    if answer.iter().all(u8::is_ascii_whitespace) {
        return Err(protocol("is empty"));
    }
    let result = RuntimeResult::from_json(answer)
        .map_err(|problems| protocol(format_args!("is not a RuntimeResult: {problems}")))?;
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
    let error = match result.status {
        Status::Rejected => RunError::rejected(code, summary),
        Status::TimedOut => RunError::timed_out(code, summary),
        Status::Cancelled => RunError::cancelled(code, summary),
        Status::Failed | Status::Pending | Status::Running => RunError::failed(code, summary),
        Status::Succeeded => {
            let mut outcome = Outcome::succeeded();
            if let Some(code) = result.exit_code {
                outcome = outcome.exit_code(code);
            }
            return Ok(result
                .metadata
                .into_iter()
                .fold(outcome, |outcome, (key, value)| outcome.receipt(key, value)));
        }
    };
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
