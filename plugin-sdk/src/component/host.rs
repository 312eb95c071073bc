//! The functions of the WIT interface `host`.

use super::{
    ArtifactSink, InputStream,
    bindings::{
        executor_runtime::plugin::host,
        wasi::{clocks::monotonic_clock, io::poll},
    },
    wait::{Stop, nanoseconds},
};
use crate::{ArtifactError, Level};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Host {
    pub(super) stop: Stop,
}

impl Host {
    pub(super) fn new() -> Self {
        Self {
            stop: Stop::default(),
        }
    }

    pub(crate) fn log(&self, level: Level, message: &str) {
        let level = match level {
            Level::Trace => host::Level::Trace,
            Level::Debug => host::Level::Debug,
            Level::Info => host::Level::Info,
            Level::Warn => host::Level::Warn,
            Level::Error => host::Level::Error,
        };
        host::log(level, message);
    }

    pub(crate) fn progress(&self, fraction: Option<f64>, message: &str) {
        host::progress(fraction, message);
    }

    pub(crate) fn remaining(&self) -> Option<Duration> {
        Self::time_left()
    }

    pub(super) fn time_left() -> Option<Duration> {
        host::remaining().map(Duration::from_nanos)
    }

    pub(crate) fn stop_requested(&self) -> bool {
        host::stop_requested()
    }

    /// Waits for the request to stop, at most so long; whether it came.
    pub(crate) fn wait_stop(&self, time: Duration) -> bool {
        let timer = monotonic_clock::subscribe_duration(nanoseconds(time));
        poll::poll(&[&timer, self.stop.pollable()]).contains(&1)
    }

    pub(crate) fn grace(&self) -> Duration {
        Duration::from_nanos(host::grace())
    }

    pub(crate) fn config(&self, key: &str) -> Option<String> {
        host::config(key)
    }

    pub(crate) fn open_input(&self) -> Result<Option<InputStream>, String> {
        Ok(host::open_input()?.map(InputStream::new))
    }

    pub(crate) fn create_artifact(
        &self,
        name: &str,
        kind: &str,
        description: &str,
    ) -> Result<ArtifactSink, ArtifactError> {
        begun(host::create_artifact(name, kind, description))
    }

    pub(crate) fn reopen_artifact(
        &self,
        name: &str,
        kind: &str,
        description: &str,
        length: u64,
    ) -> Result<ArtifactSink, ArtifactError> {
        begun(host::reopen_artifact(name, kind, description, length))
    }

    pub(crate) fn checkpoint(&self, state: &[u8]) -> Result<(), String> {
        host::checkpoint(state)
    }

    pub(crate) fn resumed(&self) -> Option<Vec<u8>> {
        host::resumed()
    }
}

fn begun(begun: Result<host::Artifact, host::ArtifactError>) -> Result<ArtifactSink, ArtifactError> {
    ArtifactSink::new(begun.map_err(|error| match error {
        host::ArtifactError::InvalidName(name) => ArtifactError::InvalidName(name),
        host::ArtifactError::DuplicateName(name) => ArtifactError::DuplicateName(name),
        host::ArtifactError::TooMany(limit) => ArtifactError::TooMany(limit),
        host::ArtifactError::Unwritable(reason) => ArtifactError::Unwritable(reason),
        host::ArtifactError::NotResumable(reason) => ArtifactError::NotResumable(reason),
    })?)
}
