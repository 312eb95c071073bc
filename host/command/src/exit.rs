//! Exit statuses: the one place that maps results to them.

use super::Unwritten;
use executor_runtime::{
    protocol::{RuntimeResult, Status},
    receipt,
};
use executor_runtime_client::ClientError;

/// The input or the command line can't be used.
pub const UNUSABLE: u8 = 2;
/// The invocation would not be run, or was not.
pub const REJECTED: u8 = 3;
/// What was asked for could not be delivered: the result of a run to its file, or output to stdout.
pub const UNDELIVERED: u8 = 4;
/// The run has not ended in the time that it was waited for.
pub const UNFINISHED: u8 = 5;
/// No host answers, or it can't do what it is asked for at the moment.
pub const UNAVAILABLE: u8 = 6;
/// Ctrl-C ended what has no result of its own.
pub const INTERRUPTED: u8 = 130;
/// The reader of our output has gone: what a shell reports of a process that died of SIGPIPE.
pub const BROKEN_PIPE: u8 = 141;

/// The exit status of a command that could not be carried out.
pub fn of_error(error: &anyhow::Error) -> u8 {
    if error.is::<Unwritten>() {
        return UNDELIVERED;
    }
    let refused = error.downcast_ref::<ClientError>();
    match refused.is_some_and(ClientError::is_transient) {
        true => UNAVAILABLE,
        false => UNUSABLE,
    }
}

/// The exit status for a result; `signal` is the one that ended the host's runs.
pub fn status(result: &RuntimeResult, signal: Option<i32>, propagate: bool) -> u8 {
    if let Some(code) = own_code(result, propagate) {
        return code;
    }
    if result.metadata.contains_key(receipt::RESULT_FILE_ERROR) {
        return UNDELIVERED;
    }
    match result.status {
        Status::Succeeded => 0,
        Status::Failed | Status::Pending | Status::Running => 1,
        Status::Rejected => REJECTED,
        Status::TimedOut => 124,
        Status::Cancelled => signal.map_or(130, of_signal),
    }
}

/// The exit status of a process whose runs a signal has ended.
pub fn of_signal(signal: i32) -> u8 {
    propagated(-i64::from(signal))
}

/// The exit status for a result that could not be printed.
pub fn unprinted(result: &RuntimeResult, propagate: bool) -> u8 {
    own_code(result, propagate).unwrap_or(UNDELIVERED)
}

/// The code of what was run, if it is asked for and there is one.
fn own_code(result: &RuntimeResult, propagate: bool) -> Option<u8> {
    let own_end = matches!(result.status, Status::Succeeded | Status::Failed);
    (propagate && own_end)
        .then_some(result.exit_code?)
        .map(propagated)
}

/// A process's own exit code, or 128 + N for death by signal N, as shells have it.
fn propagated(code: i64) -> u8 {
    match code {
        0..=255 => code as u8,
        -127..=-1 => (128 - code) as u8,
        _ => 1,
    }
}
