//! Who could have written a plugin file, or the configuration.
//!
//! A plugin is code that the host runs, and a native one runs with all that this user may do; the configuration says
//! what may be done at all. So a file counts only if no one but root and this user can change it or put another in
//! its place: the file and every directory above it belong to one of the two and have no write permission for group
//! or others. A sticky directory (such as `/tmp`) is fine above what is ours, because others can't rename what is in
//! it. The directory of a plugin can't be one all the same: others could add plugins.

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

/// Why a file does not count. Each is a sentence that goes after its path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// It can't be opened or read.
    #[error("can't be read: {0}")]
    Unreadable(String),
    /// The same, for the system's reason: an error number.
    #[error("can't be read: {}", describe(&io::Error::from_raw_os_error(*.0)))]
    System(i32),
    /// A directory, a pipe, a device.
    #[error("is not a regular file")]
    NotAFile,
    /// Another user could replace its contents.
    #[error(
        "is not trusted, because other users can write to '{}' (mode {mode:04o}); run: {}",
        path.display(),
        remove_write_permission(path)
    )]
    WritableByOthers {
        /// The file itself, or a directory above it.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It belongs to another user.
    #[error(
        "is not trusted, because '{}' belongs to user {uid}, who is neither root nor the user of this host; run as root: {}",
        path.display(),
        take_over(path)
    )]
    ForeignOwner {
        /// The file itself, or a directory above it.
        path: PathBuf,
        /// The owner.
        uid: u32,
    },
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        Self::from(&error)
    }
}

impl From<&io::Error> for FileError {
    fn from(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(code) => Self::System(code),
            None => Self::Unreadable(error.to_string()),
        }
    }
}

impl FileError {
    /// The command that makes the file trusted, if there is one.
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::WritableByOthers { path, .. } => Some(remove_write_permission(path)),
            Self::ForeignOwner { path, .. } => Some(take_over(path)),
            Self::Unreadable(_) | Self::System(_) | Self::NotAFile => None,
        }
    }
}

fn remove_write_permission(path: &Path) -> String {
    format!("chmod go-w {}", quoted(path))
}

fn take_over(path: &Path) -> String {
    format!("chown {} {}", Uid::effective(), quoted(path))
}

/// A path as a shell reads it.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}

/// An I/O error in plain words, without Rust's number in brackets.
pub fn describe(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => nix::errno::Errno::from_raw(code).desc().to_lowercase(),
        None => error.to_string(),
    }
}

const WRITABLE: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Opens a regular file that no one else could have changed, and never hangs on what is none. Returns its path
/// without links, too: who could put another file there is left to check.
pub fn open_file(path: &Path) -> Result<(File, PathBuf), FileError> {
    let unreadable = FileError::from;
    let real = path.canonicalize().map_err(unreadable)?;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(&real)
        .map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(FileError::NotAFile);
    }
    check(&real, &fstat(&file).map_err(|errno| unreadable(errno.into()))?)?;
    Ok((file, real))
}

/// Opens a file that is named by itself, as the configuration is: no one else could have changed it, or have put it
/// there.
pub fn open_named_file(path: &Path) -> Result<File, FileError> {
    let (file, real) = open_file(path)?;
    check_ancestors(&real)?;
    Ok(file)
}

/// Checks whether files in a directory could be used, as far as the directory and all above it decide that.
///
/// # Errors
/// Who else could change what is in it.
pub fn check_directory(path: &Path) -> Result<(), FileError> {
    let real = path.canonicalize().map_err(FileError::from)?;
    check_ancestors(&real)
}

/// Checks a file or directory and all above it; `path` is absolute and without links.
pub fn check_ancestors(path: &Path) -> Result<(), FileError> {
    for (depth, directory) in path.ancestors().enumerate() {
        let stat = stat(directory).map_err(|errno| FileError::System(errno as i32))?;
        if depth > 0 && stat.st_mode & STICKY != 0 {
            continue;
        }
        check(directory, &stat)?;
    }
    Ok(())
}

fn check(path: &Path, stat: &FileStat) -> Result<(), FileError> {
    if stat.st_mode & WRITABLE != 0 {
        return Err(FileError::WritableByOthers {
            path: path.to_owned(),
            mode: stat.st_mode & 0o7777,
        });
    }
    if stat.st_uid != 0 && stat.st_uid != Uid::effective().as_raw() {
        return Err(FileError::ForeignOwner {
            path: path.to_owned(),
            uid: stat.st_uid,
        });
    }
    Ok(())
}
