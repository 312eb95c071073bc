//! How a child is asked to stop.

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

/// The host's end of the request.
///
/// It is a counter that both have, and no pipe: where a host is killed, the child is not asked, for the time until its
/// supervisor ends it. Else it would have told a backend to cancel a run that is to be gone on with.
#[derive(Debug)]
pub(super) struct StopRequest(OwnedFd);

impl StopRequest {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: its arguments are numbers.
        match unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) } {
            -1 => Err(io::Error::last_os_error()),
            // SAFETY: the kernel has just made it for this process.
            number => Ok(Self(unsafe { OwnedFd::from_raw_fd(number) })),
        }
    }

    /// What the child has, which becomes readable with the request.
    pub(super) fn for_child(&self) -> io::Result<OwnedFd> {
        self.0.try_clone()
    }

    pub(super) fn send(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: the descriptor is open, and the bytes are those of `one`. It can't fail: the counter is far from full, and
        // if the child has filled it, it is readable.
        unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }
}

impl Drop for StopRequest {
    /// A run that nobody waits for any more is over.
    fn drop(&mut self) {
        self.send();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;

    fn is_asked(child: &OwnedFd) -> bool {
        let mut descriptors = [PollFd::new(child.as_fd(), PollFlags::POLLIN)];
        poll(&mut descriptors, PollTimeout::ZERO) == Ok(1)
    }

    #[test]
    fn the_child_is_asked_and_stays_so() {
        let request = StopRequest::new().unwrap();
        let child = request.for_child().unwrap();
        assert!(!is_asked(&child));
        request.send();
        assert!(is_asked(&child) && is_asked(&child));

        let request = StopRequest::new().unwrap();
        let child = request.for_child().unwrap();
        drop(request);
        assert!(is_asked(&child));
    }

    #[test]
    fn a_host_that_dies_asks_for_nothing() {
        let request = StopRequest::new().unwrap();
        let child = request.for_child().unwrap();
        // As the kernel closes it: nothing of the host runs any more.
        let descriptor = request.0.as_raw_fd();
        std::mem::forget(request);
        nix::unistd::close(descriptor).unwrap();
        assert!(!is_asked(&child));
    }
}
