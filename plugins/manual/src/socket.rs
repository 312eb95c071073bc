//! One line of JSON each way over a Unix socket, with an eye on the request to stop.

use executor_runtime_sdk::{Context, protocol::MAX_DOCUMENT_BYTES};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket},
};
use std::{
    io::{self, ErrorKind, Read, Write},
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::UnixStream,
    },
    path::Path,
    time::Duration,
};

/// How long one wait lasts before it checks for the request to stop.
const SLICE: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(crate) enum Failed {
    /// The run is to stop.
    Interrupted,
    /// There is no connection, or it broke.
    Io { doing: &'static str, error: io::Error },
    /// The answer is longer than a document may be.
    TooLong,
}

/// Sends a document, which has no line break in it, and returns the line that comes back, or what there is of
/// it when the other side closes.
pub(crate) fn exchange(path: &Path, mut document: Vec<u8>, ctx: &Context) -> Result<Vec<u8>, Failed> {
    document.push(b'\n');
    let mut stream = open(path, ctx)?;
    send(&mut stream, &document, ctx)?;
    receive(&mut stream, ctx)
}

fn open(path: &Path, ctx: &Context) -> Result<UnixStream, Failed> {
    let failed = |errno: Errno| Failed::Io {
        doing: "no connection",
        error: errno.into(),
    };
    let address = UnixAddr::new(path).map_err(failed)?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let descriptor = socket(AddressFamily::Unix, SockType::Stream, flags, None).map_err(failed)?;
    loop {
        check(ctx)?;
        match connect(descriptor.as_raw_fd(), &address) {
            Ok(()) => return Ok(UnixStream::from(descriptor)),
            Err(Errno::EINTR) => {}
            // The listener's queue is full; there is no event for the room in it.
            Err(Errno::EAGAIN) => {
                if ctx.sleep(SLICE).is_stopped() {
                    return Err(Failed::Interrupted);
                }
            }
            Err(errno) => return Err(failed(errno)),
        }
    }
}

fn send(stream: &mut UnixStream, mut bytes: &[u8], ctx: &Context) -> Result<(), Failed> {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(len) => bytes = &bytes[len..],
            Err(error) => wait_after(
                error,
                stream,
                PollFlags::POLLOUT,
                "the invocation was not accepted",
                ctx,
            )?,
        }
    }
    Ok(())
}

fn receive(stream: &mut UnixStream, ctx: &Context) -> Result<Vec<u8>, Failed> {
    let mut answer = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(answer),
            Ok(len) => {
                let line_end = buffer[..len].iter().position(|&b| b == b'\n');
                answer.extend_from_slice(&buffer[..line_end.unwrap_or(len)]);
                if answer.len() > MAX_DOCUMENT_BYTES {
                    return Err(Failed::TooLong);
                }
                if line_end.is_some() {
                    return Ok(answer);
                }
                // A side that never stops sending must not keep the run from stopping.
                check(ctx)?;
            }
            Err(error) => wait_after(error, stream, PollFlags::POLLIN, "the connection was lost", ctx)?,
        }
    }
}

/// Waits until what `error` says was not possible is, unless it says something worse.
fn wait_after(
    error: io::Error,
    stream: &UnixStream,
    events: PollFlags,
    doing: &'static str,
    ctx: &Context,
) -> Result<(), Failed> {
    match error.kind() {
        ErrorKind::Interrupted => Ok(()),
        ErrorKind::WouldBlock => loop {
            check(ctx)?;
            let mut descriptors = [PollFd::new(stream.as_fd(), events)];
            let timeout = PollTimeout::try_from(SLICE).unwrap_or(PollTimeout::ZERO);
            match poll(&mut descriptors, timeout) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(()),
                Err(errno) => {
                    return Err(Failed::Io {
                        doing,
                        error: errno.into(),
                    });
                }
            }
        },
        _ => Err(Failed::Io { doing, error }),
    }
}

fn check(ctx: &Context) -> Result<(), Failed> {
    if ctx.stop_requested() {
        return Err(Failed::Interrupted);
    }
    Ok(())
}
