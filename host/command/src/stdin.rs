//! Our own stdin, as the input of a run: on request (`--stdin`), and with a note where it was forgotten.

use anyhow::{Context, Result, bail};
use executor_runtime::{ErrorKind, Failure};
use nix::{
    errno::Errno,
    fcntl::{OFlag, open},
    sys::stat::{Mode, SFlag, fstat},
};
use std::{
    env,
    fs::File,
    io::{self, IsTerminal},
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::Path,
};

/// Our stdin as a program is to read it.
///
/// A pipe or a file is passed on as it is: what the program leaves unread is there for the next one. A terminal is
/// opened again for reading, so that the program reads from it without a way to write past the capture.
pub(super) fn for_program() -> Result<OwnedFd> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        if is_in_background() {
            bail!(
                "--stdin: this command is in the background of its terminal, and can't read from it; run it in the \
                 foreground, or redirect its stdin"
            );
        }
        let flags = OFlag::O_RDONLY | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        if let Ok(reopened) = open("/proc/self/fd/0", flags, Mode::empty()) {
            return Ok(reopened);
        }
    }
    stdin
        .as_fd()
        .try_clone_to_owned()
        .context("--stdin: stdin can't be passed on")
}

/// Our stdin as a file that a plugin reads: it is read to its end first, into a file that has no name. Blocks.
///
/// # Errors
/// Why it can't be kept.
pub(super) fn as_payload() -> Result<File, Failure> {
    let directory = env::temp_dir();
    keep_stdin(&directory).map_err(|error| {
        Failure::of_exhaustion(&error).unwrap_or_else(|| {
            let place = directory.display();
            Failure::new(
                ErrorKind::InputNotFound,
                format!("--stdin: stdin can't be kept in '{place}': {error}"),
            )
        })
    })
}

fn keep_stdin(directory: &Path) -> io::Result<File> {
    let flags = OFlag::O_RDWR | OFlag::O_TMPFILE | OFlag::O_CLOEXEC;
    let mode = Mode::S_IRUSR | Mode::S_IWUSR;
    let mut file = File::from(open(directory, flags, mode)?);
    io::copy(&mut io::stdin().lock(), &mut file)?;
    Ok(file)
}

/// Whether a pipe or file is our stdin and has something in it at this moment. What is typed at a terminal is for
/// the shell.
pub(super) fn is_waiting() -> bool {
    let stdin = io::stdin();
    let Ok(status) = fstat(&stdin) else {
        return false;
    };
    match SFlag::from_bits_truncate(status.st_mode & SFlag::S_IFMT.bits()) {
        SFlag::S_IFIFO | SFlag::S_IFSOCK | SFlag::S_IFREG => {}
        _ => return false,
    }
    let mut unread: libc::c_int = 0;
    // SAFETY: `unread` is valid for writing, and what this request writes.
    let told = unsafe { libc::ioctl(stdin.as_raw_fd(), libc::FIONREAD, &raw mut unread) };
    told == 0 && unread > 0
}

/// Whether stdin is our controlling terminal, and another job has it.
fn is_in_background() -> bool {
    // SAFETY: neither call involves memory.
    unsafe {
        let foreground = libc::tcgetpgrp(io::stdin().as_raw_fd());
        foreground >= 0 && foreground != libc::getpgrp()
    }
}

/// How a terminal is set, to be put back: a program that was ended may have turned off the echo.
pub(super) struct TerminalSettings(libc::termios);

impl TerminalSettings {
    /// Those of our stdin, if it is a terminal.
    pub(super) fn of_stdin() -> Option<Self> {
        let mut settings = MaybeUninit::uninit();
        // SAFETY: `settings` is valid for writing.
        let told = unsafe { libc::tcgetattr(io::stdin().as_raw_fd(), settings.as_mut_ptr()) };
        Errno::result(told).ok()?;
        // SAFETY: the call has succeeded, and written it.
        Some(Self(unsafe { settings.assume_init() }))
    }
}

impl Drop for TerminalSettings {
    fn drop(&mut self) {
        // Another job may have made its own meanwhile; asking for ours would stop this process.
        if !is_in_background() {
            // SAFETY: the settings are valid for reading.
            unsafe { libc::tcsetattr(io::stdin().as_raw_fd(), libc::TCSADRAIN, &raw const self.0) };
        }
    }
}
