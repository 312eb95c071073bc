//! From an invocation to a job: everything that can be wrong before a process exists.
//!
//! Where all that is opened answers at once, as a local file system does, it is opened where the run is polled: another
//! thread would cost more than all of it. Else, and to remove what an earlier run has left, there is another thread,
//! for which the run waits no longer than it may take. The programs in `PATH` are the one exception: they are looked up
//! where the run is polled, as they are in every shell, because directories for programs are the system's own.

use super::{
    program,
    settings::{Settings, SubprocessPolicy},
};
use executor_runtime_protocol::RuntimeInvocation;
use executor_runtime_run::{
    ErrorKind, Failure, Run,
    capture::{
        CaptureDirectory, CaptureError, CapturedFiles, EarlierArtifacts, OutputFile, ReadDeadline,
        STDERR_FILE, STDOUT_FILE, answers_at_once,
    },
    input_payload,
    trace::{TRACEPARENT_VARIABLE, TRACESTATE_VARIABLE, TraceContext},
};
use executor_runtime_supervisor::Job;
use nix::{
    errno::Errno,
    fcntl::{OFlag, open, openat},
    sys::stat::Mode,
};
use std::{
    collections::BTreeMap,
    ffi::{CString, OsString},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Path, PathBuf},
    time::Instant,
};

pub(super) const OUTPUT_FILES: [&str; 2] = [STDOUT_FILE, STDERR_FILE];

/// A job, and what the run needs besides.
pub(super) struct Prepared {
    pub(super) job: Job,
    pub(super) files: CapturedFiles,
    /// The file that is executed.
    pub(super) program: PathBuf,
}

/// Checks and opens everything, in the time that the run has.
pub(super) async fn prepare(run: &Run, policy: &SubprocessPolicy) -> Result<Prepared, Failure> {
    let order = Order {
        invocation: &run.invocation,
        stdin: run.stdin.as_ref(),
        deadline: run.deadline,
        trace: run.span().context(),
        policy,
    };
    if answers_at_once(&run.invocation) {
        match order.prepare(EarlierArtifacts::Keep) {
            Ok(prepared) => return Ok(prepared),
            Err(NotPrepared::Failed(failure)) => return Err(failure),
            Err(NotPrepared::EarlierArtifacts(_)) => {}
        }
    }
    let stdin = run.stdin.as_ref().map(OwnedFd::try_clone).transpose();
    let stdin = stdin.map_err(|error| Failure::exhausted(&error))?;
    let (invocation, policy) = (run.invocation.clone(), policy.clone());
    let trace = run.span().context().cloned();
    let (deadline, time) = (run.deadline, ReadDeadline::new(run.deadline, &run.cancel));
    let preparing = run.blocking("while the files of the run were opened", move || {
        let order = Order {
            invocation: &invocation,
            stdin: stdin.as_ref(),
            deadline,
            trace: trace.as_ref(),
            policy: &policy,
        };
        let prepared = order.prepare(EarlierArtifacts::Remove(&time));
        prepared.map(|prepared| {
            prepared.files.directory.remember_file_system();
            Unclaimed(Some(prepared))
        })
    });
    match preparing.await? {
        Ok(mut unclaimed) => Ok(unclaimed.0.take().expect("it is taken once")),
        Err(NotPrepared::Failed(failure)) => Err(failure),
        Err(NotPrepared::EarlierArtifacts(error)) => Err(capture_failure(error)),
    }
}

/// What has been prepared, for a run that may be over by now. Dropping it removes what was made.
struct Unclaimed(Option<Prepared>);

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let Some(prepared) = self.0.take() {
            prepared.files.directory.discard(&OUTPUT_FILES);
        }
    }
}

/// Why a run is not prepared.
enum NotPrepared {
    /// It can't be.
    Failed(Failure),
    /// Artifacts of an earlier run have to be removed first, which takes more time than there was.
    EarlierArtifacts(CaptureError),
}

impl From<Failure> for NotPrepared {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What is to be prepared.
struct Order<'a> {
    invocation: &'a RuntimeInvocation,
    stdin: Option<&'a OwnedFd>,
    deadline: Option<Instant>,
    /// What the program is to continue.
    trace: Option<&'a TraceContext>,
    policy: &'a SubprocessPolicy,
}

