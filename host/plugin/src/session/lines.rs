//! A guest's stdout and stderr: byte streams that become lines of its [`RunLog`].

use super::log::{Level, RunLog};
use std::sync::{Arc, Mutex, PoisonError};

/// The length at which a line without an end is handed on, in bytes.
const MAX_UNFINISHED: usize = 4096;

/// Which of the two it is.
#[derive(Clone, Copy, Debug)]
pub enum Source {
    /// Logged as information.
    Stdout,
    /// Logged as warnings; its end explains a crash.
    Stderr,
}

/// One of the guest's output streams. Clones share the unfinished line.
#[derive(Clone, Debug)]
pub struct LineStream {
    source: Source,
    log: Arc<RunLog>,
    unfinished: Arc<Mutex<Vec<u8>>>,
}

impl LineStream {
    /// A stream whose lines go to `log`.
    pub fn new(source: Source, log: Arc<RunLog>) -> Self {
        Self {
            source,
            log,
            unfinished: Arc::default(),
        }
    }

    /// Takes what the guest has written.
    pub fn push(&self, bytes: &[u8]) {
        let mut unfinished = self.unfinished.lock().unwrap_or_else(PoisonError::into_inner);
        for piece in bytes.split_inclusive(|&b| b == b'\n') {
            unfinished.extend_from_slice(piece);
            if piece.ends_with(b"\n") || unfinished.len() >= MAX_UNFINISHED {
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
                    self.log.log(Level::Info, line);
                }
            }
            Source::Stderr => self.log.stderr_line(&line),
        }
    }

    /// Hands on a last line that has no end.
    pub fn finish(&self) {
        self.push(b"\n");
    }
}
