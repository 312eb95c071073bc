//! What the host and the executor of a last will say to each other: JSON in frames, four bytes of length first, little
//! endian. With the first byte of an order comes the program, if there is one.

use super::super::rights;
use serde::{Deserialize, Serialize};
use std::{
    io::{self, Read, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
};

/// The longest frame.
pub(super) const MAX_FRAME: usize = 1 << 20;

/// What the executor is to do. It answers each.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    /// Run this command at the end, in place of the one before. Its program comes with it.
    Leave(Vec<String>),
    /// Run none.
    Withdraw,
}

/// What came of an order; or, when the plugin's process has ended, of the will.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    Done,
    /// Why not.
    Refused(String),
    /// Why not yet: the executor runs the command again, and says no more.
    Later(String),
}

/// As a frame.
pub(super) fn encode(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(message)?;
    if json.len() > MAX_FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is too long"));
    }
    let length = u32::try_from(json.len()).map_err(io::Error::other)?;
    Ok([&length.to_le_bytes()[..], &json].concat())
}

/// Writes one frame.
pub(super) fn send(stream: &mut UnixStream, message: &impl Serialize) -> io::Result<()> {
    stream.write_all(&encode(message)?)
}

/// Reads one frame, and what came with it.
pub(super) fn receive<T: for<'de> Deserialize<'de>>(
    stream: &mut UnixStream,
) -> io::Result<(T, Option<OwnedFd>)> {
    let (first, mut fds) = rights::receive(stream)?;
    let mut length = [first, 0, 0, 0];
    stream.read_exact(&mut length[1..])?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_FRAME {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut json = vec![0; length];
    stream.read_exact(&mut json)?;
    Ok((serde_json::from_slice(&json)?, fds.pop()))
}
