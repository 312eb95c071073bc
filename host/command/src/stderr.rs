//! Log lines on a stderr that may have no reader, and the line below them that tells progress.
//!
//! A caller that gives the host a pipe and does not read it is common, and a pipe holds 64 KiB: a plugin that logs
//! more must not hold up its host. So a line is written only as far as there is room; one that finds none in time
//! is left out, and the next that is written says how many were.

use super::style;
use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal, Write},
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt},
    sync::{Mutex, OnceLock, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// How long the first line without room waits for a reader that is only slow.
const WRITE_TIMEOUT: Duration = Duration::from_millis(100);

/// How long to wait for a terminal that has too little room.
const PAUSE: Duration = Duration::from_millis(1);

/// What a pipe that has room at all takes without blocking (POSIX: `PIPE_BUF` on Linux).
const PIECE: usize = 4096;

/// Where the log is written, a line at a time.
#[derive(Clone, Copy, Debug)]
pub struct BoundedStderr;

static STATE: Mutex<State> = Mutex::new(State {
    left_out: 0,
    within_line: false,
    status: String::new(),
});

struct State {
    /// Lines that were left out, all or their end, since the last that was written.
    left_out: u64,
    /// Whether what was written last ends within a line.
    within_line: bool,
    /// The last line on the terminal, if it tells progress.
    status: String,
}

/// Shows `line`, which fits on one, in place of what it showed before; not at all if the terminal is held.
pub fn show_status(line: &str) {
    STATE.lock().unwrap_or_else(PoisonError::into_inner).status(line);
}

/// Takes that line away.
pub fn clear_status() {
    show_status("");
}

impl Write for BoundedStderr {
    /// Takes a line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
        state.line(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl State {
    fn status(&mut self, line: &str) {
        if self.status.is_empty() && line.is_empty() {
            return;
        }
        let mut text = match style::width(&self.status) {
            0 => String::new(),
            columns => style::stderr().cleared(columns),
        };
        text.push_str(line);
        if self.put(text.as_bytes(), Instant::now()) {
            line.clone_into(&mut self.status);
            // The next line of the log clears it.
            self.within_line = false;
        }
    }

    /// Writes a line of the log, above the one that tells progress.
    fn line(&mut self, line: &[u8]) {
        let status = self.status.clone();
        self.status("");
        self.log(line);
        self.status(&status);
    }

    fn log(&mut self, line: &[u8]) {
        // Once a reader kept it waiting, it does not wait again until there is room.
        let timeout = if self.left_out == 0 {
            WRITE_TIMEOUT
        } else {
            Duration::ZERO
        };
        let until = Instant::now() + timeout;
        if self.left_out > 0 {
            let end = if self.within_line { "\n" } else { "" };
            let note = format!(
                "{end}({} log lines were dropped because stderr was not being read)\n",
                self.left_out
            );
            if !self.put(note.as_bytes(), until) {
                self.left_out += 1;
                return;
            }
            self.left_out = 0;
        }
        if !self.put(line, until) {
            self.left_out += 1;
        }
    }

    /// Whether all of `bytes` was written.
    fn put(&mut self, mut bytes: &[u8], until: Instant) -> bool {
        let terminal = terminal();
        while !bytes.is_empty() {
            if !has_room(io::stderr().as_raw_fd(), until) {
                return false;
            }
            let piece = &bytes[..bytes.len().min(PIECE)];
            let written = match terminal {
                Some(mut terminal) => terminal.write(piece),
                None => io::stderr().write(piece),
            };
            match written {
                Ok(0) => return false,
                Ok(written) => {
                    self.within_line = bytes[written - 1] != b'\n';
                    bytes = &bytes[written..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if Instant::now() >= until {
                        return false;
                    }
                    thread::sleep(PAUSE);
                }
                Err(_) => return false,
            }
        }
        true
    }
}

/// Stderr, if it is a terminal, opened once more so that writing never blocks: a terminal that has some room may have
/// less than is written.
fn terminal() -> Option<&'static File> {
    static TERMINAL: OnceLock<Option<File>> = OnceLock::new();
    let open = || {
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
        let mut options = OpenOptions::new();
        options.write(true).custom_flags(flags);
        options.open("/proc/self/fd/2").ok()
    };
    TERMINAL
        .get_or_init(|| io::stderr().is_terminal().then(open).flatten())
        .as_ref()
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
