//! Artifacts through the host's output streams.

use super::bindings::{
    executor_runtime::plugin::host::Artifact,
    wasi::io::streams::{OutputStream, StreamError},
};
use crate::{ArtifactError, Copied, http::BodyReader};
use std::io;

#[derive(Debug)]
pub(crate) struct ArtifactSink {
    // A stream is the artifact's child: dropped first.
    stream: OutputStream,
    artifact: Artifact,
}

impl ArtifactSink {
    pub(super) fn new(artifact: Artifact) -> Result<Self, ArtifactError> {
        match artifact.body() {
            Ok(stream) => Ok(Self { stream, artifact }),
            Err(()) => Err(ArtifactError::Unwritable("the artifact has no stream".to_owned())),
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = loop {
            match self.stream.check_write() {
                // A file takes bytes soon: not worth a poll for the request to stop.
                Ok(0) => self.stream.subscribe().block(),
                Ok(room) => break room,
                Err(StreamError::Closed) => return Err(at_limit()),
                Err(StreamError::LastOperationFailed(error)) => {
                    return Err(io::Error::other(error.to_debug_string()));
                }
            }
        };
        let len = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        match self.stream.write(&bytes[..len]) {
            Ok(()) => Ok(len),
            Err(StreamError::Closed) => Err(at_limit()),
            Err(StreamError::LastOperationFailed(error)) => Err(io::Error::other(error.to_debug_string())),
        }
    }

    pub(crate) fn copy_from(
        &mut self,
        body: &mut BodyReader,
        progress: &mut dyn FnMut(u64),
    ) -> io::Result<Copied> {
        Ok(body.stream.splice_into(&self.stream, progress)?)
    }

    pub(crate) fn finish(self) -> io::Result<u64> {
        let Self { stream, artifact } = self;
        drop(stream);
        Artifact::finish(artifact).map_err(io::Error::other)
    }
}

fn at_limit() -> io::Error {
    io::Error::new(
        io::ErrorKind::FileTooLarge,
        "the artifact has reached the host's limit, or can't be written",
    )
}
