//! One artifact while it is written.
//!
//! Writes happen on the executor's blocking threads, one at a time, so that a slow disk holds up this guest
//! only. The file has a temporary name until it is finished.

use super::store::{ArtifactStore, Need};
use bytes::Bytes;
use executor_runtime_protocol::ArtifactDescriptor;
use executor_runtime_run::{ArtifactState, Event, Events, capture::ReadDeadline};
use nix::unistd::{UnlinkatFlags, unlinkat};
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    os::fd::OwnedFd,
    path::Path,
    sync::{Arc, Weak},
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
    /// How many bytes more it may have.
    room: u64,
    body_taken: bool,
}

/// A file, and what is known of what is in it.
pub(super) struct Written {
    file: File,
    digest: Sha256,
    size: u64,
}

impl Written {
    /// One that is empty.
    pub(super) fn nothing(file: File) -> Self {
        Self {
            file,
            digest: Sha256::new(),
            size: 0,
        }
    }

    /// One that has so many bytes, which are read. It is left at their end. Blocks.
    ///
    /// # Errors
    /// When it can't be read, or there is no time for it.
    pub(super) fn up_to(mut file: File, size: u64, time: &ReadDeadline) -> io::Result<Self> {
        let mut digest = Sha256::new();
        let mut buffer = vec![0; 256 * 1024];
        let mut left = size;
        file.rewind()?;
        while left > 0 {
            if time.is_over() {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "there was no time to read what is in it",
                ));
            }
            let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            file.read_exact(&mut buffer[..most])?;
            digest.update(&buffer[..most]);
            left -= most as u64;
        }
        Ok(Self { file, digest, size })
    }
}

/// For those who wait until what an artifact was given is in its file. Does not keep it open.
#[derive(Clone)]
pub(super) struct WriterHandle(Weak<Mutex<Writer>>);

impl WriterHandle {
    pub(super) fn is_open(&self) -> bool {
        self.0.strong_count() > 0
    }

    /// Whether what was given to the artifact is written.
    pub(super) fn is_idle(&self) -> bool {
        self.0.upgrade().is_none_or(|writer| writer.try_lock().is_ok())
    }

    /// Waits until what was given to the artifact is written. Blocks, unless it is [idle](Self::is_idle).
    ///
    /// # Errors
    /// Why it could not be written.
    pub(super) fn wait(&self) -> Result<(), String> {
        let Some(writer) = self.0.upgrade() else {
            return Ok(());
        };
        // Where runs are polled, nothing may block, and tokio does not let it.
        let writer = writer.try_lock().unwrap_or_else(|_| writer.blocking_lock());
        match &writer.error {
            Some(error) => Err(error.to_string()),
            None => Ok(()),
        }
    }
}

impl std::fmt::Debug for WriterHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WriterHandle")
    }
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
        written: Written,
        partial: String,
        descriptor: ArtifactDescriptor,
        max_bytes: u64,
        events: Events,
    ) -> Self {
        let Written { file, digest, size } = written;
        Self {
            writer: Arc::new(Mutex::new(Writer {
                directory,
                file,
                partial,
                descriptor,
                digest,
                size,
                truncated: false,
                error: None,
                finished: false,
                events,
            })),
            room: max_bytes.saturating_sub(size),
            body_taken: false,
        }
    }

    pub(super) fn handle(&self) -> WriterHandle {
        WriterHandle(Arc::downgrade(&self.writer))
    }

    /// The stream to write to; None if it was taken before.
    pub(crate) fn body(&mut self) -> Option<BodyStream> {
        if std::mem::replace(&mut self.body_taken, true) {
            return None;
        }
        Some(BodyStream {
            writer: Arc::clone(&self.writer),
            room: self.room,
            pending: None,
            failed: false,
        })
    }

    /// Waits for what was written, and has the file listed in the result; returns its length.
    pub(crate) async fn finish(self, store: ArtifactStore) -> Result<u64, String> {
        let mut writer = self.writer.lock_owned().await;
        store
            .in_directory(Need::Artifacts, move |store| writer.finish(store))
            .await
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
