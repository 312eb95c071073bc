//! The hidden modes of the executable: the template process of one plugin, and the executor of a last will.

use super::{child, last_will, library, rights};
use executor_runtime_protocol::native::PluginRef;
use executor_runtime_supervisor::serve_entry;
use nix::sys::socket::{MsgFlags, send};
use std::{
    ffi::OsString,
    fs,
    io::{self, Write},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    path::{Path, PathBuf},
    process::ExitCode,
};

/// The first argument that asks for this mode. It is not for people.
pub const WORKER_MODE: &str = "__native-plugin";

/// The host's first message. The library is attached to it.
pub(super) const LIBRARY: u8 = b'L';

/// The template's first message: the library is loaded.
pub(super) const READY: u8 = b'R';
/// The template's first message: it is not, for the reason that follows.
pub(super) const REFUSED: u8 = b'E';
/// The longest first message.
pub(super) const MAX_HELLO: usize = 4096;

/// Where the host's socket is.
const HOST: i32 = 3;

/// Becomes the template, or the executor of a last will, if the arguments (without the program's name) ask for it; None otherwise.
///
/// The host's `main` calls it first thing. A program that embeds the library and runs native plugins does too:
/// the library starts the program's own executable again.
///
/// ```
/// fn main() -> std::process::ExitCode {
///     if let Some(code) = executor_runtime_native::worker_main(std::env::args_os().skip(1)) {
///         return code;
///     }
///     // The program itself.
///     std::process::ExitCode::SUCCESS
/// }
/// ```
pub fn worker_main(mut arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let mode = arguments.next()?;
    if mode == last_will::EXECUTOR_MODE {
        return Some(last_will::main());
    }
    if mode != WORKER_MODE {
        return None;
    }
    let Some(path) = arguments.next() else {
        return Some(usage());
    };
    // SAFETY: the host passes the socket as this descriptor, and nothing else in this process uses it. If it
    // is not there, sending fails.
    let host = unsafe { OwnedFd::from_raw_fd(HOST) };
    let Ok(library) = receive_library(&host) else {
        return Some(usage());
    };
    let loaded = load(&library, Path::new(&path));
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
            serve_entry(host, library, child::main)
        }
        Err(_) => Some(ExitCode::FAILURE),
    }
}

/// Loads the open library, which is a copy of the file at `path`.
fn load(library: &OwnedFd, path: &Path) -> Result<PluginRef, String> {
    // The loader keeps this name, and what prints a stack trace opens it, in children too. So it names this process,
    // which keeps the descriptor: `/proc/self` would be another process there.
    let this = fs::read_link("/proc/self").unwrap_or_else(|_| PathBuf::from("self"));
    let loaded_as = Path::new("/proc")
        .join(this)
        .join(format!("fd/{}", library.as_raw_fd()));
    library::load(&loaded_as).map_err(|reason| {
        let (loaded_as, path) = (loaded_as.to_string_lossy(), path.to_string_lossy());
        reason.replace(&*loaded_as, &path)
    })
}

/// The library that comes with the host's first message.
fn receive_library(host: &OwnedFd) -> io::Result<OwnedFd> {
    let (_, mut libraries) = rights::receive(host)?;
    libraries.pop().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

fn usage() -> ExitCode {
    // Without a stderr there is no one to tell.
    let _ = writeln!(
        io::stderr(),
        "{WORKER_MODE} is for internal use only: the host runs native plugins with it"
    );
    ExitCode::from(2)
}