impl Order<'_> {
    /// Checks and opens everything. Nothing is made on disk before all that the caller gave has been found usable.
    fn prepare(&self, earlier: EarlierArtifacts<'_>) -> Result<Prepared, NotPrepared> {
        let Self {
            invocation,
            stdin,
            deadline,
            trace,
            policy,
        } = *self;
        let settings = Settings::read(&invocation.metadata, policy)?;
        let argv = arguments(&invocation.command)?;
        if invocation.invocation_id.contains('\0') {
            let summary = "/invocation_id has a NUL byte, which the variable RXP_INVOCATION_ID can't have";
            return Err(Failure::new(ErrorKind::InvalidArgument, summary).into());
        }
        let mut variables = environment(&invocation.environment)?;
        set_trace(&mut variables, &invocation.environment, trace);
        let cwd = working_directory(&invocation.working_directory)?;
        let input = match (stdin, &invocation.input_payload_path) {
            (Some(open), _) => Input::Open(open.try_clone().map_err(|error| Failure::exhausted(&error))?),
            (None, Some(path)) => {
                let (file, path) = input_payload(path)?;
                Input::Payload(file, path)
            }
            (None, None) => Input::None,
        };
        let search_path = variables.get(std::ffi::OsStr::new("PATH")).cloned();
        let program = program::find(&invocation.command[0], search_path.as_deref(), cwd.as_fd())?;

        let capture = CaptureDirectory::open(invocation).map_err(capture_failure)?;
        match capture.create_artifacts(earlier) {
            Ok(()) => {}
            Err(error @ CaptureError::EarlierArtifacts { .. }) => {
                capture.unlock();
                return Err(NotPrepared::EarlierArtifacts(error));
            }
            Err(error) => {
                capture.discard(&OUTPUT_FILES);
                return Err(capture_failure(error).into());
            }
        }
        match open_files(invocation, &capture, input, &mut variables) {
            Ok(Opened {
                stdin,
                writers: [stdout, stderr],
                outputs,
                lock,
            }) => Ok(Prepared {
                job: Job {
                    program: c_string(program.as_os_str().as_bytes())?,
                    argv,
                    env: variables
                        .into_iter()
                        .map(|(name, value)| variable(name, value))
                        .collect::<Result<_, _>>()?,
                    cwd,
                    stdin,
                    stdout,
                    stderr,
                    lock,
                    channel: None,
                    output_event: None,
                    direct_output: false,
                    time_left: deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())),
                    grace: settings.grace,
                    max_output_bytes: settings.max_output_bytes,
                    limits: settings.limits,
                },
                files: CapturedFiles {
                    directory: capture,
                    outputs,
                },
                program,
            }),
            Err(failure) => {
                capture.discard(&OUTPUT_FILES);
                Err(failure.into())
            }
        }
    }
}

/// What the program reads as its stdin.
enum Input {
    /// Nothing.
    None,
    /// The invocation's payload, at this path.
    Payload(OwnedFd, PathBuf),
    /// What the caller has open.
    Open(OwnedFd),
}

/// What is open for a run.
struct Opened {
    stdin: OwnedFd,
    writers: [OwnedFd; 2],
    outputs: [OutputFile; 2],
    lock: OwnedFd,
}

fn open_files(
    invocation: &RuntimeInvocation,
    capture: &CaptureDirectory,
    input: Input,
    variables: &mut BTreeMap<OsString, OsString>,
) -> Result<Opened, Failure> {
    let stdout = OutputFile::create(capture, STDOUT_FILE).map_err(capture_failure)?;
    let stderr = OutputFile::create(capture, STDERR_FILE).map_err(capture_failure)?;
    let share = |file: &OutputFile| file.share().map_err(|error| Failure::exhausted(&error));
    let lock = capture.share_lock().map_err(|error| Failure::exhausted(&error))?;
    variables.insert(
        "RXP_INVOCATION_ID".into(),
        invocation.invocation_id.clone().into(),
    );
    variables.insert("RXP_ARTIFACTS_DIR".into(), capture.artifacts_path().into());
    // The host may itself be what another run has started.
    variables.remove(std::ffi::OsStr::new("RXP_INPUT_PAYLOAD_PATH"));
    let stdin = match input {
        Input::Payload(file, path) => {
            variables.insert("RXP_INPUT_PAYLOAD_PATH".into(), path.into());
            file
        }
        Input::Open(file) => file,
        Input::None => open("/dev/null", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|errno| Failure::exhausted(&errno.into()))?,
    };
    Ok(Opened {
        stdin,
        writers: [share(&stdout)?, share(&stderr)?],
        outputs: [stdout, stderr],
        lock,
    })
}

fn arguments(command: &[String]) -> Result<Vec<CString>, Failure> {
    command
        .iter()
        .enumerate()
        .map(|(index, argument)| {
            CString::new(argument.as_str()).map_err(|error| {
                Failure::new(
                    ErrorKind::InvalidArgument,
                    format!(
                        "/command/{index} has a NUL byte at position {}, which no argument can contain",
                        error.nul_position()
                    ),
                )
            })
        })
        .collect()
}

