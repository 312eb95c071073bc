//! The input payload as a reader.

use super::bindings::wasi::io::streams::{self, StreamError};
use std::io;

#[derive(Debug)]
pub(crate) struct InputStream(streams::InputStream);

impl InputStream {
    pub(super) fn new(stream: streams::InputStream) -> Self {
        Self(stream)
    }

    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        // A file is always near: not worth a poll for the request to stop.
        match self.0.blocking_read(buffer.len() as u64) {
            Ok(bytes) => {
                buffer[..bytes.len()].copy_from_slice(&bytes);
                Ok(bytes.len())
            }
            Err(StreamError::Closed) => Ok(0),
            Err(StreamError::LastOperationFailed(error)) => Err(io::Error::other(error.to_debug_string())),
        }
    }
}
