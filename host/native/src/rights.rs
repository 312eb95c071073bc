//! Descriptors that travel with a byte over a Unix socket.

use super::wire::MAX_REQUEST_FDS;
use nix::{
    cmsg_space,
    sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg},
};
use std::{
    io::{self, IoSlice, IoSliceMut},
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
};
use tokio::{io::Interest, net::UnixStream};

/// Sends one byte, with descriptors attached to it.
pub(super) fn send(socket: &impl AsRawFd, byte: u8, fds: &[OwnedFd]) -> io::Result<()> {
    let fds: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    sendmsg::<()>(
        socket.as_raw_fd(),
        &[IoSlice::new(&[byte])],
        &[ControlMessage::ScmRights(&fds)],
        MsgFlags::MSG_NOSIGNAL,
        None,
    )?;
    Ok(())
}

/// The same on a socket that never blocks.
pub(super) async fn send_when_writable(socket: &UnixStream, byte: u8, fds: &[OwnedFd]) -> io::Result<()> {
    loop {
        socket.writable().await?;
        match socket.try_io(Interest::WRITABLE, || send(socket, byte, fds)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            sent => return sent,
        }
    }
}

/// Receives one byte, with the descriptors that are attached to it.
pub(super) fn receive(socket: &impl AsRawFd) -> io::Result<(u8, Vec<OwnedFd>)> {
    let mut byte = [0];
    let mut control = cmsg_space!([RawFd; MAX_REQUEST_FDS]);
    let mut parts = [IoSliceMut::new(&mut byte)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let received = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    let mut fds = Vec::new();
    for message in received.cmsgs()? {
        if let ControlMessageOwned::ScmRights(rights) = message {
            // SAFETY: the kernel has just made them for this process.
            fds.extend(rights.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    match received.bytes {
        1 => Ok((byte[0], fds)),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
