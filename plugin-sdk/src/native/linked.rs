//! The host's functions across the ABI.

use super::host::{HostFunctions, Sink};
use crate::{ArtifactError, Level};
use executor_runtime_protocol::native::{
    CREATE_DUPLICATE_NAME, CREATE_INVALID_NAME, CREATE_NOT_RESUMABLE, CREATE_TOO_MANY, CreateFailure,
    HostRef, NO_DEADLINE,
    abi_stable::std_types::{ROption, RResult, RStr, RString},
};
use std::{
    fmt,
    fs::File,
    io,
    os::fd::{BorrowedFd, FromRawFd},
    time::Duration,
};

/// The host that has called `invoke`.
pub(super) struct Linked(pub(super) HostRef);

impl fmt::Debug for Linked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Linked")
    }
}

impl Linked {
    fn begun(&self, name: &str, begun: RResult<u64, CreateFailure>) -> Result<Box<dyn Sink>, ArtifactError> {
        match begun {
            RResult::ROk(handle) => Ok(Box::new(LinkedArtifact {
                host: self.0,
                handle,
                finished: false,
            })),
            RResult::RErr(failure) => Err(match failure.reason {
                CREATE_INVALID_NAME => ArtifactError::InvalidName(name.to_owned()),
                CREATE_DUPLICATE_NAME => ArtifactError::DuplicateName(name.to_owned()),
                CREATE_TOO_MANY => ArtifactError::TooMany(failure.limit),
                CREATE_NOT_RESUMABLE => ArtifactError::NotResumable(failure.text.into()),
                _ => ArtifactError::Unwritable(failure.text.into()),
            }),
        }
    }
}

impl HostFunctions for Linked {
    fn log(&self, level: Level, message: &str) {
        self.0.log()(level as u8, message.into());
    }

    fn progress(&self, fraction: Option<f64>, message: &str) {
        self.0.progress()(fraction.unwrap_or(f64::NAN), message.into());
    }

    fn remaining(&self) -> Option<Duration> {
        match self.0.remaining()() {
            NO_DEADLINE => None,
            nanoseconds => Some(Duration::from_nanos(nanoseconds)),
        }
    }

    fn stop_requested(&self) -> bool {
        self.0.stop_requested()()
    }

    fn wait_stop(&self, time: Duration) -> bool {
        self.0.wait_stop()(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
    }

    fn stop_descriptor(&self) -> BorrowedFd<'_> {
        // SAFETY: the host keeps the descriptor open until the run, and with it this process, ends.
        unsafe { BorrowedFd::borrow_raw(self.0.stop_descriptor()()) }
    }

    fn grace(&self) -> Duration {
        Duration::from_nanos(self.0.grace()())
    }

    fn config(&self, key: &str) -> Option<String> {
        match self.0.config()(key.into()) {
            ROption::RSome(value) => Some(value.into()),
            ROption::RNone => None,
        }
    }

    fn open_input(&self) -> Result<Option<File>, String> {
        match self.0.open_input()() {
            RResult::ROk(descriptor) if descriptor < 0 => Ok(None),
            // SAFETY: by the ABI the descriptor is new and the caller's.
            RResult::ROk(descriptor) => Ok(Some(unsafe { File::from_raw_fd(descriptor) })),
            RResult::RErr(sentence) => Err(sentence.into()),
        }
    }

    fn create_artifact(
        &self,
        name: &str,
        kind: &str,
        description: &str,
    ) -> Result<Box<dyn Sink>, ArtifactError> {
        self.begun(
            name,
            self.0.create_artifact()(name.into(), kind.into(), description.into()),
        )
    }

    fn reopen_artifact(
        &self,
        name: &str,
        kind: &str,
        description: &str,
        length: u64,
    ) -> Result<Box<dyn Sink>, ArtifactError> {
        let reopened = self.0.reopen_artifact()(name.into(), kind.into(), description.into(), length);
        self.begun(name, reopened)
    }

    fn checkpoint(&self, state: &[u8]) -> Result<(), String> {
        self.0.checkpoint()(state.into())
            .into_result()
            .map_err(RString::into_string)
    }

    fn resumed(&self) -> Option<Vec<u8>> {
        self.0.resumed()().into_option().map(Into::into)
    }

    fn last_will(&self, command: &[String]) -> Result<(), String> {
        let command: Vec<RStr<'_>> = command.iter().map(|part| part.as_str().into()).collect();
        self.0.last_will()(command.as_slice().into())
            .into_result()
            .map_err(RString::into_string)
    }
}

struct LinkedArtifact {
    host: HostRef,
    handle: u64,
    finished: bool,
}

impl fmt::Debug for LinkedArtifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkedArtifact({})", self.handle)
    }
}

impl Sink for LinkedArtifact {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.host.write_artifact()(self.handle, bytes.into()) {
            // At most `bytes.len()`.
            RResult::ROk(written) => Ok(written as usize),
            RResult::RErr(sentence) => Err(io::Error::other(sentence.into_string())),
        }
    }

    fn finish(mut self: Box<Self>) -> io::Result<u64> {
        self.finished = true;
        match self.host.finish_artifact()(self.handle) {
            RResult::ROk(length) => Ok(length),
            RResult::RErr(sentence) => Err(io::Error::other(sentence.into_string())),
        }
    }
}

impl Drop for LinkedArtifact {
    fn drop(&mut self) {
        if !self.finished {
            self.host.drop_artifact()(self.handle);
        }
    }
}
