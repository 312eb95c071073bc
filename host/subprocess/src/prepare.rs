//! From an invocation to a job: everything that can be wrong before a process exists.

use super::{
    program,
    settings::{Settings, SubprocessPolicy},
};
use executor_runtime_protocol::RuntimeInvocation;
use executor_runtime_run::{
    ErrorKind, Failure, Run,
    capture::{CaptureDirectory, CaptureError, CapturedFiles, OutputFile},
    input_payload,
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

pub(super) const STDOUT_FILE: &str = "stdout.txt";
pub(super) const STDERR_FILE: &str = "stderr.txt";
pub(super) const OUTPUT_FILES: [&str; 2] = [STDOUT_FILE, STDERR_FILE];

/// A job, and what the run needs besides.
pub(super) struct Prepared {
    pub(super) job: Job,
    pub(super) files: CapturedFiles,
    /// The file that is executed.
    pub(super) program: PathBuf,
}

/// Checks and opens everything. Nothing is made on disk before all that the caller gave has been found usable.
pub(super) fn prepare(run: &Run, policy: &SubprocessPolicy) -> Result<Prepared, Failure> {
    let invocation = &run.invocation;
    let settings = Settings::read(&invocation.metadata, policy)?;
    let argv = arguments(&invocation.command)?;
    if invocation.invocation_id.contains('\0') {
        return Err(Failure::new(
            ErrorKind::InvalidArgument,
            "/invocation_id has a NUL byte, which the variable RXP_INVOCATION_ID can't have",
        ));
    }
    let mut variables = environment(&invocation.environment)?;
    let cwd = working_directory(&invocation.working_directory)?;
    let input = match &invocation.input_payload_path {
        Some(path) => Some(input_payload(path)?),
        None => None,
    };
    let search_path = variables.get(std::ffi::OsStr::new("PATH")).cloned();
    let program = program::find(&invocation.command[0], search_path.as_deref(), cwd.as_fd())?;

    let capture = CaptureDirectory::open(invocation).map_err(capture_failure)?;
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
                direct_output: false,
                time_left: run
                    .deadline
                    .map(|deadline| deadline.saturating_duration_since(Instant::now())),
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
            Err(failure)
        }
    }
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
    input: Option<(OwnedFd, PathBuf)>,
    variables: &mut BTreeMap<OsString, OsString>,
) -> Result<Opened, Failure> {
    capture.create_artifacts().map_err(capture_failure)?;
    let stdout = OutputFile::create(capture, STDOUT_FILE).map_err(capture_failure)?;
    let stderr = OutputFile::create(capture, STDERR_FILE).map_err(capture_failure)?;
    let writer = |file: &OutputFile| file.writer().map_err(|error| Failure::exhausted(&error));
    let lock = capture.share_lock().map_err(|error| Failure::exhausted(&error))?;
    variables.insert(
        "RXP_INVOCATION_ID".into(),
        invocation.invocation_id.clone().into(),
    );
    variables.insert("RXP_ARTIFACTS_DIR".into(), capture.artifacts_path().into());
    let stdin = match input {
        Some((file, path)) => {
            variables.insert("RXP_INPUT_PAYLOAD_PATH".into(), path.into());
            file
        }
        None => {
            variables.remove(std::ffi::OsStr::new("RXP_INPUT_PAYLOAD_PATH"));
            open("/dev/null", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
                .map_err(|errno| Failure::exhausted(&errno.into()))?
        }
    };
    Ok(Opened {
        stdin,
        writers: [writer(&stdout)?, writer(&stderr)?],
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
    let kind = match &error {
        CaptureError::AlreadyRunning { .. } => ErrorKind::AlreadyRunning,
        CaptureError::SymbolicLink { .. } | CaptureError::Unwritable { .. } => ErrorKind::ArtifactsUnwritable,
    };
    let summary = match kind {
        ErrorKind::AlreadyRunning => error.to_string(),
        _ => format!("output can't be kept: {error}"),
    };
    Failure::new(kind, summary)
}
