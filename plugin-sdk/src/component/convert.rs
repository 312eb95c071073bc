//! Between the documents of the WIT package and those of the SDK.

use super::types;
use crate::{FailureStatus, Invocation, Outcome, RunError};
use executor_runtime_protocol::{RuntimeInvocation, RuntimeKind};
use std::num::NonZeroU64;

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

pub(super) fn outcome(outcome: Outcome) -> types::Outcome {
    types::Outcome {
        exit_code: outcome.exit_code,
        receipt: outcome.receipt.into_iter().collect(),
    }
}

pub(super) fn failure(error: RunError) -> types::Failure {
    types::Failure {
        status: match error.status {
            FailureStatus::Rejected => types::FailureStatus::Rejected,
            FailureStatus::Failed => types::FailureStatus::Failed,
            FailureStatus::TimedOut => types::FailureStatus::TimedOut,
            FailureStatus::Cancelled => types::FailureStatus::Cancelled,
        },
        kind: error.kind,
        summary: error.summary,
        exit_code: error.exit_code,
        receipt: error.receipt.into_iter().collect(),
    }
}
