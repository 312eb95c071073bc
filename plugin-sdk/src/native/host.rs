//! What a run needs from its environment: a host process across the ABI, or a test.

use crate::{ArtifactError, Copied, Level, http::BodyReader};
use std::{
    fmt::Debug,
    fs::File,
    io::{self, Read},
    os::fd::BorrowedFd,
    sync::Arc,
    time::Duration,
};

/// The host's functions.
pub(super) trait HostFunctions: Debug + Send + Sync {
    fn log(&self, level: Level, message: &str);
    fn progress(&self, fraction: Option<f64>, message: &str);
    fn remaining(&self) -> Option<Duration>;
    fn stop_requested(&self) -> bool;
    fn wait_stop(&self, time: Duration) -> bool;
    /// Ready for reading once the run is asked to stop.
    fn stop_descriptor(&self) -> BorrowedFd<'_>;
    fn grace(&self) -> Duration;
    fn config(&self, key: &str) -> Option<String>;
    fn open_input(&self) -> Result<Option<File>, String>;
    fn create_artifact(
        &self,
        name: &str,
        kind: &str,
        description: &str,
    ) -> Result<Box<dyn Sink>, ArtifactError>;
    fn reopen_artifact(
        &self,
        name: &str,
        kind: &str,
        description: &str,
        length: u64,
    ) -> Result<Box<dyn Sink>, ArtifactError>;
    fn checkpoint(&self, state: &[u8]) -> Result<(), String>;
    fn resumed(&self) -> Option<Vec<u8>>;
    /// Leaves a command to be run at the end; an empty one withdraws it.
    fn last_will(&self, command: &[String]) -> Result<(), String>;
}

/// An artifact that is being written.
pub(super) trait Sink: Debug + Send {
    /// Writes some bytes; none at the limit.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    fn finish(self: Box<Self>) -> io::Result<u64>;
}

#[derive(Clone, Debug)]
pub(crate) struct Host(pub(super) Arc<dyn HostFunctions>);

impl Host {
    pub(crate) fn log(&self, level: Level, message: &str) {
        self.0.log(level, message);
    }

    pub(crate) fn progress(&self, fraction: Option<f64>, message: &str) {
        self.0.progress(fraction, message);
    }

    pub(crate) fn remaining(&self) -> Option<Duration> {
        self.0.remaining()
    }

    pub(crate) fn stop_requested(&self) -> bool {
        self.0.stop_requested()
    }

    pub(crate) fn wait_stop(&self, time: Duration) -> bool {
        self.0.wait_stop(time)
    }

    pub(crate) fn grace(&self) -> Duration {
        self.0.grace()
    }

    pub(crate) fn config(&self, key: &str) -> Option<String> {
        self.0.config(key)
    }

    pub(crate) fn open_input(&self) -> Result<Option<InputStream>, String> {
        Ok(self.0.open_input()?.map(InputStream))
    }

    pub(crate) fn create_artifact(
        &self,
        name: &str,
        kind: &str,
        description: &str,
    ) -> Result<ArtifactSink, ArtifactError> {
        self.0.create_artifact(name, kind, description).map(ArtifactSink)
    }

    pub(crate) fn reopen_artifact(
        &self,
        name: &str,
        kind: &str,
        description: &str,
        length: u64,
    ) -> Result<ArtifactSink, ArtifactError> {
        let reopened = self.0.reopen_artifact(name, kind, description, length);
        reopened.map(ArtifactSink)
    }

    pub(crate) fn checkpoint(&self, state: &[u8]) -> Result<(), String> {
        self.0.checkpoint(state)
    }

    pub(crate) fn resumed(&self) -> Option<Vec<u8>> {
        self.0.resumed()
    }

    pub(crate) fn last_will(&self, command: &[String]) -> Result<(), String> {
        self.0.last_will(command)
    }
}

#[derive(Debug)]
pub(crate) struct InputStream(File);

impl InputStream {
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

#[derive(Debug)]
pub(crate) struct ArtifactSink(Box<dyn Sink>);

impl ArtifactSink {
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.write(bytes)? {
            0 if !bytes.is_empty() => Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "the artifact has reached the host's limit",
            )),
            written => Ok(written),
        }
    }

    pub(crate) fn copy_from(
        &mut self,
        body: &mut BodyReader,
        progress: &mut dyn FnMut(u64),
    ) -> io::Result<Copied> {
        let mut buffer = vec![0; 64 * 1024];
        let mut copied = 0;
        loop {
            let len = body.read(&mut buffer)?;
            if len == 0 {
                return Ok(Copied::Whole(copied));
            }
            let mut rest = &buffer[..len];
            while !rest.is_empty() {
                let written = self.0.write(rest)?;
                copied += written as u64;
                if written == 0 {
                    return Ok(Copied::Capped(copied));
                }
                rest = &rest[written..];
            }
            progress(copied);
        }
    }

    pub(crate) fn finish(self) -> io::Result<u64> {
        self.0.finish()
    }
}
