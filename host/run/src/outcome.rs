//! What a runner hands back: how the run ended, and its receipt.

use crate::{ErrorKind, receipt::Receipt};
use executor_runtime_protocol::{ArtifactDescriptor, RuntimeKind, Status, Timestamp};
use std::io;

/// Why a run did not succeed, for machines and for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The machine-readable code; it decides the status.
    pub kind: ErrorKind,
    /// One sentence: what was wrong, where, and what to do.
    pub summary: String,
}

impl Failure {
    /// A failure of the given kind.
    pub fn new(kind: ErrorKind, summary: impl Into<String>) -> Self {
        Self {
            kind,
            summary: summary.into(),
        }
    }

    /// A run that goes on from a checkpoint has none any more.
    pub fn without_checkpoint() -> Self {
        Self::new(
            ErrorKind::HostLost,
            "the host ended while the run was under way, and its checkpoint can't be read any more; it may have been carried \
             out in part",
        )
    }

    /// The host has not enough left of something to start a run with: this error says of what.
    pub fn exhausted(error: &io::Error) -> Self {
        Self::of_exhaustion(error).unwrap_or_else(|| {
            Self::new(
                ErrorKind::HostExhausted,
                format!("the host can't start the run: {error}"),
            )
        })
    }

    /// [`Failure::exhausted`], if that is what the error is about.
    pub fn of_exhaustion(error: &io::Error) -> Option<Self> {
        let summary = match error.raw_os_error()? {
            libc::EMFILE => "the host is out of file descriptors; raise `ulimit -n`",
            libc::ENFILE => "the machine is out of file descriptors; raise the sysctl `fs.file-max`",
            libc::EAGAIN => {
                "the host is out of processes; raise `ulimit -u`, or the limit on processes of the container"
            }
            libc::ENOMEM => "the host is out of memory; raise `ulimit -v`, or give the machine more",
            libc::EFBIG => "the host may not write a file as large as this run needs; raise `ulimit -f`",
            _ => return None,
        };
        Some(Self::new(ErrorKind::HostExhausted, summary))
    }

    /// Nothing runs this kind.
    pub fn no_runner(kind: &RuntimeKind) -> Self {
        Self::new(
            ErrorKind::NoRunner,
            format!("no runner registered for runtime_kind='{kind}'"),
        )
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It completed successfully.
    Succeeded,
    /// It did not, for this reason.
    Unsuccessful(Failure),
}

/// What a runner reports of one run. The runtime turns it into the RuntimeResult.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it ended.
    pub ending: Ending,
    /// The kind's exit code, if it has one.
    pub exit_code: Option<i64>,
    /// The captured standard output, if there is one.
    pub stdout_path: Option<String>,
    /// The captured standard error, if there is one.
    pub stderr_path: Option<String>,
    /// What the run produced.
    pub artifacts: Vec<ArtifactDescriptor>,
    /// The result's metadata, `error.kind` aside.
    pub receipt: Receipt,
    /// Start and end as measured by another system; the runtime's own clock if absent.
    pub times: Option<(Timestamp, Timestamp)>,
}

impl Outcome {
    /// A run that succeeded.
    pub fn succeeded() -> Self {
        Self::ended(Ending::Succeeded)
    }

    /// A run that did not.
    pub fn failure(kind: ErrorKind, summary: impl Into<String>) -> Self {
        Self::ended(Ending::Unsuccessful(Failure::new(kind, summary)))
    }

    /// A run with this ending, and nothing else to report yet.
    pub fn ended(ending: Ending) -> Self {
        Self {
            ending,
            exit_code: None,
            stdout_path: None,
            stderr_path: None,
            artifacts: Vec::new(),
            receipt: Receipt::default(),
            times: None,
        }
    }

    /// The status that the result will have.
    pub fn status(&self) -> Status {
        match &self.ending {
            Ending::Succeeded => Status::Succeeded,
            Ending::Unsuccessful(failure) => failure.kind.status(),
        }
    }
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Self {
        Self::ended(Ending::Unsuccessful(failure))
    }
}
