//! What is asked for, and what is answered.

use executor_runtime_protocol::{RuntimeKind, RuntimeResult, Status, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What a host tells of one run.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct RunSummary {
    /// The run's id.
    pub invocation_id: String,
    /// Which of the caller's runtimes it is for.
    pub runtime_name: String,
    /// Which runner executes it.
    pub runtime_kind: RuntimeKind,
    /// How it is, or how it has ended.
    pub status: Status,
    /// When the host has taken it.
    pub accepted_at: Timestamp,
    /// When it was started; none as long as it waits.
    pub started_at: Option<Timestamp>,
    /// When it has ended.
    pub finished_at: Option<Timestamp>,
    /// As the result has it.
    pub exit_code: Option<i64>,
    /// The code of why it did not succeed.
    pub error_kind: Option<String>,
    /// The same as a sentence.
    pub error_summary: Option<String>,
    /// Whether it was asked to stop.
    #[serde(default)]
    pub cancel_requested: bool,
    /// What a newer host tells beyond that.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl RunSummary {
    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        !matches!(self.status, Status::Pending | Status::Running)
    }
}

/// A run that a host has taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Submitted {
    /// The run.
    pub run: RunSummary,
    /// Whether it is this request that has made it. The same invocation once more is the same run.
    pub is_new: bool,
}

/// Which runs to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only those with this status.
    pub status: Option<Status>,
    /// Only those of this kind.
    pub kind: Option<RuntimeKind>,
    /// Only those that were accepted then or later.
    pub since: Option<Timestamp>,
}

/// Runs, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Page {
    /// The runs.
    pub runs: Vec<RunSummary>,
    /// Where the next page begins; none if there are no more.
    pub next_cursor: Option<String>,
}

/// What came of waiting for a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Waited {
    /// It has ended with this result.
    Ended(Box<RuntimeResult>),
    /// It has not ended in that time.
    Unfinished(Box<RunSummary>),
}

/// What a run prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputStream {
    /// Its standard output.
    Stdout,
    /// Its standard error.
    Stderr,
}

impl OutputStream {
    /// Its name in paths.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// What was removed.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Pruned {
    /// Runs that the host has forgotten.
    pub runs: u64,
    /// Directories of their output that were removed.
    pub captures: u64,
    /// Those that were left because they are not what the host has made.
    pub captures_kept: u64,
    /// What a newer host tells beyond that.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}
