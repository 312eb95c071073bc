//! The child's end of the channel.

use super::{
    super::{
        rights,
        wire::{MAX_ANSWER, MAX_FRAME, Message, Request},
    },
    artifacts::Artifacts,
};
use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{FromRawFd, OwnedFd, RawFd},
    sync::{Mutex, PoisonError},
};

/// Where the supervisor puts it.
const CHANNEL: RawFd = 3;

/// What a run knows of its host.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) request: Request,
    /// Readable once the run is asked to stop.
    pub(super) stop: OwnedFd,
    /// The write end of a pipe: its closing tells that this process has ended. Closed on exec.
    _life: OwnedFd,
    pub(super) input: Option<File>,
    pub(super) artifacts: Mutex<Artifacts>,
    channel: Mutex<File>,
}

impl Link {
    /// Reads the request; None if the host is gone.
    pub(super) fn accept() -> Option<Self> {
        // SAFETY: the supervisor has placed the channel here, and nothing else in this process uses it.
        let mut channel = unsafe { File::from_raw_fd(CHANNEL) };
        let (first, fds) = rights::receive(&channel).ok()?;
        let mut length = [first, 0, 0, 0];
        channel.read_exact(&mut length[1..]).ok()?;
        let length = u32::from_le_bytes(length) as usize;
        if length > MAX_FRAME {
            return None;
        }
        let mut json = vec![0; length];
        channel.read_exact(&mut json).ok()?;
        let request: Request = serde_json::from_slice(&json).ok()?;
        let mut fds = fds.into_iter();
        let stop = fds.next()?;
        let life = fds.next()?;
        let directory = match request.no_artifacts {
            None => Some(fds.next()?),
            Some(_) => None,
        };
        let input = if request.has_input {
            Some(fds.next()?.into())
        } else {
            None
        };
        Some(Self {
            artifacts: Mutex::new(Artifacts::new(directory, &request)),
            request,
            stop,
            _life: life,
            input,
            channel: Mutex::new(channel),
        })
    }

    /// Sends a message; blocks while the host has not read what was sent before.
    pub(super) fn say(&self, message: &Message) -> io::Result<()> {
        let mut channel = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        send(&mut channel, message)
    }

    /// Sends a message that the host answers, and waits for the answer.
    pub(super) fn ask(&self, message: &Message) -> io::Result<Result<(), String>> {
        let mut channel = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        send(&mut channel, message)?;
        let mut length = [0; 4];
        channel.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > MAX_ANSWER {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut reason = vec![0; length];
        channel.read_exact(&mut reason)?;
        Ok(match reason.as_slice() {
            [] => Ok(()),
            reason => Err(String::from_utf8_lossy(reason).into_owned()),
        })
    }
}

fn send(channel: &mut File, message: &Message) -> io::Result<()> {
    let json = serde_json::to_vec(message)?;
    let length = u32::try_from(json.len()).map_err(io::Error::other)?;
    channel.write_all(&length.to_le_bytes())?;
    channel.write_all(&json)
}
