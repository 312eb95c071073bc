//! What a list of runs says of each.

use executor_runtime::{
    protocol::{RuntimeInvocation, RuntimeKind, RuntimeResult, Status, Timestamp},
    receipt,
};
use serde::Serialize;

/// A run in short.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunSummary {
    /// The invocation's.
    pub invocation_id: String,
    /// The invocation's.
    pub runtime_name: String,
    /// The invocation's.
    pub runtime_kind: RuntimeKind,
    /// `pending` while it waits for its turn, `running`, or how it ended.
    pub status: Status,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The result's.
    pub exit_code: Option<i64>,
    /// The result's `error.kind`.
    pub error_kind: Option<String>,
    /// The result's.
    pub error_summary: Option<String>,
    /// Whether it was told to stop and has not ended yet.
    pub cancel_requested: bool,
}

impl RunSummary {
    /// A run that was just accepted.
    pub(crate) fn pending(invocation: &RuntimeInvocation, accepted_at: Timestamp) -> Self {
        Self {
            invocation_id: invocation.invocation_id.clone(),
            runtime_name: invocation.runtime_name.clone(),
            runtime_kind: invocation.runtime_kind.clone(),
            status: Status::Pending,
            accepted_at,
            started_at: None,
            finished_at: None,
            exit_code: None,
            error_kind: None,
            error_summary: None,
            cancel_requested: false,
        }
    }

    /// Takes over how it ended.
    pub(crate) fn end(&mut self, result: &RuntimeResult) {
        self.status = result.status;
        self.exit_code = result.exit_code;
        self.error_kind = result.metadata.get(receipt::ERROR_KIND).cloned();
        self.error_summary.clone_from(&result.error_summary);
        self.cancel_requested = false;
    }
}
