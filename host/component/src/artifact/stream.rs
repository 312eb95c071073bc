//! One artifact while it is written.
//!
//! Writes happen on the executor's blocking threads, one at a time, so that a slow disk holds up this guest
//! only. The file has a temporary name until it is finished.

use super::ArtifactStore;
use bytes::Bytes;
use executor_runtime_protocol::ArtifactDescriptor;
use executor_runtime_run::{ArtifactState, Event, Events};
use nix::unistd::{UnlinkatFlags, unlinkat};
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::{self, Write},
    os::fd::OwnedFd,
    path::Path,
    sync::Arc,
};
use tokio::{sync::Mutex, task::JoinHandle};
use wasmtime_wasi::{
    async_trait,
    p2::{OutputStream, Pollable, StreamError, StreamResult},
};

/// Bytes that one write may have.
const CHUNK: u64 = 256 * 1024;

/// An artifact that is being written.
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Artifact {
    writer: Arc<Mutex<Writer>>,
    max_bytes: u64,
    body_taken: bool,
}

/// The file; removed when it is dropped unfinished.
struct Writer {
    directory: Arc<OwnedFd>,
    file: File,
    /// The file's name until it is finished.
    partial: String,
    descriptor: ArtifactDescriptor,
    digest: Sha256,
    size: u64,
    truncated: bool,
    error: Option<io::Error>,
    finished: bool,
    /// Where it is told that the file has grown.
    events: Events,
}

impl Artifact {
    pub(super) fn new(
        directory: Arc<OwnedFd>,
        file: File,
        partial: String,
        descriptor: ArtifactDescriptor,
        max_bytes: u64,
        events: Events,
    ) -> Self {
        Self {
            writer: Arc::new(Mutex::new(Writer {
                directory,
                file,
                partial,
                descriptor,
                digest: Sha256::new(),
                size: 0,
                truncated: false,
                error: None,
                finished: false,
                events,
            })),
            max_bytes,
            body_taken: false,
        }
    }

    /// The stream to write to; None if it was taken before.
    pub(crate) fn body(&mut self) -> Option<BodyStream> {
        if std::mem::replace(&mut self.body_taken, true) {
            return None;
        }
        Some(BodyStream {
            writer: Arc::clone(&self.writer),
            room: self.max_bytes,
            pending: None,
            failed: false,
        })
    }

    /// Waits for what was written, and has the file listed in the result; returns its length.
    pub(crate) async fn finish(self, store: ArtifactStore) -> Result<u64, String> {
        let mut writer = self.writer.lock_owned().await;
        run_blocking(move || writer.finish(&store)).await
    }
}

impl Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.digest.update(bytes);
        self.size += bytes.len() as u64;
        if self.events.are_wanted() {
            self.events.report(Event::Artifact(ArtifactState {
                artifact_id: self.descriptor.artifact_id.clone(),
                path: Path::new(&self.descriptor.path).with_file_name(&self.partial),
                bytes: self.size,
                is_finished: false,
            }));
        }
        Ok(())
    }

    fn finish(&mut self, store: &ArtifactStore) -> Result<u64, String> {
        let digest = std::mem::take(&mut self.digest).finalize();
        let mut descriptor = self.descriptor.clone();
        let metadata = &mut descriptor.metadata;
        metadata.insert("size_bytes".into(), self.size.to_string());
        metadata.insert("sha256".into(), executor_runtime_plugin::hex(&digest));
        if self.truncated {
            metadata.insert("truncated".into(), "true".into());
        }
        let finished = match self.error.take() {
            Some(error) => Err(error),
            None => store.finish(&self.directory, &self.partial, &self.file, descriptor),
        };
        finished.map_err(|error| format!("can't write artifact '{}': {error}", self.descriptor.path))?;
        self.finished = true;
        Ok(self.size)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.finished {
            // Nothing waits for it; a file that stays behind does not have the name of an artifact.
            let _ = unlinkat(
                &*self.directory,
                self.partial.as_str(),
                UnlinkatFlags::NoRemoveDir,
            );
        }
    }
}

/// The stream that a guest writes an artifact to.
pub(crate) struct BodyStream {
    writer: Arc<Mutex<Writer>>,
    room: u64,
    pending: Option<JoinHandle<bool>>,
    failed: bool,
}

#[async_trait]
impl Pollable for BodyStream {
    async fn ready(&mut self) {
        if let Some(pending) = &mut self.pending {
            let written = pending.await.unwrap_or(false);
            self.pending = None;
            self.failed |= !written;
        }
    }
}

#[async_trait]
impl OutputStream for BodyStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let len = bytes.len() as u64;
        if self.pending.is_some() || len > self.room.min(CHUNK) {
            return Err(StreamError::trap("write exceeded what check-write allowed"));
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let Ok(mut writer) = Arc::clone(&self.writer).try_lock_owned() else {
            // The artifact is being finished while its stream is still in use.
            return Err(StreamError::Closed);
        };
        self.room -= len;
        self.pending = Some(tokio::task::spawn_blocking(move || {
            let result = writer.write(&bytes);
            let written = result.is_ok();
            if let Err(error) = result {
                writer.error = Some(error);
            }
            written
        }));
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        // Writes are under way as soon as they are made; waiting for them is waiting for readiness.
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        if self.failed {
            return Err(StreamError::Closed);
        }
        if self.pending.is_some() {
            return Ok(0);
        }
        if self.room == 0 {
            if let Ok(mut writer) = self.writer.try_lock() {
                writer.truncated = true;
            }
            return Err(StreamError::Closed);
        }
        // At most CHUNK, which fits.
        Ok(self.room.min(CHUNK) as usize)
    }

    async fn cancel(&mut self) {
        self.ready().await;
    }
}

/// Runs `work` on a blocking thread.
pub(crate) async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that is shutting down cancels; then nothing waits for this future either.
            Err(_) => std::future::pending().await,
        },
    }
}
