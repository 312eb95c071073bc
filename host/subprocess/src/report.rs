//! From a supervisor's report to an outcome: exit code, reason, receipt and artifacts.

use super::{prepare::working_directory, program};
use executor_runtime_protocol::{ArtifactDescriptor, RuntimeInvocation};
use executor_runtime_run::{
    Ending, ErrorKind, Failure, Outcome, ProcessUsage, Run,
    capture::{CapturedFiles, Kept, ReadDeadline},
    receipt::{self, Receipt},
    supervised::Lost,
};
use executor_runtime_supervisor::{Cause, Ended, Exit, OutputReport, Stage};
use nix::{errno::Errno, sys::signal::Signal};
use std::{
    collections::BTreeMap,
    ffi::CString,
    os::fd::AsFd,
    path::{Path, PathBuf},
    time::Instant,
};

/// Why the program never ran.
pub(super) fn not_started(
    stage: Stage,
    errno: Errno,
    program: &Path,
    argv: &[CString],
    invocation: &RuntimeInvocation,
) -> Failure {
    let reason = errno.desc().to_lowercase();
    match stage {
        // Opened again rather than kept open: most programs start, and then run for long.
        Stage::Exec => match working_directory(&invocation.working_directory) {
            Ok(cwd) => program::explain(errno, program, argv, &invocation.environment, cwd.as_fd()),
            Err(failure) => failure,
        },
        Stage::WorkingDirectory => {
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
        Stage::Limits => Failure::new(
            ErrorKind::InvalidArgument,
            format!("the limits of this run can't be set: {reason}"),
        ),
        Stage::Fork | Stage::Setup => Failure::exhausted(&errno.into()),
    }
}

/// What a run that took place comes to.
pub(super) async fn ended(ended: &Ended, files: CapturedFiles, run: &Run) -> Outcome {
    let mut outcome = Outcome::ended(ending(ended, &run.invocation));
    outcome.exit_code = Some(match ended.exit {
        Exit::Code(code) => i64::from(code),
        Exit::Signal { signal, .. } => -i64::from(signal),
    });
    outcome.receipt = receipt(ended);
    let read_deadline = ReadDeadline::new(run.deadline, &run.cancel);
    let bytes = [ended.stdout.bytes, ended.stderr.bytes];
    attach_files(&mut outcome, files, bytes, read_deadline).await;
    outcome
}

/// What is known of a run whose supervisor was lost.
pub(super) async fn lost(lost: &Lost, files: CapturedFiles, max_output_bytes: u64, run: &Run) -> Outcome {
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
    let due = run.deadline.is_some_and(|deadline| Instant::now() >= deadline);
    let kind = match (lost.overdue, run.cancel.reason().is_some(), due) {
        (true, true, _) => ErrorKind::Cancelled,
        (true, false, true) => ErrorKind::Timeout,
        _ => ErrorKind::SupervisorLost,
    };
    let mut outcome = Outcome::failure(kind, summary);
    // Processes that are left may write for ever.
    let deadline = if lost.swept {
        run.deadline
    } else {
        Some(Instant::now())
    };
    let read_deadline = ReadDeadline::new(deadline, &run.cancel);
    attach_files(&mut outcome, files, [max_output_bytes; 2], read_deadline).await;
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

fn usage(ended: &Ended) -> ProcessUsage {
    ProcessUsage {
        max_rss_bytes: ended.usage.max_rss_bytes,
        user: ended.usage.user,
        system: ended.usage.system,
        leaked: ended.leaked,
        unkillable: ended.unkillable,
        core_dumped: ended.exit.dumped_core(),
    }
}

fn receipt(ended: &Ended) -> Receipt {
    let mut receipt = Receipt::new();
    usage(ended).record(&mut receipt);
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

/// Lists output and artifacts as they are on disk now that the run is over; of an output file that has to be made
/// again, at most that many bytes.
async fn attach_files(
    outcome: &mut Outcome,
    files: CapturedFiles,
    bytes: [u64; 2],
    read_deadline: ReadDeadline,
) {
    let kept = match files.keep_at_once() {
        Some(kept) => kept,
        None => {
            // Reading and hashing files may take long; the lock is held meanwhile.
            let time = read_deadline.clone();
            let keeping = read_deadline.look(move || files.keep(bytes, &time));
            keeping.await.unwrap_or_else(|error| Kept::nothing(&error))
        }
    };
    let [stdout, stderr] = kept.outputs;
    outcome.stdout_path = attach_output(outcome, &STDOUT, stdout, bytes[0]);
    outcome.stderr_path = attach_output(outcome, &STDERR, stderr, bytes[1]);
    kept.collected.account(&mut outcome.receipt);
    outcome.artifacts.extend(kept.collected.artifacts);
}

/// An output stream, as a result speaks of it.
struct Stream {
    name: &'static str,
    error: &'static str,
}

const STDOUT: Stream = Stream {
    name: "stdout",
    error: receipt::STDOUT_ERROR,
};
const STDERR: Stream = Stream {
    name: "stderr",
    error: receipt::STDERR_ERROR,
};

/// Lists the file of a stream and returns its path, or reports that it is lost.
fn attach_output(
    outcome: &mut Outcome,
    stream: &Stream,
    kept: Result<PathBuf, String>,
    bytes: u64,
) -> Option<String> {
    let name = stream.name;
    match kept {
        Ok(path) => {
            let path = path.to_string_lossy().into_owned();
            outcome.artifacts.push(ArtifactDescriptor {
                artifact_id: name.to_owned(),
                path: path.clone(),
                kind: "log_excerpt".to_owned(),
                description: format!("captured {name}"),
                metadata: BTreeMap::new(),
            });
            Some(path)
        }
        Err(reason) => {
            if outcome.ending == Ending::Succeeded && bytes > 0 {
                let summary = format!("the process succeeded, but its {name} could not be kept: {reason}");
                outcome.ending = Ending::Unsuccessful(Failure::new(ErrorKind::OutputUnwritable, summary));
            }
            outcome.receipt.insert(stream.error.to_owned(), reason);
            None
        }
    }
}
