//! Artifacts that a plugin has begun and not finished.
//!
//! Until it is finished, an artifact has a name that no artifact can have. A run that comes to an end leaves none of these;
//! one whose host dies does. The run that goes on from its checkpoint may then go on with each at the length that it knows
//! of, and removes the others at its end.

use super::collect::open_inside;
use nix::{
    errno::Errno,
    fcntl::OFlag,
    sys::stat::{SFlag, fstat},
    unistd::{UnlinkatFlags, Whence, ftruncate, lseek, unlinkat},
};
use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
};

/// What the file of the artifact `name` is called until that is finished.
pub fn unfinished_name(name: &str) -> String {
    format!(".{name}.partial")
}

/// Whether a file in the artifacts directory is called as one that is not finished.
pub(super) fn is_unfinished(name: &[u8]) -> bool {
    name.starts_with(b".") && name.ends_with(b".partial")
}

/// Why a run can't go on with an artifact that an earlier one had begun.
#[derive(Debug, thiserror::Error)]
pub enum ReopenError {
    /// There is no earlier run.
    #[error(
        "artifact '{0}' can't be reopened: this run does not go on from an interrupted one, of which `resumed` has the \
         checkpoint; create it"
    )]
    NotResumed(String),
    /// The earlier run has not begun it, or has finished it.
    #[error(
        "artifact '{0}' can't be reopened: the interrupted run left none of this name unfinished; create it"
    )]
    Missing(String),
    /// It was shorter when the run was interrupted.
    #[error(
        "artifact '{name}' can't be reopened at {length} bytes: the interrupted run had written {written}"
    )]
    Shorter {
        /// Its name.
        name: String,
        /// Where it was to be reopened.
        length: u64,
        /// How long it is.
        written: u64,
    },
    /// The file is not one to write to.
    #[error("artifact '{name}' can't be reopened: {error}")]
    Unusable {
        /// Its name.
        name: String,
        /// Why not.
        error: io::Error,
    },
}

/// Opens the file of the unfinished artifact `name` to read and write, cut to its first `length` bytes and positioned after
/// them. Only a regular file that has no other name is written to.
///
/// # Errors
/// When there is no such file, or it is shorter.
pub fn reopen_unfinished(directory: &OwnedFd, name: &str, length: u64) -> Result<File, ReopenError> {
    let unusable = |error: io::Error| ReopenError::Unusable {
        name: name.to_owned(),
        error,
    };
    let missing = || ReopenError::Missing(name.to_owned());
    let opened = match open_inside(directory, &unfinished_name(name), OFlag::O_RDWR) {
        Ok(opened) => opened,
        Err(Errno::ENOENT | Errno::ELOOP) => return Err(missing()),
        Err(errno) => return Err(unusable(errno.into())),
    };
    let status = fstat(&opened).map_err(|errno| unusable(errno.into()))?;
    let kind = SFlag::from_bits_truncate(status.st_mode & SFlag::S_IFMT.bits());
    if kind != SFlag::S_IFREG || status.st_nlink != 1 {
        return Err(missing());
    }
    let written = status.st_size.unsigned_abs();
    let shorter = || ReopenError::Shorter {
        name: name.to_owned(),
        length,
        written,
    };
    let end = libc::off_t::try_from(length).map_err(|_| shorter())?;
    if length > written {
        return Err(shorter());
    }
    ftruncate(&opened, end)
        .and_then(|()| lseek(&opened, end, Whence::SeekSet))
        .map_err(|errno| unusable(errno.into()))?;
    Ok(File::from(opened))
}

/// Removes what was begun and not finished. A directory that is called so stays.
pub fn remove_unfinished(directory: &OwnedFd) {
    let entries = fs::read_dir(format!("/proc/self/fd/{}", directory.as_fd().as_raw_fd()));
    for entry in entries.into_iter().flatten().flatten() {
        let name = entry.file_name();
        if is_unfinished(name.as_bytes()) {
            let _ = unlinkat(directory, OsStr::new(&name), UnlinkatFlags::NoRemoveDir);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{Read, Seek, Write},
        os::unix::fs::symlink,
    };

    #[test]
    fn an_unfinished_artifact_is_cut_and_written_on() {
        let place = tempfile::tempdir().unwrap();
        let directory = OwnedFd::from(File::open(place.path()).unwrap());
        let partial = place.path().join(unfinished_name("a"));
        fs::write(&partial, "0123456789").unwrap();
        let mut file = reopen_unfinished(&directory, "a", 4).unwrap();
        file.write_all(b"xy").unwrap();
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "0123xy");
        assert_eq!(
            reopen_unfinished(&directory, "a", 6)
                .unwrap()
                .stream_position()
                .unwrap(),
            6
        );
    }

    #[test]
    fn what_is_missing_shorter_or_planted_is_not_reopened() {
        let place = tempfile::tempdir().unwrap();
        let directory = OwnedFd::from(File::open(place.path()).unwrap());
        let (at, other) = (
            |name: &str| place.path().join(unfinished_name(name)),
            place.path().join("other"),
        );
        fs::write(&other, "0123456789").unwrap();
        fs::write(at("short"), "0123").unwrap();
        symlink(&other, at("link")).unwrap();
        fs::hard_link(&other, at("second")).unwrap();
        fs::create_dir(at("directory")).unwrap();
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        for (name, words) in [
            ("none", "the interrupted run left none of this name unfinished"),
            (
                "short",
                "can't be reopened at 5 bytes: the interrupted run had written 4",
            ),
            ("link", "left none"),
            ("second", "left none"),
            ("directory", "Is a directory"),
            ("pipe", "left none"),
        ] {
            let error = reopen_unfinished(&directory, name, 5).unwrap_err().to_string();
            assert!(error.contains(words), "{name}: {error}");
        }
        assert!(reopen_unfinished(&directory, "short", u64::MAX).is_err());
        assert_eq!(fs::read_to_string(&other).unwrap(), "0123456789");
        remove_unfinished(&directory);
        let mut left: Vec<_> = fs::read_dir(place.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, [".directory.partial", "other"]);
    }
}
