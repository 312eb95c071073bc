//! Who could have written a plugin file.
//!
//! A plugin is code that the host runs, and a native one runs with all that this user may do. So a file counts
//! only if nobody but root and this user can change it or put another in its place: the file and every
//! directory above it belong to one of the two and have no write permission for group or others. A sticky
//! directory (such as `/tmp`) is fine above a directory of ours, because others can't rename what is in it.

use super::{Unusable, file::describe};
use nix::{
    sys::stat::{FileStat, stat},
    unistd::Uid,
};
use std::path::Path;

const WRITABLE: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Checks an open file that is found at `path`, an absolute path without links.
pub(super) fn check_file(path: &Path, stat: &FileStat) -> Result<(), Unusable> {
    check(path, stat)
}

/// Checks whether files in a directory could be used, as far as the directory and all above it decide that.
///
/// # Errors
/// Who else could change what is in it.
pub fn check_directory(path: &Path) -> Result<(), Unusable> {
    let real = path
        .canonicalize()
        .map_err(|error| Unusable::Unreadable(describe(&error)))?;
    check_ancestors(&real)
}

/// Checks a directory and all above it; `path` is absolute and without links.
pub(super) fn check_ancestors(path: &Path) -> Result<(), Unusable> {
    for (depth, directory) in path.ancestors().enumerate() {
        let stat = stat(directory).map_err(|errno| Unusable::Unreadable(errno.desc().to_owned()))?;
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
