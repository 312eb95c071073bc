//! Between the documents of the host and those of the WIT package.

use crate::bindings::types::{self, FailureStatus};
use executor_runtime_plugin::session::ReportedFailure;
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

/// A failure that the guest returned.
pub(crate) fn failure(reported: &types::Failure) -> ReportedFailure<'_> {
    ReportedFailure {
        status: match reported.status {
            FailureStatus::Rejected => Status::Rejected,
            FailureStatus::Failed => Status::Failed,
            FailureStatus::TimedOut => Status::TimedOut,
            FailureStatus::Cancelled => Status::Cancelled,
        },
        kind: &reported.kind,
        summary: &reported.summary,
    }
}
