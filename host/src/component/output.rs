//! A guest's stdout and stderr: byte streams that become lines of its [`Journal`].

use super::journal::{Journal, Level};
use bytes::Bytes;
use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};
use tokio::io::AsyncWrite;
use wasmtime_wasi::{
    async_trait,
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

/// Bytes of one write; also the length at which a line without an end is handed on.
const CHUNK: usize = 4096;

/// Which of the two it is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    Stdout,
    Stderr,
}

/// One of the guest's output streams. Clones share the unfinished line.
#[derive(Clone)]
pub(crate) struct LineStream {
    source: Source,
    journal: Arc<Journal>,
    unfinished: Arc<Mutex<Vec<u8>>>,
}

impl LineStream {
    pub(crate) fn new(source: Source, journal: Arc<Journal>) -> Self {
        Self {
            source,
            journal,
            unfinished: Arc::default(),
        }
    }

    pub(crate) fn push(&self, bytes: &[u8]) {
        let mut unfinished = self.unfinished.lock().unwrap_or_else(PoisonError::into_inner);
        for piece in bytes.split_inclusive(|&b| b == b'\n') {
            unfinished.extend_from_slice(piece);
            if piece.ends_with(b"\n") || unfinished.len() >= CHUNK {
                self.emit(&unfinished);
                unfinished.clear();
            }
        }
    }

    fn emit(&self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        match self.source {
            Source::Stdout => {
                let line = line.trim_end();
                if !line.is_empty() {
                    self.journal.log(Level::Info, line);
                }
            }
            Source::Stderr => self.journal.stderr_line(&line),
        }
    }

    /// Hands on a last line that has no end.
    pub(crate) fn finish(&self) {
        self.push(b"\n");
    }
}

impl IsTerminal for LineStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LineStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for LineStream {
    async fn ready(&mut self) {}
}

impl OutputStream for LineStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.push(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(CHUNK)
    }
}

impl AsyncWrite for LineStream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.push(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
