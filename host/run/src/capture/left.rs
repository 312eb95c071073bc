//! What a run has left behind, for those that come after it: whether it can go on, where its output is, and whether a
//! directory is still the one that it had. All of it blocks.

use super::{
    ARTIFACTS, CaptureDirectory, DEFAULT_BASE, DIRECTORY, Fingerprint, ReadDeadline, is_default_base, lock,
    name::directory_name, remove_tree_at,
};
use executor_runtime_protocol::RuntimeInvocation;
use nix::{
    errno::Errno,
    fcntl::{OFlag, open},
    sys::stat::Mode,
};
use std::{
    ffi::CString,
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

/// The file in a capture directory that a run's standard output is kept in.
pub const STDOUT_FILE: &str = "stdout.txt";
/// The file that its standard error is kept in.
pub const STDERR_FILE: &str = "stderr.txt";

/// What a run that its host did not see the end of has left.
#[derive(Clone, Debug, Default)]
pub struct Left {
    /// It left a checkpoint, and can go on from it.
    pub can_resume: bool,
    /// Its output so far.
    pub stdout_path: Option<String>,
    /// The same of the other stream.
    pub stderr_path: Option<String>,
}

/// Where the capture directory of an invocation is, or would be.
pub fn location(invocation: &RuntimeInvocation) -> PathBuf {
    let base = match &invocation.artifact_directory {
        Some(directory) if !is_default_base(directory, invocation) => PathBuf::from(directory),
        _ => Path::new(&invocation.working_directory).join(DEFAULT_BASE),
    };
    let base = std::path::absolute(&base).unwrap_or(base);
    base.join(directory_name(&invocation.invocation_id))
}

/// What a run of an invocation, which asks for `of`, has left.
pub fn left_by(invocation: &RuntimeInvocation, of: Fingerprint) -> Left {
    let path = location(invocation);
    let Ok(handle) = open_directory(&path) else {
        return Left::default();
    };
    let file = |name| {
        let opened = super::open_regular_at(&handle, name).ok().flatten();
        opened.map(|_| path.join(name).to_string_lossy().into_owned())
    };
    let (stdout_path, stderr_path) = (file(STDOUT_FILE), file(STDERR_FILE));
    let directory = CaptureDirectory {
        path,
        handle,
        location: None,
    };
    Left {
        can_resume: directory.checkpoint(of).is_some(),
        stdout_path,
        stderr_path,
    }
}

/// Whether a run of an invocation, or what is left of one, has its capture directory.
pub fn is_held(invocation: &RuntimeInvocation) -> bool {
    let path = location(invocation);
    open_directory(&path).is_ok_and(|directory| lock(&directory, &path).is_err())
}

/// What tells a directory, as a run has left it, from any other that is at the same path later, and from itself after another
/// run: file system, inode, and when it was made (as far as the file system knows that) of the directory, and of what each
/// run makes anew in it.
///
/// # Errors
/// When there is no directory.
pub fn marker(path: &Path) -> io::Result<Vec<u8>> {
    marker_of(&open_directory(path)?)
}

/// Removes the capture directory at `path` if it is the one with this marker and no run has it; tells whether it did.
///
/// # Errors
/// When something in it can't be removed.
pub fn remove_marked(path: &Path, marker: &[u8], time: &ReadDeadline) -> io::Result<bool> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(false);
    };
    let Ok(parent) = open(parent, DIRECTORY, Mode::empty()) else {
        return Ok(false);
    };
    let flags = DIRECTORY | OFlag::O_NOFOLLOW;
    let Ok(directory) = nix::fcntl::openat(&parent, name, flags, Mode::empty()) else {
        return Ok(false);
    };
    if marker_of(&directory)? != marker || lock(&directory, path).is_err() {
        return Ok(false);
    }
    match remove_tree_at(&parent, name, time) {
        Ok(()) => Ok(true),
        Err(Errno::ENOENT) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

fn open_directory(path: &Path) -> nix::Result<OwnedFd> {
    open(path, DIRECTORY | OFlag::O_NOFOLLOW, Mode::empty())
}

fn marker_of(directory: &OwnedFd) -> io::Result<Vec<u8>> {
    let mut marker = identity(directory, "")?;
    for made_anew in [STDOUT_FILE, ARTIFACTS] {
        // Not every run has one.
        marker.extend(identity(directory, made_anew).unwrap_or_default());
    }
    Ok(marker)
}

/// What tells one file from another; of the directory itself if `name` is empty.
fn identity(directory: &OwnedFd, name: &str) -> io::Result<Vec<u8>> {
    let name = CString::new(name)?;
    // SAFETY: all of it being zero is a valid value.
    let mut found: libc::statx = unsafe { std::mem::zeroed() };
    // SAFETY: `name` is a string that ends in NUL, and `found` is valid for writing.
    let done = unsafe {
        libc::statx(
            directory.as_raw_fd(),
            name.as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW,
            libc::STATX_INO | libc::STATX_BTIME,
            &raw mut found,
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    let has_birth = found.stx_mask & libc::STATX_BTIME != 0;
    let (seconds, nanoseconds) = if has_birth {
        (found.stx_btime.tv_sec, found.stx_btime.tv_nsec)
    } else {
        (0, 0)
    };
    Ok([
        &found.stx_dev_major.to_le_bytes()[..],
        &found.stx_dev_minor.to_le_bytes(),
        &found.stx_ino.to_le_bytes(),
        &seconds.to_le_bytes(),
        &nanoseconds.to_le_bytes(),
    ]
    .concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn only_the_directory_that_was_marked_is_removed() {
        let base = tempfile::tempdir().unwrap();
        let (path, other) = (base.path().join("run"), base.path().join("other"));
        let time = ReadDeadline::new(None, &crate::CancelToken::new());
        for directory in [&path, &other] {
            fs::create_dir_all(directory.join("artifacts/deep")).unwrap();
            fs::write(directory.join("artifacts/deep/file"), "x").unwrap();
        }
        let marker = marker(&path).unwrap();

        // Another directory in its place stays, and so does one that a link leads to, or that a run has.
        fs::rename(&path, base.path().join("away")).unwrap();
        fs::rename(&other, &path).unwrap();
        assert!(!remove_marked(&path, &marker, &time).unwrap());
        fs::rename(&path, &other).unwrap();
        std::os::unix::fs::symlink(base.path().join("away"), &path).unwrap();
        assert!(!remove_marked(&path, &marker, &time).unwrap());
        fs::remove_file(&path).unwrap();
        fs::rename(base.path().join("away"), &path).unwrap();
        let held = open_directory(&path).unwrap();
        lock(&held, &path).unwrap();
        assert!(!remove_marked(&path, &marker, &time).unwrap());
        assert!(path.join("artifacts/deep/file").exists());
        drop(held);

        assert!(remove_marked(&path, &marker, &time).unwrap());
        assert!(!path.exists());
        assert!(other.join("artifacts/deep/file").exists());
        assert!(!remove_marked(&path, &marker, &time).unwrap());
    }
}
