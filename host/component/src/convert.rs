//! Between the documents of the host and those of the WIT package.

use crate::bindings::runner_types::{self as types, Failure, Outcome, Report};
use executor_runtime_protocol::{RuntimeInvocation, Status};
use std::collections::BTreeMap;

/// The invocation as the guest sees it.
pub(crate) struct GuestInvocation<'a> {
    invocation: &'a RuntimeInvocation,
    command: Vec<&'a str>,
    environment: Vec<(&'a str, &'a str)>,
    metadata: Vec<(&'a str, &'a str)>,
}

impl<'a> GuestInvocation<'a> {
    pub(crate) fn new(invocation: &'a RuntimeInvocation, metadata: &'a BTreeMap<String, String>) -> Self {
        fn pairs(map: &BTreeMap<String, String>) -> Vec<(&str, &str)> {
            let pairs = map.iter();
            pairs.map(|(key, value)| (key.as_str(), value.as_str())).collect()
        }
        Self {
            invocation,
            command: invocation.command.iter().map(String::as_str).collect(),
            environment: pairs(&invocation.environment),
            metadata: pairs(metadata),
        }
    }

    pub(crate) fn as_wit(&self) -> types::Invocation<'_> {
        let invocation = self.invocation;
        types::Invocation {
            invocation_id: &invocation.invocation_id,
            runtime_name: &invocation.runtime_name,
            runtime_kind: invocation.runtime_kind.as_str(),
            working_directory: &invocation.working_directory,
            command: &self.command,
            environment: &self.environment,
            timeout_seconds: invocation.timeout_seconds.map(std::num::NonZero::get),
            input_payload_path: invocation.input_payload_path.as_deref(),
            artifact_directory: invocation.artifact_directory.as_deref(),
            metadata: &self.metadata,
        }
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
