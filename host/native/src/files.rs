//! What a run has open on the file system before its process exists.
//!
//! Where all of it answers at once it is opened where the run is polled; else, and to remove what an earlier run has
//! left, by another thread, for which the run waits no longer than it may take.

use executor_runtime_protocol::RuntimeInvocation;
use executor_runtime_run::{
    ErrorKind, Failure, Run,
    capture::{CaptureDirectory, CaptureError, EarlierArtifacts, Fingerprint, ReadDeadline, answers_at_once},
    input_payload,
};
use nix::{
    fcntl::{OFlag, open},
    sys::stat::Mode,
};
use std::{os::fd::OwnedFd, path::Path, sync::Arc};

/// What is open. A run that does not read its input, or leaves no artifacts, can go without: the plugin is told when it
/// needs them.
pub(super) struct RunFiles {
    pub(super) input: Option<OwnedFd>,
    /// Why the input is not open.
    pub(super) no_input: Option<String>,
    pub(super) capture: Option<Arc<CaptureDirectory>>,
    /// The artifacts directory.
    pub(super) artifacts: Option<OwnedFd>,
    /// Why there can be no artifacts.
    pub(super) no_artifacts: Option<String>,
    /// The checkpoint of an interrupted run.
    pub(super) resumed: Option<Vec<u8>>,
    /// For information, as it is for a component: a plugin need not have it.
    pub(super) cwd: OwnedFd,
}

impl RunFiles {
    /// Opens everything in the time that the run has.
    pub(super) async fn open_in_time(run: &Run) -> Result<Self, Failure> {
        if answers_at_once(&run.invocation)
            && let Some(files) = Self::open(&run.invocation, EarlierArtifacts::Keep)?
        {
            return Ok(files);
        }
        let invocation = run.invocation.clone();
        let time = ReadDeadline::new(run.deadline, &run.cancel);
        let what = "while the files of the run were opened";
        let opening = run.blocking(what, move || {
            let files = Self::open(&invocation, EarlierArtifacts::Remove(&time));
            if let Ok(Some(Self {
                capture: Some(capture),
                ..
            })) = &files
            {
                capture.remember_file_system();
            }
            files
        });
        // Only a run that is over has no time to remove what an earlier one has left.
        let late = || Failure::new(ErrorKind::Timeout, format!("timed out {what}"));
        opening.await??.ok_or_else(late)
    }

    /// None if artifacts of an earlier run are in the way.
    fn open(invocation: &RuntimeInvocation, earlier: EarlierArtifacts<'_>) -> Result<Option<Self>, Failure> {
        let input = invocation.input_payload_path.as_deref().map(input_payload);
        let (input, no_input) = match input.transpose() {
            Ok(input) => (input.map(|(file, _)| file), None),
            Err(failure) => (None, Some(failure.summary)),
        };
        let (capture, no_artifacts) = match CaptureDirectory::open(invocation) {
            Ok(capture) => (Some(Arc::new(capture)), None),
            Err(error @ CaptureError::AlreadyRunning { .. }) => {
                return Err(Failure::new(ErrorKind::AlreadyRunning, error.to_string()));
            }
            Err(CaptureError::Unwritable { source, .. }) if Failure::of_exhaustion(&source).is_some() => {
                return Err(Failure::exhausted(&source));
            }
            Err(error) => (None, Some(error.to_string())),
        };
        let resumed = capture
            .as_ref()
            .and_then(|capture| capture.checkpoint(Fingerprint::of(invocation)));
        let artifacts = match capture.as_ref().map(|capture| capture.open_artifacts(earlier)) {
            Some(Err(CaptureError::EarlierArtifacts { .. })) => {
                capture.inspect(|capture| capture.unlock());
                return Ok(None);
            }
            opened => opened
                .transpose()
                .map_err(|error| Failure::exhausted(&std::io::Error::other(error)))?,
        };
        let cwd = directory(Path::new(&invocation.working_directory))
            .or_else(|_| directory(Path::new("/")))
            .map_err(|errno| Failure::exhausted(&errno.into()))?;
        Ok(Some(Self {
            input,
            no_input,
            capture,
            artifacts,
            no_artifacts,
            resumed,
            cwd,
        }))
    }
}

fn directory(path: &Path) -> nix::Result<OwnedFd> {
    open(
        path,
        OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )
}
