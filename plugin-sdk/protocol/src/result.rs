//! RuntimeResult: what happened.

use crate::{ArtifactDescriptor, RuntimeKind, Timestamp};
use std::collections::BTreeMap;

/// The state of a run. A finished one is never `pending` or `running`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Not started yet.
    Pending,
    /// Under way.
    Running,
    /// It did what it was asked to.
    Succeeded,
    /// It was attempted, and went wrong.
    Failed,
    /// The deadline passed.
    TimedOut,
    /// It was told to stop.
    Cancelled,
    /// It could not be attempted.
    Rejected,
}

/// An RxP 0.1 RuntimeResult.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct RuntimeResult {
    /// The invocation's.
    pub invocation_id: String,
    /// The invocation's.
    pub runtime_name: String,
    /// The invocation's.
    pub runtime_kind: RuntimeKind,
    /// How it ended.
    pub status: Status,
    /// The process's exit code, `-N` for death by signal N, or what the kind calls an exit code.
    pub exit_code: Option<i64>,
    /// When the run began.
    pub started_at: Timestamp,
    /// When it was over.
    pub finished_at: Timestamp,
    /// The file with the captured standard output.
    pub stdout_path: Option<String>,
    /// The file with the captured standard error.
    pub stderr_path: Option<String>,
    /// Files that the run left.
    pub artifacts: Vec<ArtifactDescriptor>,
    /// One sentence for a person, if the run did not succeed.
    pub error_summary: Option<String>,
    /// The receipt.
    pub metadata: BTreeMap<String, String>,
}
