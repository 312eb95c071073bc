//! What crosses the channel between the host and a child, as JSON in frames: four bytes of length, little
//! endian, then the text.
//!
//! The host sends one [`Request`], with descriptors attached to its first byte; the child answers with
//! [`Message`]s, the last of which is the result. The child's side is the plugin's process, so the host
//! believes nothing: lengths are bounded, and what is said about files is looked up.

use executor_runtime_protocol::RuntimeInvocation;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The longest frame, which is that of a result.
pub(super) const MAX_FRAME: usize = 16 << 20;

/// The longest answer to a message that is answered, in bytes.
pub(super) const MAX_ANSWER: usize = 4096;

/// What a child is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    /// With the metadata's defaults filled in.
    pub(super) invocation: RuntimeInvocation,
    pub(super) config: BTreeMap<String, String>,
    /// `CLOCK_MONOTONIC`, in nanoseconds.
    pub(super) deadline_ns: Option<u64>,
    pub(super) grace_ns: u64,
    pub(super) max_artifacts: u32,
    pub(super) max_artifact_bytes: u64,
    /// The names of the artifacts that an interrupted run has finished. This one may make each again.
    pub(super) earlier_artifacts: BTreeSet<String>,
    /// Why there is no directory for artifacts, if there is none.
    pub(super) no_artifacts: Option<String>,
    pub(super) has_input: bool,
    /// Why the input payload can't be read, if it can't.
    pub(super) no_input: Option<String>,
    /// The checkpoint that an interrupted run has left.
    pub(super) resumed: Option<Vec<u8>>,
}

/// Which descriptors come with a request, in this order: the stop descriptor and the write end of the pipe that ends with
/// the child always, then those that there are.
pub(super) const MAX_REQUEST_FDS: usize = 4;

/// What a child says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Message {
    /// A log line; the level is 0 (trace) to 4 (error).
    Log {
        level: u8,
        message: String,
    },
    Progress {
        fraction: Option<f64>,
        message: String,
    },
    /// There is a file in the artifacts directory now, called as an unfinished one of this name.
    Begun {
        name: String,
    },
    /// The unfinished file of this name has been given up. It is the host that removes it: one that has died does not, and
    /// its child, which goes wrong without it until it is ended, may give up what the next run goes on with.
    Dropped {
        name: String,
    },
    /// A file in the artifacts directory is complete, and is called as an unfinished one of this name. The host gives it the
    /// name, and answers: a length, as of a frame, and why it is not an artifact; nothing if it is.
    Artifact {
        name: String,
        kind: String,
        description: String,
        truncated: bool,
    },
    /// The host answers in the same way.
    Checkpoint {
        state: Vec<u8>,
    },
    /// A command to be run once the child has ended; an empty one withdraws what was left before. The host answers in the
    /// same way.
    LastWill {
        command: Vec<String>,
    },
    /// What `invoke` returned.
    Result {
        reply: String,
    },
    /// `invoke` returned what can't be sent.
    TooLong {
        bytes: u64,
    },
}
