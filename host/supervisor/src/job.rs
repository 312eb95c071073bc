//! What the host hands to a supervisor, and what comes back.

use super::wire::{
    self, CAUSE_CANCEL, CAUSE_DEADLINE, CAUSE_PROCESSES, RawReport, STAGE_CWD, STAGE_EXEC, STAGE_FORK,
    STAGE_LIMITS, SpecHeader, UNLIMITED,
};
use nix::errno::Errno;
use std::{ffi::CString, os::fd::OwnedFd, time::Duration};

/// One program to run under supervision.
#[derive(Debug)]
pub struct Job {
    /// The path for `execve`; relative to `cwd`.
    pub program: CString,
    /// The arguments, the program's name first.
    pub argv: Vec<CString>,
    /// The whole environment, as `NAME=value`.
    pub env: Vec<CString>,
    /// The directory that it starts in.
    pub cwd: OwnedFd,
    /// Becomes descriptor 0.
    pub stdin: OwnedFd,
    /// Where its output is kept.
    pub stdout: OwnedFd,
    /// Where its error output is kept.
    pub stderr: OwnedFd,
    /// A directory, kept open until nothing of the job is left.
    pub lock: OwnedFd,
    /// Becomes descriptor 3 of the target.
    pub channel: Option<OwnedFd>,
    /// A nonblocking `eventfd` that is raised whenever more output was kept.
    pub output_event: Option<OwnedFd>,
    /// Give stdout and stderr to the target as they are, instead of capping them.
    pub direct_output: bool,
    /// Time left for the run.
    pub time_left: Option<Duration>,
    /// Time between TERM and KILL.
    pub grace: Duration,
    /// Bytes to keep of each output stream.
    pub max_output_bytes: u64,
    /// What its processes may use.
    pub limits: Limits,
}

/// Limits on a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Address space of each process, in bytes.
    pub memory_bytes: Option<u64>,
    /// CPU time of each process, in seconds.
    pub cpu_seconds: Option<u64>,
    /// Open descriptors of each process.
    pub open_files: Option<u64>,
    /// Processes of the job at a time.
    pub processes: Option<u64>,
}

impl Job {
    /// Its specification, as it is sent.
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
pub enum Report {
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
pub enum Stage {
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
pub struct Ended {
    /// Its wait status.
    pub exit: Exit,
    /// Why the supervisor ended it, if it did.
    pub cause: Option<Cause>,
    /// How many processes had to be killed after the target had ended.
    pub leaked: u32,
    /// How many could not be killed: they are stuck in the kernel.
    pub unkillable: u32,
    /// What became of its output.
    pub stdout: OutputReport,
    /// What became of its error output.
    pub stderr: OutputReport,
    /// What its processes used.
    pub usage: Usage,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
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
pub enum Cause {
    /// Time was up.
    Deadline,
    /// The host asked for it.
    Cancelled,
    /// There were this many processes, more than allowed.
    Processes(u32),
}

/// What became of an output stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputReport {
    /// How many bytes were kept.
    pub bytes: u64,
    /// There were more than the cap allows.
    pub truncated: bool,
    /// The file could not be written; what came after `bytes` is lost.
    pub error: Option<Errno>,
}

/// What all processes of a job used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Peak resident memory of the largest one.
    pub max_rss_bytes: u64,
    /// CPU time in user mode.
    pub user: Duration,
    /// CPU time in the kernel.
    pub system: Duration,
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
    /// Whether a core was dumped.
    pub fn dumped_core(self) -> bool {
        matches!(
            self,
            Self::Signal {
                core_dumped: true,
                ..
            }
        )
    }

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
