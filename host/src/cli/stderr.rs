//! Log lines on a stderr that may have no reader.
//!
//! A caller that gives the host a pipe and does not read it is common, and a pipe holds 64 KiB: a plugin that logs
//! more must not hold up its host. So a line is written only as far as there is room; one that finds none in time
//! is left out, and the next that is written says how many were.

use std::{
    io::{self, Write},
    os::fd::AsRawFd,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long the first line without room waits for a reader that is only slow.
const PATIENCE: Duration = Duration::from_millis(100);

/// What a pipe that has room at all takes without blocking (POSIX: `PIPE_BUF` on Linux).
const PIECE: usize = 4096;

/// Where the log is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct PatientStderr;

/// Lines that were left out since the last that was written.
static LEFT_OUT: Mutex<u64> = Mutex::new(0);

impl Write for PatientStderr {
    /// Takes a whole line, or none of it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut left_out = LEFT_OUT.lock().unwrap_or_else(PoisonError::into_inner);
        // Once a reader kept it waiting, it does not wait again until there is room.
        let until = Instant::now() + if *left_out == 0 { PATIENCE } else { Duration::ZERO };
        let written = match *left_out {
            0 => put(line, until),
            count => {
                put(
                    format!("({count} log lines were left out: nobody read them)\n").as_bytes(),
                    until,
                ) && {
                    *left_out = 0;
                    put(line, until)
                }
            }
        };
        if !written {
            *left_out += 1;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether all of `bytes` was written.
fn put(mut bytes: &[u8], until: Instant) -> bool {
    let mut stderr = io::stderr();
    while !bytes.is_empty() {
        if !has_room(stderr.as_raw_fd(), until) {
            return false;
        }
        match stderr.write(&bytes[..bytes.len().min(PIECE)]) {
            Ok(0) => return false,
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
    true
}

fn has_room(descriptor: i32, until: Instant) -> bool {
    let mut poll = libc::pollfd {
        fd: descriptor,
        events: libc::POLLOUT,
        revents: 0,
    };
    let left = until.saturating_duration_since(Instant::now());
    // SAFETY: `poll` is one valid entry for the length of the call.
    let ready = unsafe { libc::poll(&raw mut poll, 1, left.as_millis() as i32) };
    ready == 1
}
