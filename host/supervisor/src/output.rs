//! One output stream of a target: a pipe drained into a file, up to a cap.
//!
//! A pipe and not the file itself, so that the stream can be capped, a full disk is noticed by us instead of
//! the target, and a target that opens `/dev/stdout` anew does not truncate what is there. Bytes never pass
//! through this process (`splice`), except on file systems that can't be spliced to.
//!
//! What comes after the cap, or after the file could not be written, is discarded, so that the target neither
//! blocks nor dies of `SIGPIPE` because of us.
//!
//! Runs in children of `fork`: no allocation.

use super::sys::{self, Moved};
use nix::errno::Errno;
use std::os::fd::RawFd;

/// How much is moved before the supervisor looks at its other descriptors again.
const CHUNK: usize = 1 << 20;

/// One stream.
pub(super) struct Output {
    /// The read end; none once all writers are gone.
    pipe: Option<RawFd>,
    file: RawFd,
    cap: u64,
    kept: u64,
    /// The file can't be spliced to.
    unspliceable: bool,
    truncated: bool,
    error: Option<Errno>,
}

impl Output {
    pub(super) fn new(pipe: RawFd, file: RawFd, cap: u64) -> Self {
        Self {
            pipe: Some(pipe),
            file,
            cap,
            kept: 0,
            unspliceable: false,
            truncated: false,
            error: None,
        }
    }

    /// The descriptor to poll; -1, which `poll` passes over, once there is nothing more to come.
    pub(super) fn poll_fd(&self) -> RawFd {
        self.pipe.unwrap_or(-1)
    }

    /// Moves what is there, at most one chunk.
    pub(super) fn drain(&mut self) -> Drained {
        let Some(pipe) = self.pipe else {
            return Drained::Done;
        };
        match self.drain_pipe(pipe) {
            Ok(Moved::Bytes(_)) => Drained::More,
            Ok(Moved::Empty) => Drained::Done,
            Ok(Moved::End) | Err(_) => {
                sys::close(pipe);
                self.pipe = None;
                Drained::Done
            }
        }
    }

    fn drain_pipe(&mut self, pipe: RawFd) -> sys::Result<Moved> {
        let room = self.cap - self.kept;
        if room == 0 || self.error.is_some() {
            let discarded = discard(pipe)?;
            self.truncated |= matches!(discarded, Moved::Bytes(_));
            return Ok(discarded);
        }
        let len = CHUNK.min(usize::try_from(room).unwrap_or(CHUNK));
        let moved = if self.unspliceable {
            sys::copy(pipe, self.file, len)
        } else {
            sys::splice(pipe, self.file, len)
        };
        match moved {
            Ok(Moved::Bytes(bytes)) => {
                self.kept += bytes;
                Ok(Moved::Bytes(bytes))
            }
            Ok(other) => Ok(other),
            Err(Errno::EINVAL) if !self.unspliceable => {
                self.unspliceable = true;
                self.drain_pipe(pipe)
            }
            Err(errno) => {
                self.error = Some(errno);
                self.drain_pipe(pipe)
            }
        }
    }

    pub(super) fn kept(&self) -> u64 {
        self.kept
    }

    pub(super) fn truncated(&self) -> bool {
        self.truncated && self.error.is_none()
    }

    pub(super) fn errno(&self) -> i32 {
        self.error.map_or(0, |errno| errno as i32)
    }
}

/// What [`Output::drain`] left.
#[derive(PartialEq, Eq)]
pub(super) enum Drained {
    /// There may be more at once.
    More,
    /// Nothing at the moment, or ever.
    Done,
}

fn discard(pipe: RawFd) -> sys::Result<Moved> {
    let mut buffer = [0_u8; 16 * 1024];
    match sys::read(pipe, &mut buffer) {
        Ok(0) => Ok(Moved::End),
        Ok(len) => Ok(Moved::Bytes(len as u64)),
        Err(Errno::EAGAIN) => Ok(Moved::Empty),
        Err(errno) => Err(errno),
    }
}
