//! What a run has open on the file system before its process exists.
//!
//! Where all of it answers at once it is opened where the run is polled; else, and to remove what an earlier run has
//! left, by another thread, for which the run waits no longer than it may take.

use executor_runtime_protocol::RuntimeInvocation;
use executor_runtime_run::{
    ErrorKind, Failure, Run,
    capture::{
        CaptureDirectory, CaptureError, EarlierArtifacts, Fingerprint, FinishedArtifacts, ReadDeadline,
        answers_at_once,
    },
    input_payload,
};
use nix::{
    fcntl::{OFlag, open},
    sys::stat::Mode,
};
use std::{os::fd::OwnedFd, path::Path};

/// What is open. A run that does not read its input, or leaves no artifacts, can go without: the plugin is told when it
/// needs them.
pub(super) struct RunFiles {
    pub(super) input: Option<OwnedFd>,
    /// Why the input is not open.
    pub(super) no_input: Option<String>,
    pub(super) directory: Option<RunDirectory>,
    /// Why there can be no artifacts.
    pub(super) no_artifacts: Option<String>,
    /// The checkpoint of an interrupted run.
    pub(super) resumed: Option<Vec<u8>>,
    /// For information, as it is for a component: a plugin need not have it.
    pub(super) cwd: OwnedFd,
}

/// Where a run's artifacts and checkpoints are.
#[derive(Debug)]
pub(super) struct RunDirectory {
    pub(super) capture: CaptureDirectory,
    pub(super) artifacts: OwnedFd,
    /// What is finished there, by an interrupted run too.
    pub(super) finished: FinishedArtifacts,
}

impl RunFiles {
    /// Opens everything in the time that the run has.
    pub(super) async fn open_in_time(run: &Run) -> Result<Self, Failure> {
        let of = run.fingerprint();
        if answers_at_once(&run.invocation)
            && let Some(files) = Self::open(&run.invocation, of, EarlierArtifacts::Keep)?
        {
            return files.checked(run);
        }
        let invocation = run.invocation.clone();
        let time = ReadDeadline::new(run.deadline, &run.cancel);
        let what = "while the files of the run were opened";
        let opening = run.blocking(what, move || {
            let files = Self::open(&invocation, of, EarlierArtifacts::Remove(&time));
            if let Ok(Some(Self {
                directory: Some(directory),
                ..
            })) = &files
            {
                directory.capture.remember_file_system();
            }
            files
        });
        // Only a run that is over has no time to remove what an earlier one has left.
        let late = || Failure::new(ErrorKind::Timeout, format!("timed out {what}"));
        opening.await??.ok_or_else(late)?.checked(run)
    }

    fn checked(self, run: &Run) -> Result<Self, Failure> {
        match self.resumed {
            None if run.must_resume => Err(Failure::without_checkpoint()),
            _ => Ok(self),
        }
    }

    /// What a run of `invocation`, which was asked for `of`, has open; None if artifacts of an earlier run are in the way.
    fn open(
        invocation: &RuntimeInvocation,
        of: Fingerprint,
        earlier: EarlierArtifacts<'_>,
    ) -> Result<Option<Self>, Failure> {
        let input = invocation.input_payload_path.as_deref().map(input_payload);
        let (input, no_input) = match input.transpose() {
            Ok(input) => (input.map(|(file, _)| file), None),
            Err(failure) => (None, Some(failure.summary)),
        };
        let (capture, no_artifacts) = match CaptureDirectory::open(invocation) {
            Ok(capture) => (Some(capture), None),
            Err(error @ CaptureError::AlreadyRunning { .. }) => {
                return Err(Failure::new(ErrorKind::AlreadyRunning, error.to_string()));
            }
            Err(CaptureError::Unwritable { source, .. }) if Failure::of_exhaustion(&source).is_some() => {
                return Err(Failure::exhausted(&source));
            }
            Err(error) => (None, Some(error.to_string())),
        };
        let resumed = capture.as_ref().and_then(|capture| capture.checkpoint(of));
        let directory =
            match capture.map(|capture| RunDirectory::open(capture, of, resumed.is_some(), earlier)) {
                Some(Err(CaptureError::EarlierArtifacts { .. })) => return Ok(None),
                opened => opened
                    .transpose()
                    .map_err(|error| Failure::exhausted(&std::io::Error::other(error)))?,
            };
        let cwd = open_directory(Path::new(&invocation.working_directory))
            .or_else(|_| open_directory(Path::new("/")))
            .map_err(|errno| Failure::exhausted(&errno.into()))?;
        Ok(Some(Self {
            input,
            no_input,
            directory,
            no_artifacts,
            resumed,
            cwd,
        }))
    }
}

impl RunDirectory {
    fn open(
        capture: CaptureDirectory,
        of: Fingerprint,
        resumes: bool,
        earlier: EarlierArtifacts<'_>,
    ) -> Result<Self, CaptureError> {
        let opened = if resumes {
            FinishedArtifacts::resume(&capture, of, earlier)
        } else {
            let artifacts = capture.open_artifacts(earlier);
            artifacts.map(|artifacts| (artifacts, FinishedArtifacts::default()))
        };
        match opened {
            Ok((artifacts, finished)) => Ok(Self {
                capture,
                artifacts,
                finished,
            }),
            Err(error) => {
                capture.unlock();
                Err(error)
            }
        }
    }
}

fn open_directory(path: &Path) -> nix::Result<OwnedFd> {
    open(
        path,
        OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )
}
