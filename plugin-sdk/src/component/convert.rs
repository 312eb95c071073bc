//! Between the documents of the WIT package and those of the SDK.

use super::runner_types as types;
use crate::{FailureStatus, Invocation, Outcome, RunError};
use executor_runtime_protocol::{RuntimeInvocation, RuntimeKind};
use std::{collections::BTreeMap, num::NonZeroU64};

pub(super) fn invocation(given: types::Invocation) -> Result<Invocation, RunError> {
    let Some(runtime_kind) = RuntimeKind::new(&given.runtime_kind) else {
        return Err(RunError::rejected(
            "invalid_invocation",
            format!(
                "'{}' is not a valid runtime kind",
                given.runtime_kind.escape_debug()
            ),
        ));
    };
    Ok(RuntimeInvocation {
        invocation_id: given.invocation_id,
        runtime_name: given.runtime_name,
        runtime_kind,
        working_directory: given.working_directory,
        command: given.command,
        environment: given.environment.into_iter().collect(),
        timeout_seconds: given.timeout_seconds.and_then(NonZeroU64::new),
        input_payload_path: given.input_payload_path,
        // Writing the result is the host's business.
        output_result_path: None,
        artifact_directory: given.artifact_directory,
        metadata: given.metadata.into_iter().collect(),
    }
    .into())
}

pub(super) fn outcome(run: Result<Outcome, RunError>) -> types::Outcome {
    match run {
        Ok(outcome) => types::Outcome::Succeeded(report(outcome.exit_code, outcome.receipt)),
        Err(error) => {
            let case = match error.status {
                FailureStatus::Failed => types::Outcome::Failed,
                FailureStatus::Rejected => types::Outcome::Rejected,
                FailureStatus::TimedOut => types::Outcome::TimedOut,
                FailureStatus::Cancelled => types::Outcome::Cancelled,
            };
            case(types::Failure {
                kind: error.kind,
                summary: error.summary,
                report: report(error.exit_code, error.receipt),
            })
        }
    }
}

fn report(exit_code: Option<i64>, receipt: BTreeMap<String, String>) -> types::Report {
    types::Report {
        exit_code,
        receipt: receipt.into_iter().collect(),
    }
}
