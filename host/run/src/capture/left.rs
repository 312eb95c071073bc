//! What a run has left behind, for those that come after it: whether it can go on, where its output is, and whether a
//! directory is still the one that it had. All of it blocks.

use super::{
    ARTIFACTS, CaptureDirectory, DEFAULT_BASE, DIRECTORY, Fingerprint, ReadDeadline, checkpoint,
    collect::read_directory, finished, is_default_base, lock, name::directory_name, unrecorded,
};
use executor_runtime_protocol::{RuntimeInvocation, RuntimeResult};
use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, open, openat},
    sys::stat::{FileStat, Mode, SFlag, fstatat},
    unistd::{UnlinkatFlags, unlinkat},
};
use std::{
    ffi::{CString, OsStr},
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
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
    /// What it has come to, if it had ended, and that was to be recorded.
    pub result: Option<RuntimeResult>,
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
        result: directory.unrecorded_result(of),
        stdout_path,
        stderr_path,
    }
}

/// Removes what the run of an invocation has left to go on from, or that it had ended: that is recorded now. Blocks.
pub fn forget_left(invocation: &RuntimeInvocation) {
    let path = location(invocation);
    if let Ok(handle) = open_directory(&path)
        && lock(&handle, &path).is_ok()
    {
        let location = None;
        CaptureDirectory {
            path,
            handle,
            location,
        }
        .leave();
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

/// The capture directory of a run that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureMark {
    /// Where it is.
    pub path: PathBuf,
    /// Its [`marker`].
    pub marker: Vec<u8>,
    /// When the run had ended, in microseconds after 1970.
    pub ended_at: i64,
}

/// What became of a capture directory that was to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It is gone.
    Removed,
    /// What was added to it or changed after the run, and what the run has put beside its artifacts, is left.
    InPart,
    /// It is not there any more.
    Gone,
    /// It is another one, or a run has it.
    NotRemoved,
}

/// Removes the capture directory of a run that has ended, if it is still that one and no run has it. What the host and the
/// run have not left there stays.
///
/// # Errors
/// When something in it can't be removed.
pub fn remove_marked(capture: &CaptureMark, time: &ReadDeadline) -> io::Result<Removal> {
    let CaptureMark {
        path,
        marker,
        ended_at,
    } = capture;
    let missing = || match path.symlink_metadata() {
        Ok(_) => Removal::NotRemoved,
        Err(_) => Removal::Gone,
    };
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(Removal::NotRemoved);
    };
    let Ok(parent) = open(parent, DIRECTORY, Mode::empty()) else {
        return Ok(missing());
    };
    let flags = DIRECTORY | OFlag::O_NOFOLLOW;
    let Ok(directory) = openat(&parent, name, flags, Mode::empty()) else {
        return Ok(missing());
    };
    if marker_of(&directory)? != *marker || lock(&directory, path).is_err() {
        return Ok(Removal::NotRemoved);
    }
    if !remove_left(&directory, *ended_at, time)? {
        return Ok(Removal::InPart);
    }
    match unlinkat(&parent, name, UnlinkatFlags::RemoveDir) {
        Ok(()) => Ok(Removal::Removed),
        Err(Errno::ENOENT) => Ok(Removal::Gone),
        // Something was added at this moment.
        Err(Errno::ENOTEMPTY | Errno::EEXIST) => Ok(Removal::InPart),
        Err(errno) => Err(errno.into()),
    }
}

