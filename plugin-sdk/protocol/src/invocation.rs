//! RuntimeInvocation: what a caller asks for.

use crate::RuntimeKind;
use std::{collections::BTreeMap, num::NonZeroU64};

/// A valid RxP 0.1 RuntimeInvocation.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct RuntimeInvocation {
    /// Unique for the caller; never empty.
    pub invocation_id: String,
    /// Which of the caller's runtimes this is for; never empty.
    pub runtime_name: String,
    /// Which runner executes it.
    pub runtime_kind: RuntimeKind,
    /// The directory to run in; never empty.
    pub working_directory: String,
    /// Program and arguments; at least one element.
    pub command: Vec<String>,
    /// Variables laid over the host's environment.
    pub environment: BTreeMap<String, String>,
    /// The limit for the whole run, in seconds. None: no limit.
    pub timeout_seconds: Option<NonZeroU64>,
    /// A file with the run's input.
    pub input_payload_path: Option<String>,
    /// Where the result document is to be written.
    pub output_result_path: Option<String>,
    /// Where captured output and artifacts go instead of the working directory.
    pub artifact_directory: Option<String>,
    /// Settings for the runner, and whatever the caller wants to keep.
    pub metadata: BTreeMap<String, String>,
}
