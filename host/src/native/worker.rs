//! The hidden mode of the executable: the template process of one plugin.

use super::{child, library};
use crate::supervisor::serve_entry;
use nix::sys::socket::{MsgFlags, send};
use std::{
    ffi::OsString,
    io::{self, Write},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    path::Path,
    process::ExitCode,
};

/// The first argument that asks for this mode. It is not for people.
pub const WORKER_MODE: &str = "__native-plugin";

/// The template's first message: the library is loaded.
pub(super) const READY: u8 = b'R';
/// The template's first message: it is not, for the reason that follows.
pub(super) const REFUSED: u8 = b'E';
/// The longest first message.
pub(super) const MAX_HELLO: usize = 4096;

/// Where the host's socket is.
const HOST: i32 = 3;

/// Becomes the template if the arguments (without the program's name) ask for it; None otherwise.
///
/// The host's `main` calls it first thing. A program that embeds the library and runs native plugins does too:
/// the library starts the program's own executable again.
///
/// ```
/// fn main() -> std::process::ExitCode {
///     if let Some(code) = executor_runtime::native::worker_main(std::env::args_os().skip(1)) {
///         return code;
///     }
///     // The program itself.
///     std::process::ExitCode::SUCCESS
/// }
/// ```
pub fn worker_main(mut arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    if arguments.next()? != WORKER_MODE {
        return None;
    }
    let Some(path) = arguments.next() else {
        return Some(usage());
    };
    // SAFETY: the host passes the socket as this descriptor, and nobody else in this process knows it. If it
    // is not there, sending fails.
    let host = unsafe { OwnedFd::from_raw_fd(HOST) };
    let loaded = library::load(Path::new(&path));
    let mut hello = Vec::with_capacity(MAX_HELLO);
    match &loaded {
        Ok(_) => hello.push(READY),
        Err(reason) => {
            hello.push(REFUSED);
            hello.extend_from_slice(reason.as_bytes());
            hello.truncate(MAX_HELLO);
        }
    }
    if send(host.as_raw_fd(), &hello, MsgFlags::MSG_NOSIGNAL).is_err() {
        return Some(usage());
    }
    match loaded {
        Ok(plugin) => {
            child::hold(plugin);
            serve_entry(host, child::main)
        }
        Err(_) => Some(ExitCode::FAILURE),
    }
}

fn usage() -> ExitCode {
    // Without a stderr there is no one to tell.
    let _ = writeln!(
        io::stderr(),
        "{WORKER_MODE} is how the host runs native plugins; it can't be used by hand"
    );
    ExitCode::from(2)
}
