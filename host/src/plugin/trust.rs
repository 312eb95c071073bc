//! Who could have written a plugin file, or the configuration.
//!
//! A plugin is code that the host runs, and a native one runs with all that this user may do; the configuration says
//! what may be done at all. So a file counts only if no one but root and this user can change it or put another in
//! its place: the file and every directory above it belong to one of the two and have no write permission for group
//! or others. A sticky directory (such as `/tmp`) is fine above what is ours, because others can't rename what is in
//! it. The directory of a plugin can't be one all the same: others could add plugins.

use super::Unusable;
use nix::{
    sys::stat::{FileStat, fstat, stat},
    unistd::Uid,
};
use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

const WRITABLE: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Opens a regular file that no one else could have changed, and never hangs on what is none. Returns its path
/// without links, too: who could put another file there is left to check.
pub(super) fn open_file(path: &Path) -> Result<(File, PathBuf), Unusable> {
    let unreadable = |error: io::Error| Unusable::unreadable(&error);
    let real = path.canonicalize().map_err(unreadable)?;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(&real)
        .map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(Unusable::NotAFile);
    }
    check(&real, &fstat(&file).map_err(|errno| unreadable(errno.into()))?)?;
    Ok((file, real))
}

/// Opens a file that is named by itself, as the configuration is: no one else could have changed it, or have put it
/// there.
pub(crate) fn open_named_file(path: &Path) -> Result<File, Unusable> {
    let (file, real) = open_file(path)?;
    check_ancestors(&real)?;
    Ok(file)
}

/// Checks whether files in a directory could be used, as far as the directory and all above it decide that.
///
/// # Errors
/// Who else could change what is in it.
pub fn check_directory(path: &Path) -> Result<(), Unusable> {
    let real = path
        .canonicalize()
        .map_err(|error| Unusable::unreadable(&error))?;
    check_ancestors(&real)
}

/// Checks a file or directory and all above it; `path` is absolute and without links.
pub(super) fn check_ancestors(path: &Path) -> Result<(), Unusable> {
    for (depth, directory) in path.ancestors().enumerate() {
        let stat = stat(directory).map_err(|errno| Unusable::unreadable(&errno.into()))?;
        if depth > 0 && stat.st_mode & STICKY != 0 {
            continue;
        }
        check(directory, &stat)?;
    }
    Ok(())
}

fn check(path: &Path, stat: &FileStat) -> Result<(), Unusable> {
    if stat.st_mode & WRITABLE != 0 {
        return Err(Unusable::WritableByOthers {
            path: path.to_owned(),
            mode: stat.st_mode & 0o7777,
        });
    }
    if stat.st_uid != 0 && stat.st_uid != Uid::effective().as_raw() {
        return Err(Unusable::ForeignOwner {
            path: path.to_owned(),
            uid: stat.st_uid,
        });
    }
    Ok(())
}
