//! From a supervisor's report to an outcome: exit code, reason, receipt and artifacts.

use super::{
    prepare::{STDERR_FILE, STDOUT_FILE},
    program,
};
use crate::{
    Ending, ErrorKind, Failure, Outcome, Run,
    capture::{CaptureDirectory, Collected, Patience, collect},
    receipt::{self, Receipt},
    supervisor::{Cause, Ended, Exit, Lost, OutputReport, Stage},
};
use executor_runtime_protocol::{ArtifactDescriptor, RuntimeInvocation};
use nix::{errno::Errno, sys::signal::Signal};
use std::{
    collections::BTreeMap,
    ffi::CString,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

/// Why the program never ran.
pub(super) fn not_started(
    stage: Stage,
    errno: Errno,
    program: &Path,
    argv: &[CString],
    cwd: Option<OwnedFd>,
    invocation: &RuntimeInvocation,
) -> Failure {
    let reason = errno.desc().to_lowercase();
    match (stage, cwd) {
        (Stage::Exec, Some(cwd)) => {
            program::explain(errno, program, argv, &invocation.environment, cwd.as_fd())
        }
        (Stage::WorkingDirectory, _) => {
            let (kind, reason) = match errno {
                Errno::EACCES => (
                    ErrorKind::CwdPermission,
                    "may not be entered by this user".to_owned(),
                ),
                Errno::ENOENT => (ErrorKind::CwdNotFound, "does not exist any more".to_owned()),
                _ => (ErrorKind::CwdNotFound, format!("can't be entered: {reason}")),
            };
            Failure::new(
                kind,
                format!("working directory '{}' {reason}", invocation.working_directory),
            )
        }
        (Stage::Limits, _) => Failure::new(
            ErrorKind::InvalidArgument,
            format!("the limits of this run can't be set: {reason}"),
        ),
        (Stage::Fork | Stage::Setup | Stage::Exec, _) => Failure::exhausted(&errno.into()),
    }
}

/// What a run that took place comes to.
pub(super) async fn ended(ended: &Ended, capture: CaptureDirectory, run: &Run) -> Outcome {
    let mut outcome = Outcome::ended(ending(ended, &run.invocation));
    outcome.exit_code = Some(match ended.exit {
        Exit::Code(code) => i64::from(code),
        Exit::Signal { signal, .. } => -i64::from(signal),
    });
    outcome.receipt = receipt(ended);
    let patience = Patience::new(run.deadline, &run.cancel);
    let (omitted, undigested) = attach_files(&mut outcome, capture, patience).await;
    for (key, files) in [
        (receipt::ARTIFACTS_OMITTED, omitted),
        (receipt::ARTIFACTS_UNDIGESTED, undigested),
    ] {
        if files > 0 {
            outcome.receipt.insert(key.to_owned(), files.to_string());
        }
    }
    outcome
}

/// What is known of a run whose supervisor was lost.
pub(super) fn lost(lost: &Lost, due: bool, cancelled: bool, capture: &CaptureDirectory) -> Outcome {
    let cause = if lost.overdue {
        "did not answer in time"
    } else {
        "was killed"
    };
    let left = if lost.swept {
        "every process of the run was ended"
    } else {
        "processes of the run may be left"
    };
    let summary = format!("the process that supervised this run {cause}; {left}");
    let kind = match (lost.overdue, cancelled, due) {
        (true, true, _) => ErrorKind::Cancelled,
        (true, false, true) => ErrorKind::Timeout,
        _ => ErrorKind::SupervisorLost,
    };
    let mut outcome = Outcome::failure(kind, summary);
    attach_output(&mut outcome, capture);
    outcome
}

fn ending(ended: &Ended, invocation: &RuntimeInvocation) -> Ending {
    let failed = |kind, summary| Ending::Unsuccessful(Failure::new(kind, summary));
    match ended.cause {
        Some(Cause::Deadline) => {
            let limit = invocation.timeout_seconds.map_or(0, std::num::NonZeroU64::get);
            let unit = if limit == 1 { "second" } else { "seconds" };
            return failed(
                ErrorKind::Timeout,
                format!("process exceeded timeout of {limit} {unit}"),
            );
        }
        Some(Cause::Cancelled) => return failed(ErrorKind::Cancelled, "the run was cancelled".to_owned()),
        Some(Cause::Processes(count)) => {
            return failed(
                ErrorKind::ProcessLimit,
                format!("the run had {count} processes, more than limits.processes allows, and was ended"),
            );
        }
        None => {}
    }
    match ended.exit {
        Exit::Code(0) => match unkept_output(ended) {
            Some(summary) => failed(ErrorKind::OutputUnwritable, summary),
            None => Ending::Succeeded,
        },
        Exit::Code(code) => failed(ErrorKind::ExitStatus, format!("process exited with code {code}")),
        Exit::Signal { signal, core_dumped } => {
            let name = Signal::try_from(signal).map_or("an unnamed signal", Signal::as_str);
            let core = if core_dumped { ", core dumped" } else { "" };
            failed(
                ErrorKind::Signal,
                format!("process was ended by {name} (signal {signal}){core}"),
            )
        }
    }
}

fn unkept_output(ended: &Ended) -> Option<String> {
    let streams = [("stdout", ended.stdout), ("stderr", ended.stderr)];
    let (name, output) = streams.into_iter().find(|(_, output)| output.error.is_some())?;
    Some(format!(
        "the process succeeded, but only {} bytes of its {name} could be kept: {}",
        output.bytes,
        output.error?.desc().to_lowercase()
    ))
}

fn receipt(ended: &Ended) -> Receipt {
    let mut receipt = Receipt::new();
    ended.account(&mut receipt);
    let mut put = |key: &str, value: String| receipt.insert(key.to_owned(), value);
    let mut stream = |output: OutputReport, truncated: &str, error: &str| {
        if output.truncated {
            put(truncated, "true".to_owned());
        }
        if let Some(errno) = output.error {
            put(error, errno.desc().to_lowercase());
        }
    };
    stream(ended.stdout, receipt::STDOUT_TRUNCATED, receipt::STDOUT_ERROR);
    stream(ended.stderr, receipt::STDERR_TRUNCATED, receipt::STDERR_ERROR);
    receipt
}

fn attach_output(outcome: &mut Outcome, capture: &CaptureDirectory) {
    let path = |file: &str| capture.path().join(file).to_string_lossy().into_owned();
    let stream = |id: &str, path: &str| ArtifactDescriptor {
        artifact_id: id.to_owned(),
        path: path.to_owned(),
        kind: "log_excerpt".to_owned(),
        description: format!("captured {id}"),
        metadata: BTreeMap::new(),
    };
    let (stdout, stderr) = (path(STDOUT_FILE), path(STDERR_FILE));
    outcome
        .artifacts
        .extend([stream("stdout", &stdout), stream("stderr", &stderr)]);
    outcome.stdout_path = Some(stdout);
    outcome.stderr_path = Some(stderr);
}

/// Lists output and artifacts; returns how many artifacts were left out, and how many have no digest.
async fn attach_files(outcome: &mut Outcome, capture: CaptureDirectory, patience: Patience) -> (u64, u64) {
    attach_output(outcome, &capture);
    let handle = match capture.take_artifacts() {
        Ok(None) => return (0, 0),
        Ok(Some(handle)) => handle,
        Err(_) => return (1, 0),
    };
    let path = capture.artifacts_path();
    // Reading and hashing files may take long; the lock is held meanwhile.
    let collecting = tokio::task::spawn_blocking(move || (collect(handle, &path, &patience), capture));
    let Collected {
        artifacts,
        omitted,
        undigested,
    } = match collecting.await {
        Ok((collected, _lock)) => collected,
        Err(_) => return (1, 0),
    };
    outcome.artifacts.extend(artifacts);
    (omitted, undigested)
}
