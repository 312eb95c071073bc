//! Our stdin, stdout and stderr where they may be shared: another process can have made what a pipe or a terminal is to all
//! who have it non-blocking, and what has no room or nothing to read at the moment is waited for.

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd,
};
use std::{
    io::{self, Read, Write},
    os::fd::AsFd,
};

/// Our stdin.
pub struct Stdin;

impl Read for Stdin {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let stdin = io::stdin();
        waiting(&stdin, PollFlags::POLLIN, || stdin.lock().read(into))
    }
}

/// Our stdout, without a buffer. Unlike the standard library's it tells that it is closed.
pub struct Stdout;

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write(io::stdout(), bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The same of our stderr.
pub struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write(io::stderr(), bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write(stream: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    waiting(&stream, PollFlags::POLLOUT, || {
        unistd::write(&stream, bytes).map_err(|errno| match errno {
            Errno::EBADF => io::Error::other("it is closed"),
            errno => errno.into(),
        })
    })
}

/// Does it as soon as it can be done.
fn waiting(
    stream: &impl AsFd,
    ready: PollFlags,
    mut act: impl FnMut() -> io::Result<usize>,
) -> io::Result<usize> {
    loop {
        match act() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut awaited = [PollFd::new(stream.as_fd(), ready)];
                match poll(&mut awaited, PollTimeout::NONE) {
                    Ok(_) | Err(Errno::EINTR) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
            done => return done,
        }
    }
}
