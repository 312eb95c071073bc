//! The vocabulary of `error.kind`: why a run did not succeed, for machines.
//!
//! One table maps each kind to its code and to the status of the result, so that the two never disagree.
//! Codes are stable: orchestrators branch on them.

use executor_runtime_protocol::Status;
use std::borrow::Cow;

/// The last column of the table.
#[allow(non_upper_case_globals, reason = "they are words of the table")]
mod retry_may_help {
    pub(super) const transient: bool = true;
    pub(super) const permanent: bool = false;
}

macro_rules! error_kinds {
    ($( $(#[doc = $doc:literal])+ $variant:ident => $code:literal, $status:ident, $retry:ident; )+) => {
        /// Why a run did not succeed.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum ErrorKind {
            $( $(#[doc = $doc])+ $variant, )+
            /// A code and status that a plugin or a dispatcher reported.
            Reported {
                /// The reporter's own code, in snake case.
                code: String,
                /// Any status but `succeeded`.
                status: Status,
            },
        }

        impl ErrorKind {
            /// Each kind of the host's own vocabulary, with its documentation.
            pub const ALL: &'static [(Self, &'static str)] = &[
                $( (Self::$variant, concat!($($doc),+)), )+
            ];

            /// The code that stands in `error.kind`.
            pub fn code(&self) -> Cow<'static, str> {
                match self {
                    $( Self::$variant => Cow::Borrowed($code), )+
                    Self::Reported { code, .. } => Cow::Owned(code.clone()),
                }
            }

            /// The status that a result with this kind has.
            pub fn status(&self) -> Status {
                match self {
                    $( Self::$variant => Status::$status, )+
                    Self::Reported { status, .. } => *status,
                }
            }

            /// Whether the same invocation may end otherwise when it is tried again. Of what a plugin reports, all but a
            /// rejection or a cancellation may.
            pub fn is_transient(&self) -> bool {
                match self {
                    $( Self::$variant => retry_may_help::$retry, )+
                    Self::Reported { status, .. } => matches!(status, Status::Failed | Status::TimedOut),
                }
            }
        }
    };
}

error_kinds! {
    /// No runner is registered for the invocation's `runtime_kind`.
    NoRunner => "no_runner", Rejected, permanent;
    /// The program does not exist.
    ExecNotFound => "exec_not_found", Rejected, permanent;
    /// This user is not allowed to execute the program.
    ExecPermission => "exec_permission", Rejected, permanent;
    /// The program is not in a format that the kernel executes.
    ExecFormat => "exec_format", Rejected, permanent;
    /// The interpreter that the program names (`#!` or ELF) does not exist.
    ExecInterpreterMissing => "exec_interpreter_missing", Rejected, permanent;
    /// The arguments and the environment are larger than the kernel accepts.
    ArgTooLong => "arg_too_long", Rejected, permanent;
    /// An argument or a setting can't be used, such as an argument with a NUL byte.
    InvalidArgument => "invalid_argument", Rejected, permanent;
    /// A variable of the environment can't be used, such as a name with `=`.
    InvalidEnvironment => "invalid_environment", Rejected, permanent;
    /// The working directory does not exist.
    CwdNotFound => "cwd_not_found", Rejected, permanent;
    /// The working directory is not a directory.
    CwdNotDir => "cwd_not_dir", Rejected, permanent;
    /// This user is not allowed to enter the working directory.
    CwdPermission => "cwd_permission", Rejected, permanent;
    /// What was given as an invocation is not a valid RuntimeInvocation.
    InvalidInvocation => "invalid_invocation", Rejected, permanent;
    /// The input payload can't be read.
    InputNotFound => "input_not_found", Rejected, permanent;
    /// The capture directory or a file in it can't be written.
    ArtifactsUnwritable => "artifacts_unwritable", Rejected, transient;
    /// A run with this id is under way in the same capture directory.
    AlreadyRunning => "already_running", Rejected, transient;
    /// The host had no process, descriptor or memory left to start the run with.
    HostExhausted => "host_exhausted", Rejected, transient;
    /// The process exited with a status other than 0.
    ExitStatus => "exit_status", Failed, transient;
    /// The process was ended by a signal that the host did not send.
    Signal => "signal", Failed, transient;
    /// The run had more processes than `limits.processes` allows.
    ProcessLimit => "process_limit", Failed, permanent;
    /// The output could not be kept, for example because the disk is full.
    OutputUnwritable => "output_unwritable", Failed, transient;
    /// The run's supervisor process died; the processes that it supervised were ended.
    SupervisorLost => "supervisor_lost", Failed, transient;
    /// A runner that is part of the host panicked.
    RunnerPanicked => "runner_panicked", Failed, permanent;
    /// A dispatcher's answer is not a RuntimeResult for this invocation.
    DispatcherProtocol => "dispatcher_protocol", Failed, permanent;
    /// The plugin can't be loaded.
    PluginUnusable => "plugin_unusable", Rejected, permanent;
    /// The invocation's metadata does not fit the plugin's descriptor.
    InvalidMetadata => "invalid_metadata", Rejected, permanent;
    /// The plugin ended abnormally: a trap, a panic, a crash, or an invalid result.
    PluginCrashed => "plugin_crashed", Failed, transient;
    /// The plugin went over a limit on memory, tables or resources.
    PluginLimit => "plugin_limit", Failed, permanent;
    /// The plugin tried to reach a host that it has no grant for.
    EgressDenied => "egress_denied", Failed, permanent;
    /// The host ended while the run was under way, and the run can't go on.
    HostLost => "host_lost", Failed, transient;
    /// The deadline passed.
    Timeout => "timeout", TimedOut, transient;
    /// The run was cancelled.
    Cancelled => "cancelled", Cancelled, permanent;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn codes_are_unique_snake_case_and_never_mean_success() {
        let codes: BTreeSet<_> = ErrorKind::ALL.iter().map(|(kind, _)| kind.code()).collect();
        assert_eq!(codes.len(), ErrorKind::ALL.len());
        for (kind, doc) in ErrorKind::ALL {
            assert!(kind.code().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
            assert_ne!(kind.status(), Status::Succeeded);
            assert!(!doc.trim().is_empty());
        }
    }
}
