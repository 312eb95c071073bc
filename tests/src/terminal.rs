//! A host on a real terminal: its standard streams are a pty, whose other end a test reads.

use crate::Watchdog;
use std::{
    fs::File,
    io::Read,
    os::fd::{AsFd, FromRawFd, OwnedFd},
    process::Command,
    ptr,
};

/// Runs a command whose three streams are a terminal of this many columns; returns all that appears on it.
///
/// # Panics
/// When no terminal can be made, or the command does not end in time.
#[track_caller]
pub fn on_terminal(command: &mut Command, columns: u16) -> String {
    let (ours, theirs) = open(columns);
    let copy = || theirs.as_fd().try_clone_to_owned().expect("a descriptor is free");
    let mut child = command
        .stdin(copy())
        .stdout(copy())
        .stderr(copy())
        .spawn()
        .expect("it starts");
    // The command's copies go, too, so that the end of the terminal is seen.
    command.stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::null());
    command.stderr(std::process::Stdio::null());
    drop(theirs);
    let watchdog = Watchdog::over(&child);
    let mut shown = Vec::new();
    // A terminal whose last user is gone reads as an error on Linux.
    let _ = File::from(ours).read_to_end(&mut shown);
    child.wait().expect("it can be waited for");
    watchdog.assert_in_time();
    String::from_utf8_lossy(&shown).replace("\r\n", "\n")
}

fn open(columns: u16) -> (OwnedFd, OwnedFd) {
    let size = libc::winsize {
        ws_row: 24,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let (mut ours, mut theirs) = (-1, -1);
    // SAFETY: the descriptors are valid for writing, `size` for reading; name and settings are not given.
    let made = unsafe {
        libc::openpty(
            &raw mut ours,
            &raw mut theirs,
            ptr::null_mut(),
            ptr::null(),
            &raw const size,
        )
    };
    assert_eq!(made, 0, "no terminal: {}", std::io::Error::last_os_error());
    for descriptor in [ours, theirs] {
        // SAFETY: no memory is involved. A child that is started elsewhere at this moment is to have neither.
        unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    // SAFETY: `openpty` has made both, and no one else knows them.
    unsafe { (OwnedFd::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) }
}
