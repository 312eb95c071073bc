//! The documents that the API answers with, beside invocations and results. They are public and only grow.

use executor_runtime::Origin;
use executor_runtime_protocol::{RuntimeKind, Status};
use executor_runtime_service as service;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A run, in short.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunSummary {
    /// The id of the invocation.
    invocation_id: String,
    /// The name that the invocation gives the runtime.
    runtime_name: String,
    /// Which runner executes it.
    runtime_kind: String,
    /// The state of the run.
    status: RunStatus,
    /// When it was accepted.
    #[schema(format = DateTime)]
    accepted_at: String,
    /// When it started; null while it waits.
    #[schema(format = DateTime)]
    started_at: Option<String>,
    /// When it ended; null before that.
    #[schema(format = DateTime)]
    finished_at: Option<String>,
    /// The exit code, if there is one.
    exit_code: Option<i64>,
    /// Why it did not succeed: a stable code, such as `exit_status`.
    error_kind: Option<String>,
    /// The same in words.
    error_summary: Option<String>,
    /// Whether it was asked to stop and has not ended yet.
    cancel_requested: bool,
}

impl From<service::RunSummary> for RunSummary {
    fn from(run: service::RunSummary) -> Self {
        Self {
            invocation_id: run.invocation_id,
            runtime_name: run.runtime_name,
            runtime_kind: run.runtime_kind.to_string(),
            status: run.status.into(),
            accepted_at: run.accepted_at.to_string(),
            started_at: run.started_at.map(|time| time.to_string()),
            finished_at: run.finished_at.map(|time| time.to_string()),
            exit_code: run.exit_code,
            error_kind: run.error_kind,
            error_summary: run.error_summary,
            cancel_requested: run.cancel_requested,
        }
    }
}

/// The state of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RunStatus {
    /// Accepted, and not started yet.
    Pending,
    /// Under way.
    Running,
    /// It completed successfully.
    Succeeded,
    /// It was attempted and failed.
    Failed,
    /// The deadline passed.
    TimedOut,
    /// It was cancelled.
    Cancelled,
    /// It could not be started.
    Rejected,
}

/// A status of the API and the protocol's are the same; this one has a schema.
macro_rules! same {
    ($($name:ident),*) => {
        impl From<Status> for RunStatus {
            fn from(status: Status) -> Self {
                match status { $(Status::$name => Self::$name),* }
            }
        }
        impl From<RunStatus> for Status {
            fn from(status: RunStatus) -> Self {
                match status { $(RunStatus::$name => Self::$name),* }
            }
        }
    };
}

same!(Pending, Running, Succeeded, Failed, TimedOut, Cancelled, Rejected);

/// A page of the list of runs, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunList {
    /// The runs of this page.
    pub(crate) runs: Vec<RunSummary>,
    /// Give this as `cursor` to get the next page; null if this is the last one.
    pub(crate) next_cursor: Option<String>,
}

/// The data of an event: what happened to a run, and when. Each type has further fields of its own.
#[derive(Debug, Serialize, ToSchema)]
#[allow(
    dead_code,
    reason = "it is the schema of what a run's followers get; they get it from the journal"
)]
pub(crate) struct RunEvent {
    /// Increases with each event of a run. There may be gaps: of events of the types `output`, `progress` and `checkpoint`, and
    /// of the events of type `artifact` about one artifact, the newest takes the place of the one before; of the type `log`
    /// the newest 200 are kept.
    sequence: u64,
    /// When it happened.
    #[schema(format = DateTime)]
    time: String,
    /// What happened. There may be more types in the future: ignore what you don't know.
    #[serde(rename = "type")]
    #[schema(examples(
        "accepted",
        "started",
        "output",
        "progress",
        "log",
        "checkpoint",
        "stopping",
        "artifact",
        "ended"
    ))]
    kind: String,
}

/// The kinds that can run.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Kinds {
    /// In alphabetical order.
    pub(crate) kinds: Vec<Kind>,
}

/// A kind, and what runs it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Kind {
    /// Its name.
    runtime_kind: String,
    /// The plugin's name and version; null for what is built in.
    plugin: Option<String>,
    /// How the plugin runs: `component` or `native`; or `built-in`.
    carrier: String,
    /// The plugin's file.
    path: Option<String>,
    /// Why it can't run all the same; null if it can.
    reason: Option<String>,
}

impl Kind {
    pub(crate) fn new(kind: &RuntimeKind, origin: &Origin) -> Self {
        let plugin = match origin {
            Origin::Plugin(plugin) => Some(plugin),
            Origin::BuiltIn | Origin::Embedder => None,
        };
        Self {
            runtime_kind: kind.to_string(),
            plugin: plugin.map(|plugin| format!("{} {}", plugin.descriptor.name, plugin.descriptor.version)),
            carrier: plugin
                .map_or("built-in", |plugin| plugin.carrier.as_str())
                .to_owned(),
            path: plugin.map(|plugin| plugin.path.display().to_string()),
            reason: None,
        }
    }
}

/// What is to be removed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PruneRequest {
    /// Runs that ended longer ago than this are removed from the journal.
    #[schema(minimum = 0)]
    pub(crate) older_than_seconds: u64,
    /// Also remove what was captured of them: only directories that the host has made for these runs and marked, and nothing
    /// that was added or changed later.
    #[serde(default)]
    pub(crate) captures: bool,
}

/// What was removed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Pruned {
    /// Runs, from the journal.
    runs: u64,
    /// Capture directories.
    captures: u64,
    /// Capture directories that were left, because they are not recognised, or of which those files were left that the run
    /// did not leave there: they were added or changed later.
    captures_kept: u64,
}

impl From<service::Pruned> for Pruned {
    fn from(pruned: service::Pruned) -> Self {
        Self {
            runs: pruned.runs,
            captures: pruned.captures,
            captures_kept: pruned.captures_kept,
        }
    }
}

/// The host is well.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`.
    pub(crate) status: &'static str,
}
