//! Between the documents of the host and those of the WIT package.

use crate::bindings::runner_types::{self as types, Failure, Outcome, Report};
use executor_runtime_protocol::{RuntimeInvocation, Status};
use std::collections::BTreeMap;

/// The invocation as the guest sees it.
pub(crate) fn invocation(
    invocation: &RuntimeInvocation,
    metadata: &BTreeMap<String, String>,
) -> types::Invocation {
    let pairs = |map: &BTreeMap<String, String>| {
        map.iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    types::Invocation {
        invocation_id: invocation.invocation_id.clone(),
        runtime_name: invocation.runtime_name.clone(),
        runtime_kind: invocation.runtime_kind.as_str().to_owned(),
        working_directory: invocation.working_directory.clone(),
        command: invocation.command.clone(),
        environment: pairs(&invocation.environment),
        timeout_seconds: invocation.timeout_seconds.map(std::num::NonZero::get),
        input_payload_path: invocation.input_payload_path.clone(),
        artifact_directory: invocation.artifact_directory.clone(),
        metadata: pairs(metadata),
    }
}

/// What the guest returned: its report, and with what status it failed, if it did.
pub(crate) fn outcome(outcome: Outcome) -> Result<Report, (Status, Failure)> {
    Err(match outcome {
        Outcome::Succeeded(report) => return Ok(report),
        Outcome::Failed(failure) => (Status::Failed, failure),
        Outcome::Rejected(failure) => (Status::Rejected, failure),
        Outcome::TimedOut(failure) => (Status::TimedOut, failure),
        Outcome::Cancelled(failure) => (Status::Cancelled, failure),
    })
}