/// Removes what a run has left in its capture directory; tells whether that was all there is.
fn remove_left(directory: &OwnedFd, ended_at: i64, time: &ReadDeadline) -> nix::Result<bool> {
    const FILES: [&str; 8] = [
        STDOUT_FILE,
        STDERR_FILE,
        checkpoint::NAME,
        checkpoint::PARTIAL,
        finished::NAME,
        finished::PARTIAL,
        unrecorded::NAME,
        unrecorded::PARTIAL,
    ];
    let (directory, entries) = read_directory(openat(directory, ".", DIRECTORY, Mode::empty())?)?;
    let mut is_all = true;
    for (name, _) in entries {
        let name = OsStr::from_bytes(&name);
        is_all &= match name.to_str() {
            Some(ARTIFACTS) => remove_old(&directory, name, None, ended_at, time)?,
            Some(file) if FILES.contains(&file) => {
                let found = fstatat(&directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
                remove_old(&directory, name, Some(found), ended_at, time)?
            }
            _ => false,
        };
    }
    Ok(is_all)
}

/// Removes a file, or a directory with all that is in it, as far as it was not changed after this time; tells whether it is
/// gone. Links are not followed. `found` is what it is, unless it is a directory of the host's own.
fn remove_old(
    directory: &OwnedFd,
    name: &OsStr,
    found: Option<FileStat>,
    ended_at: i64,
    time: &ReadDeadline,
) -> nix::Result<bool> {
    if time.is_over() {
        return Err(Errno::ETIME);
    }
    let is_later = found.is_some_and(|found| changed_at(&found) > ended_at);
    if let Some(found) = found
        && SFlag::from_bits_truncate(found.st_mode & SFlag::S_IFMT.bits()) != SFlag::S_IFDIR
    {
        if !is_later {
            unlinkat(directory, name, UnlinkatFlags::NoRemoveDir)?;
        }
        return Ok(!is_later);
    }
    let inner = match openat(directory, name, DIRECTORY | OFlag::O_NOFOLLOW, Mode::empty()) {
        // Something else has taken its place.
        Err(Errno::ENOTDIR | Errno::ELOOP) => return Ok(false),
        opened => opened?,
    };
    let (inner, entries) = read_directory(inner)?;
    // It tells of a directory that is not empty only that something was added or removed.
    let mut is_all = !(is_later && entries.is_empty());
    for (entry, _) in entries {
        let entry = OsStr::from_bytes(&entry);
        let found = fstatat(&inner, entry, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        is_all &= remove_old(&inner, entry, Some(found), ended_at, time)?;
    }
    if is_all {
        unlinkat(directory, name, UnlinkatFlags::RemoveDir)?;
    }
    Ok(is_all)
}

/// When a file or its name was changed last, in microseconds after 1970: unlike other times, this can't be set.
fn changed_at(found: &FileStat) -> i64 {
    found
        .st_ctime
        .saturating_mul(1_000_000)
        .saturating_add(found.st_ctime_nsec / 1000)
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

    fn now() -> i64 {
        executor_runtime_protocol::Timestamp::now().unix_micros()
    }

    fn mark(path: &Path) -> CaptureMark {
        CaptureMark {
            path: path.to_owned(),
            marker: marker(path).unwrap(),
            ended_at: now(),
        }
    }

    #[test]
    fn only_the_directory_that_was_marked_is_removed() {
        let base = tempfile::tempdir().unwrap();
        let (path, other) = (base.path().join("run"), base.path().join("other"));
        let time = ReadDeadline::new(None, &crate::CancelToken::new());
        for directory in [&path, &other] {
            fs::create_dir_all(directory.join("artifacts/deep")).unwrap();
            fs::write(directory.join("artifacts/deep/file"), "x").unwrap();
        }
        let mark = mark(&path);
        let removed = || remove_marked(&mark, &time).unwrap();

        // Another directory in its place stays, and so does one that a link leads to, or that a run has.
        fs::rename(&path, base.path().join("away")).unwrap();
        assert_eq!(removed(), Removal::Gone);
        fs::rename(&other, &path).unwrap();
        assert_eq!(removed(), Removal::NotRemoved);
        fs::rename(&path, &other).unwrap();
        std::os::unix::fs::symlink(base.path().join("away"), &path).unwrap();
        assert_eq!(removed(), Removal::NotRemoved);
        fs::remove_file(&path).unwrap();
        fs::rename(base.path().join("away"), &path).unwrap();
        let held = open_directory(&path).unwrap();
        lock(&held, &path).unwrap();
        assert_eq!(removed(), Removal::NotRemoved);
        assert!(path.join("artifacts/deep/file").exists());
        drop(held);

        assert_eq!(removed(), Removal::Removed);
        assert!(!path.exists());
        assert!(other.join("artifacts/deep/file").exists());
        assert_eq!(removed(), Removal::Gone);
    }

    #[test]
    fn what_was_added_or_changed_later_is_left() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("run");
        let time = ReadDeadline::new(None, &crate::CancelToken::new());
        let artifacts = path.join("artifacts");
        fs::create_dir_all(artifacts.join("deep/deeper")).unwrap();
        let files = [
            "stdout.txt",
            "stderr.txt",
            "artifacts/a",
            "artifacts/deep/b",
            "artifacts/deep/deeper/c",
        ];
        for file in files {
            fs::write(path.join(file), "of the run").unwrap();
        }
        std::os::unix::fs::symlink("a", artifacts.join("link")).unwrap();
        let brought = base.path().join("brought");
        fs::write(&brought, "old").unwrap();
        // The clock of the file system ticks a few times a second only.
        let mark = mark(&path);
        while changed_at(&fstatat(nix::fcntl::AT_FDCWD, &brought, AtFlags::empty()).unwrap()) <= mark.ended_at
        {
            fs::set_permissions(&brought, fs::metadata(&brought).unwrap().permissions()).unwrap();
        }
        fs::write(path.join("notes"), "mine").unwrap();
        fs::rename(&brought, artifacts.join("deep/brought")).unwrap();
        fs::write(artifacts.join("a"), "edited").unwrap();
        fs::create_dir(artifacts.join("deep/empty")).unwrap();

        assert_eq!(remove_marked(&mark, &time).unwrap(), Removal::InPart);
        let mut left = Vec::new();
        walk(&path, &mut left);
        left.sort();
        let expected = [
            "artifacts",
            "artifacts/a",
            "artifacts/deep",
            "artifacts/deep/brought",
            "artifacts/deep/empty",
            "notes",
        ];
        assert_eq!(left, expected.map(|name| path.join(name)));
    }

    fn walk(path: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            }
            found.push(path);
        }
    }
}