/// Names the trace that the program is to continue, unless the invocation names one itself. What the host was started
/// with counts where neither does.
fn set_trace(
    variables: &mut BTreeMap<OsString, OsString>,
    overlay: &BTreeMap<String, String>,
    trace: Option<&TraceContext>,
) {
    let is_own = overlay.contains_key(TRACEPARENT_VARIABLE);
    if is_own || trace.is_some() {
        // It belongs to another context.
        if !overlay.contains_key(TRACESTATE_VARIABLE) {
            variables.remove(std::ffi::OsStr::new(TRACESTATE_VARIABLE));
        }
    }
    if let (Some(trace), false) = (trace, is_own) {
        variables.insert(TRACEPARENT_VARIABLE.into(), trace.traceparent().into());
        if let (Some(state), false) = (trace.tracestate(), overlay.contains_key(TRACESTATE_VARIABLE)) {
            variables.insert(TRACESTATE_VARIABLE.into(), state.into());
        }
    }
}

/// The host's environment with the invocation's laid over it.
fn environment(overlay: &BTreeMap<String, String>) -> Result<BTreeMap<OsString, OsString>, Failure> {
    let mut variables: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
    for (name, value) in overlay {
        let problem = if name.is_empty() {
            "its name is empty"
        } else if name.contains('=') {
            "its name contains '='"
        } else if name.contains('\0') {
            "its name contains a NUL byte"
        } else if value.contains('\0') {
            "its value contains a NUL byte"
        } else {
            variables.insert(name.into(), value.into());
            continue;
        };
        return Err(Failure::new(
            ErrorKind::InvalidEnvironment,
            format!(
                "environment variable '{}' can't be set: {problem}",
                name.escape_debug()
            ),
        ));
    }
    Ok(variables)
}

fn variable(name: OsString, value: OsString) -> Result<CString, Failure> {
    let mut bytes = name.into_vec();
    bytes.push(b'=');
    bytes.extend_from_slice(value.as_bytes());
    c_string(&bytes)
}

fn c_string(bytes: &[u8]) -> Result<CString, Failure> {
    CString::new(bytes).map_err(|_| {
        Failure::new(
            ErrorKind::InvalidArgument,
            "a path of this invocation contains a NUL byte",
        )
    })
}

/// Opens the directory that a program is to run in.
pub(super) fn working_directory(directory: &str) -> Result<OwnedFd, Failure> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let opened = match open(directory, flags, Mode::empty()) {
        // `O_PATH` asks for no permission, but entering does.
        Ok(handle) => match openat(&handle, ".", flags, Mode::empty()) {
            Ok(_) => return Ok(handle),
            Err(errno) => errno,
        },
        Err(errno) => errno,
    };
    let (kind, reason) = match opened {
        Errno::ENOENT => (ErrorKind::CwdNotFound, "does not exist".to_owned()),
        Errno::ENOTDIR if Path::new(directory).exists() => {
            (ErrorKind::CwdNotDir, "is not a directory".to_owned())
        }
        Errno::ENOTDIR => (
            ErrorKind::CwdNotFound,
            "does not exist: a part of the path is not a directory".to_owned(),
        ),
        Errno::EACCES => (
            ErrorKind::CwdPermission,
            "may not be entered by this user".to_owned(),
        ),
        Errno::EINVAL if directory.contains('\0') => {
            (ErrorKind::CwdNotFound, "contains a NUL byte".to_owned())
        }
        Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM => return Err(Failure::exhausted(&opened.into())),
        errno => (
            ErrorKind::CwdNotFound,
            format!("can't be opened: {}", errno.desc().to_lowercase()),
        ),
    };
    Err(Failure::new(
        kind,
        format!("working directory '{}' {reason}", directory.escape_debug()),
    ))
}

fn capture_failure(error: CaptureError) -> Failure {
    if let CaptureError::Unwritable { source, .. } = &error
        && let Some(failure) = Failure::of_exhaustion(source)
    {
        return failure;
    }
    let kind = match &error {
        CaptureError::AlreadyRunning { .. } => ErrorKind::AlreadyRunning,
        CaptureError::SymbolicLink { .. }
        | CaptureError::Unwritable { .. }
        | CaptureError::EarlierArtifacts { .. } => ErrorKind::ArtifactsUnwritable,
    };
    let summary = match kind {
        ErrorKind::AlreadyRunning => error.to_string(),
        _ => format!("output can't be kept: {error}"),
    };
    Failure::new(kind, summary)
}
