//! What a run keeps for the case that its host dies.

use executor_runtime_sdk::{Context, Level, RunError};
use serde::{Deserialize, Serialize};

/// What is known of a run that has been started. A run that goes on from it sends no kickoff.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    /// The run's id at the backend.
    pub(crate) run_id: Option<String>,
    /// How it ended. It is not asked again: it may have been cleaned up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<Ended>,
    /// The code of the answer that brought the result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) result_status: Option<u16>,
}

/// The last status of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ended {
    pub(crate) status: String,
    /// What the backend says about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) words: Option<String>,
    /// What the backend says that it exited with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) exit_code: Option<i64>,
}

impl State {
    /// What an interrupted run has kept; None if there was none.
    pub(crate) fn resumed(ctx: &Context) -> Result<Option<Self>, RunError> {
        let Some(bytes) = ctx.resumed() else {
            return Ok(None);
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            RunError::failed(
                "invalid_checkpoint",
                format!("the checkpoint of the earlier run can't be read: {error}"),
            )
            // What that run has started may still be under way.
            .transient(false)
        })
    }

    /// Keeps it. Where that is not possible the run goes on all the same.
    pub(crate) fn keep(&self, ctx: &Context) {
        let kept = serde_json::to_vec(self)
            .map_err(std::io::Error::other)
            .and_then(|bytes| ctx.checkpoint(&bytes));
        if let Err(error) = kept {
            ctx.log(
                Level::Warn,
                &format!("if the host dies, this run can't be resumed: {error}"),
            );
        }
    }
}
