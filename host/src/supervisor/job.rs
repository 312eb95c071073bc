//! What the host hands to a supervisor, and what comes back.

use super::wire::{
    self, CAUSE_CANCEL, CAUSE_DEADLINE, CAUSE_PROCESSES, RawReport, STAGE_CWD, STAGE_EXEC, STAGE_FORK,
    STAGE_LIMITS, SpecHeader, UNLIMITED,
};
use crate::receipt::{self, Receipt};
use nix::errno::Errno;
use std::{ffi::CString, os::fd::OwnedFd, time::Duration};

/// One program to run under supervision.
#[derive(Debug)]
pub(crate) struct Job {
    /// The path for `execve`; relative to `cwd`.
    pub(crate) program: CString,
    pub(crate) argv: Vec<CString>,
    /// The whole environment, as `NAME=value`.
    pub(crate) env: Vec<CString>,
    pub(crate) cwd: OwnedFd,
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
    /// Kept open until nothing of the job is left.
    pub(crate) lock: OwnedFd,
    /// Becomes descriptor 3 of the target.
    pub(crate) channel: Option<OwnedFd>,
    /// Give stdout and stderr to the target as they are, instead of capping them.
    pub(crate) direct_output: bool,
    /// Time left for the run.
    pub(crate) time_left: Option<Duration>,
    /// Time between TERM and KILL.
    pub(crate) grace: Duration,
    /// Bytes to keep of each output stream.
    pub(crate) max_output_bytes: u64,
    pub(crate) limits: Limits,
}

/// Limits on a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Address space of each process, in bytes.
    pub(crate) memory_bytes: Option<u64>,
    /// CPU time of each process, in seconds.
    pub(crate) cpu_seconds: Option<u64>,
    /// Open descriptors of each process.
    pub(crate) open_files: Option<u64>,
    /// Processes of the job at a time.
    pub(crate) processes: Option<u64>,
}

impl Job {
    /// The memory file's contents.
    pub(super) fn encode(&self) -> Vec<u8> {
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(UNLIMITED);
        let header = SpecHeader {
            deadline_ns: self.time_left.map_or(UNLIMITED, |left| {
                super::sys::monotonic_ns().saturating_add(nanoseconds(left))
            }),
            grace_ns: nanoseconds(self.grace),
            max_output_bytes: self.max_output_bytes,
            memory_bytes: self.limits.memory_bytes.unwrap_or(UNLIMITED),
            cpu_seconds: self.limits.cpu_seconds.unwrap_or(UNLIMITED),
            open_files: self.limits.open_files.unwrap_or(UNLIMITED),
            processes: self.limits.processes.unwrap_or(UNLIMITED),
            direct_output: u64::from(self.direct_output),
            ..SpecHeader::default()
        };
        wire::encode_spec(header, &self.program, &self.argv, &self.env)
    }
}

/// How a job went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// The target could not be started.
    NotStarted {
        /// What failed.
        stage: Stage,
        /// How.
        errno: Errno,
    },
    /// The target ran, and nothing of the job is left.
    Ended(Ended),
}

/// What failed before the target's program ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The supervisor itself, or a step for which no other stage stands.
    Setup,
    /// Making a process.
    Fork,
    /// Entering the working directory.
    WorkingDirectory,
    /// Setting a limit.
    Limits,
    /// `execve`.
    Exec,
}

/// A target that ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Its wait status.
    pub(crate) exit: Exit,
    /// Why the supervisor ended it, if it did.
    pub(crate) cause: Option<Cause>,
    /// How many processes had to be killed after the target had ended.
    pub(crate) leaked: u32,
    /// How many could not be killed: they are stuck in the kernel.
    pub(crate) unkillable: u32,
    pub(crate) stdout: OutputReport,
    pub(crate) stderr: OutputReport,
    pub(crate) usage: Usage,
}

impl Ended {
    /// Adds to a receipt what the processes used, and what became of them.
    pub(crate) fn account(&self, receipt: &mut Receipt) {
        let mut put = |key: &str, value: String| receipt.insert(key.to_owned(), value);
        put(receipt::USAGE_MAX_RSS_BYTES, self.usage.max_rss_bytes.to_string());
        put(receipt::USAGE_USER_SECONDS, receipt::seconds(self.usage.user));
        put(receipt::USAGE_SYSTEM_SECONDS, receipt::seconds(self.usage.system));
        if self.leaked > 0 {
            put(receipt::LEAKED_DESCENDANTS, self.leaked.to_string());
        }
        if self.unkillable > 0 {
            put(receipt::UNKILLABLE_DESCENDANTS, self.unkillable.to_string());
        }
        if let Exit::Signal {
            core_dumped: true, ..
        } = self.exit
        {
            put(receipt::CORE_DUMPED, "true".to_owned());
        }
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// With this status.
    Code(i32),
    /// By this signal.
    Signal {
        /// Its number.
        signal: i32,
        /// Whether a core was dumped.
        core_dumped: bool,
    },
}

/// Why a supervisor ended its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Time was up.
    Deadline,
    /// The host asked for it.
    Cancelled,
    /// There were this many processes, more than allowed.
    Processes(u32),
}

/// What became of an output stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OutputReport {
    /// How many bytes were kept.
    pub(crate) bytes: u64,
    /// There were more than the cap allows.
    pub(crate) truncated: bool,
    /// The file could not be written; what came after `bytes` is lost.
    pub(crate) error: Option<Errno>,
}

/// What all processes of a job used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Peak resident memory of the largest one.
    pub(crate) max_rss_bytes: u64,
    pub(crate) user: Duration,
    pub(crate) system: Duration,
}

impl From<RawReport> for Report {
    fn from(raw: RawReport) -> Self {
        if raw.stage != 0 {
            let stage = match raw.stage {
                STAGE_FORK => Stage::Fork,
                STAGE_CWD => Stage::WorkingDirectory,
                STAGE_LIMITS => Stage::Limits,
                STAGE_EXEC => Stage::Exec,
                _ => Stage::Setup,
            };
            return Self::NotStarted {
                stage,
                errno: Errno::from_raw(raw.errno),
            };
        }
        let output = |index: usize| OutputReport {
            bytes: raw.output_bytes[index],
            truncated: raw.truncated & (1 << index) != 0,
            error: (raw.output_errno[index] != 0).then(|| Errno::from_raw(raw.output_errno[index])),
        };
        Self::Ended(Ended {
            exit: Exit::from_wait_status(raw.wait_status),
            cause: match raw.cause {
                CAUSE_DEADLINE => Some(Cause::Deadline),
                CAUSE_CANCEL => Some(Cause::Cancelled),
                CAUSE_PROCESSES => Some(Cause::Processes(raw.processes_seen)),
                _ => None,
            },
            leaked: raw.leaked,
            unkillable: raw.unkillable,
            stdout: output(0),
            stderr: output(1),
            usage: Usage {
                max_rss_bytes: raw.max_rss_kib * 1024,
                user: Duration::from_micros(raw.user_us),
                system: Duration::from_micros(raw.system_us),
            },
        })
    }
}

impl Exit {
    fn from_wait_status(status: i32) -> Self {
        if libc::WIFSIGNALED(status) {
            Self::Signal {
                signal: libc::WTERMSIG(status),
                core_dumped: libc::WCOREDUMP(status),
            }
        } else {
            Self::Code(libc::WEXITSTATUS(status))
        }
    }
}
