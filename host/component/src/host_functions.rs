//! The functions of the WIT interface `host`.

use super::{
    artifact::{Artifact, ArtifactStore, CreateError, Need},
    bindings::host::{ArtifactError, Host, HostArtifact, Level},
    stack,
    state::RunState,
};
use executor_runtime_plugin::session::{self, Stop, is_valid_artifact_name};
use executor_runtime_run::Failure;
use std::{fs::OpenOptions, os::unix::fs::OpenOptionsExt, path::Path, time::Duration};
use tokio::{task::spawn_blocking, time::timeout};
use wasmtime::component::Resource;
use wasmtime_wasi::{
    async_trait,
    p2::{DynInputStream, DynOutputStream, DynPollable, Pollable, pipe::AsyncReadStream, subscribe},
};

const MAX_DESCRIPTION: usize = 1000;
const MAX_KIND: usize = 64;

impl Host for RunState {
    fn log(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            Level::Trace => session::Level::Trace,
            Level::Debug => session::Level::Debug,
            Level::Info => session::Level::Info,
            Level::Warn => session::Level::Warn,
            Level::Error => session::Level::Error,
        };
        self.given.log.log(level, &message);
        Ok(())
    }

    fn progress(&mut self, fraction: Option<f64>, message: String) -> wasmtime::Result<()> {
        self.given.log.progress(fraction, &message);
        Ok(())
    }

    fn remaining(&mut self) -> wasmtime::Result<Option<u64>> {
        Ok(self.given.stop.remaining().map(nanoseconds))
    }

    fn stop_requested(&mut self) -> wasmtime::Result<bool> {
        Ok(self.given.stop.requested().is_some())
    }

    fn subscribe_stop(&mut self) -> wasmtime::Result<Resource<DynPollable>> {
        let waiter = self.table.push(StopWaiter(self.given.stop.clone()))?;
        subscribe(&mut self.table, waiter)
    }

    fn grace(&mut self) -> wasmtime::Result<u64> {
        Ok(nanoseconds(self.given.stop.grace()))
    }

    fn config(&mut self, key: String) -> wasmtime::Result<Option<String>> {
        Ok(self.given.config.get(&key).cloned())
    }

    async fn open_input(&mut self) -> wasmtime::Result<Result<Option<Resource<DynInputStream>>, String>> {
        let Some(path) = self.given.input.clone() else {
            return Ok(Ok(None));
        };
        let opened = spawn_blocking(move || open_regular(&path)).await?;
        Ok(match opened {
            Ok(file) => {
                let stream = AsyncReadStream::new(tokio::fs::File::from_std(file));
                let stream: DynInputStream = Box::new(stream);
                Ok(Some(self.table.push(stream)?))
            }
            Err(sentence) => Err(sentence),
        })
    }

    async fn create_artifact(
        &mut self,
        name: String,
        kind: String,
        description: String,
    ) -> wasmtime::Result<Result<Resource<Artifact>, ArtifactError>> {
        if !is_valid_artifact_name(&name) {
            return self.begun(Err(CreateError::InvalidName(name)));
        }
        let kind = session::printable(&kind, MAX_KIND);
        let description = session::printable(&description, MAX_DESCRIPTION);
        let create = move |store: &ArtifactStore| store.create(name, kind, description);
        let created = self.given.artifacts.in_directory(Need::Artifacts, create).await;
        self.begun(created)
    }

    async fn reopen_artifact(
        &mut self,
        name: String,
        kind: String,
        description: String,
        length: u64,
    ) -> wasmtime::Result<Result<Resource<Artifact>, ArtifactError>> {
        let store = self.given.artifacts.clone();
        let kind = session::printable(&kind, MAX_KIND);
        let description = session::printable(&description, MAX_DESCRIPTION);
        let reopened = spawn_blocking(move || store.reopen(name, kind, description, length)).await?;
        self.begun(reopened)
    }

    async fn checkpoint(&mut self, state: Vec<u8>) -> wasmtime::Result<Result<(), String>> {
        let keep = move |store: &ArtifactStore| store.checkpoint(&state);
        Ok(self.given.artifacts.in_directory(Need::Written, keep).await)
    }

    async fn resumed(&mut self) -> wasmtime::Result<Option<Vec<u8>>> {
        let artifacts = &self.given.artifacts;
        let resumed = artifacts
            .in_directory(Need::Directory, ArtifactStore::resumed)
            .await;
        match artifacts.refusal(resumed.is_some()) {
            None => Ok(resumed),
            Some(failure) => Err(Refused(failure).into()),
        }
    }
}

impl RunState {
    fn begun(
        &mut self,
        begun: Result<Artifact, CreateError>,
    ) -> wasmtime::Result<Result<Resource<Artifact>, ArtifactError>> {
        Ok(match begun {
            Ok(artifact) => Ok(self.table.push(artifact)?),
            Err(error @ CreateError::Unwritable(_)) => Err(ArtifactError::Unwritable(error.to_string())),
            Err(error @ CreateError::NotResumable(_)) => Err(ArtifactError::NotResumable(error.to_string())),
            Err(CreateError::InvalidName(name)) => Err(ArtifactError::InvalidName(name)),
            Err(CreateError::DuplicateName(name)) => Err(ArtifactError::DuplicateName(name)),
            Err(CreateError::TooMany(count)) => Err(ArtifactError::TooMany(count)),
        })
    }
}

impl HostArtifact for RunState {
    fn body(
        &mut self,
        artifact: Resource<Artifact>,
    ) -> wasmtime::Result<Result<Resource<DynOutputStream>, ()>> {
        let Some(body) = self.table.get_mut(&artifact)?.body() else {
            return Ok(Err(()));
        };
        let stream: DynOutputStream = Box::new(body);
        Ok(Ok(self.table.push(stream)?))
    }

    async fn finish(&mut self, artifact: Resource<Artifact>) -> wasmtime::Result<Result<u64, String>> {
        let artifact = self.table.delete(artifact)?;
        Ok(artifact.finish(self.given.artifacts.clone()).await)
    }

    fn drop(&mut self, artifact: Resource<Artifact>) -> wasmtime::Result<()> {
        self.table.delete(artifact)?;
        Ok(())
    }
}

/// Ends a run that must not begin.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.summary)]
pub(super) struct Refused(pub(super) Failure);

/// Ready once the run is asked to stop. Every guest that can be stopped waits for it, beside whatever else it waits for.
struct StopWaiter(Stop);

#[async_trait]
impl Pollable for StopWaiter {
    async fn ready(&mut self) {
        if timeout(LONG_WAIT, self.0.asked()).await.is_err() {
            stack::release_unused();
            self.0.asked().await;
        }
    }
}

/// How long a guest waits before the memory is given back that it does not use meanwhile. That takes the guest's fiber a
/// moment, and later a page fault for each page: too much for waits that are short.
const LONG_WAIT: Duration = Duration::from_secs(1);

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Opens a regular file, without hanging on anything else that has a name.
fn open_regular(path: &Path) -> Result<std::fs::File, String> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path)
        .map_err(|error| format!("can't open input payload '{}': {error}", path.display()))?;
    match file.metadata() {
        Ok(metadata) if metadata.is_file() => Ok(file),
        Ok(_) => Err(format!(
            "input payload '{}' is not a regular file",
            path.display()
        )),
        Err(error) => Err(format!("can't read input payload '{}': {error}", path.display())),
    }
}
