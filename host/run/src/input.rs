//! The input payload of a run.

use crate::{ErrorKind, Failure};
use nix::{
    errno::Errno,
    fcntl::{OFlag, open},
    sys::stat::{Mode, SFlag, fstat},
};
use std::{os::fd::OwnedFd, path::PathBuf};

/// Opens the payload at `path`; returns it with its absolute path.
///
/// # Errors
/// `input_not_found`, or `host_exhausted` where no descriptor is left.
pub fn input_payload(path: &str) -> Result<(OwnedFd, PathBuf), Failure> {
    let unusable = |reason: &str| {
        Failure::new(
            ErrorKind::InputNotFound,
            format!("input payload '{}' {reason}", path.escape_debug()),
        )
    };
    // Non-blocking, because opening a pipe without a writer would block.
    let file = open(
        path,
        OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK,
        Mode::empty(),
    )
    .map_err(|errno| match errno {
        Errno::ENOENT if path == "-" => unusable(
            "does not exist; '-' does not mean stdin here: write the input to a file, and give its path",
        ),
        Errno::ENOENT | Errno::ENOTDIR => unusable("does not exist"),
        Errno::EACCES => unusable("may not be read by this user"),
        Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM => Failure::exhausted(&errno.into()),
        errno => unusable(&format!("can't be opened: {}", errno.desc().to_lowercase())),
    })?;
    let status = fstat(&file).map_err(|errno| unusable(errno.desc()))?;
    match SFlag::from_bits_truncate(status.st_mode & SFlag::S_IFMT.bits()) {
        SFlag::S_IFREG => {}
        SFlag::S_IFDIR => return Err(unusable("is a directory, not a file")),
        SFlag::S_IFCHR if path == "/dev/null" => {}
        _ => return Err(unusable("is not a regular file")),
    }
    let path = std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
    Ok((file, path))
}
