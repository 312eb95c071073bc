//! The capture directory: where the output and the artifacts of one run are kept.
//!
//! `<base>/<invocation id>/`, base being the invocation's `artifact_directory`, else
//! `<working_directory>/.executor_runtime`. Every file in it is opened through a handle on the directory and
//! without following symbolic links, and made anew, so nothing that was planted there leads outside. The
//! directory is locked while the run is under way: two runs of one id never write to the same files.

mod checkpoint;
mod collect;
mod name;
mod patience;

pub(crate) use checkpoint::{Fingerprint, check_length as check_checkpoint};
pub(crate) use collect::{Collected, Size, collect, open_regular_at};

pub(crate) use patience::Patience;

use executor_runtime_protocol::RuntimeInvocation;
use name::directory_name;
use nix::{
    errno::Errno,
    fcntl::{OFlag, openat, renameat},
    sys::stat::{Mode, mkdirat},
    unistd::{UnlinkatFlags, unlinkat},
};
use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

const DEFAULT_BASE: &str = ".executor_runtime";
const ARTIFACTS: &str = "artifacts";
const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// Why there is no capture directory for a run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CaptureError {
    /// Another run of the same id holds it.
    #[error("an invocation with this id is already running in '{}'", path.display())]
    AlreadyRunning {
        /// The directory.
        path: PathBuf,
    },
    /// A symbolic link stands where the directory should be.
    #[error("'{}' is a symbolic link, which is not followed; remove it, or set artifact_directory", path.display())]
    SymbolicLink {
        /// The link.
        path: PathBuf,
    },
    /// Something could not be made or opened.
    #[error("'{}' can't be written: {source}", path.display())]
    Unwritable {
        /// What could not.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// An open, locked capture directory.
#[derive(Debug)]
pub(crate) struct CaptureDirectory {
    path: PathBuf,
    handle: OwnedFd,
}

impl CaptureDirectory {
    /// Makes and locks the directory of an invocation.
    pub(crate) fn open(invocation: &RuntimeInvocation) -> Result<Self, CaptureError> {
        let (base_path, base) = match &invocation.artifact_directory {
            Some(directory) => open_given_base(Path::new(directory))?,
            None => open_default_base(Path::new(&invocation.working_directory))?,
        };
        let name = directory_name(&invocation.invocation_id);
        let path = base_path.join(&name);
        let handle = make_directory(base.as_fd(), &name, &path)?;
        // SAFETY: no memory is involved.
        match Errno::result(unsafe { libc::flock(handle.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) }) {
            Ok(_) => Ok(Self { path, handle }),
            Err(Errno::EWOULDBLOCK) => Err(CaptureError::AlreadyRunning { path }),
            Err(errno) => Err(unwritable(&path, errno)),
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where files become artifacts.
    pub(crate) fn artifacts_path(&self) -> PathBuf {
        self.path.join(ARTIFACTS)
    }

    /// A second handle, which holds the lock too.
    pub(crate) fn share_lock(&self) -> io::Result<OwnedFd> {
        self.handle.try_clone()
    }

    /// Makes the file `name` anew: whatever stood there, a link or a pipe too, is replaced and not opened.
    pub(crate) fn create_file(&self, name: &str) -> Result<OwnedFd, CaptureError> {
        create_file_at(self.handle.as_fd(), name).map_err(|errno| unwritable(&self.path.join(name), errno))
    }

    /// Gives the file `from` the name `to`, replacing what has it.
    pub(crate) fn rename_file(&self, from: &str, to: &str) -> Result<(), CaptureError> {
        renameat(&self.handle, from, &self.handle, to).map_err(|errno| unwritable(&self.path.join(to), errno))
    }

    /// Makes the artifacts directory, empty.
    pub(crate) fn create_artifacts(&self) -> Result<(), CaptureError> {
        let failed = |errno| unwritable(&self.artifacts_path(), errno);
        match mkdirat(&self.handle, ARTIFACTS, Mode::from_bits_truncate(0o777)) {
            Err(Errno::EEXIST) => {}
            made => return made.map_err(failed),
        }
        // An earlier run's: its files would pass for this one's.
        remove_tree_at(&self.handle, ARTIFACTS).map_err(failed)?;
        mkdirat(&self.handle, ARTIFACTS, Mode::from_bits_truncate(0o777)).map_err(failed)
    }

    /// Makes the artifacts directory, empty, and opens it.
    pub(crate) fn open_artifacts(&self) -> Result<OwnedFd, CaptureError> {
        self.create_artifacts()?;
        openat(
            &self.handle,
            ARTIFACTS,
            DIRECTORY | OFlag::O_NOFOLLOW,
            Mode::empty(),
        )
        .map_err(|errno| unwritable(&self.artifacts_path(), errno))
    }

    /// Opens the artifacts directory for collecting; none if nothing was left there, in which case it is
    /// removed.
    pub(crate) fn take_artifacts(&self) -> io::Result<Option<OwnedFd>> {
        match unlinkat(&self.handle, ARTIFACTS, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => return Ok(None),
            Err(_) => {}
        }
        match openat(
            &self.handle,
            ARTIFACTS,
            DIRECTORY | OFlag::O_NOFOLLOW,
            Mode::empty(),
        ) {
            Ok(handle) => Ok(Some(handle)),
            // The run has put something else in its place, which is no artifact.
            Err(Errno::ELOOP | Errno::ENOTDIR) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Removes what a run that never started has made.
    pub(crate) fn discard(self, files: &[&str]) {
        for file in files {
            let _ = unlinkat(&self.handle, *file, UnlinkatFlags::NoRemoveDir);
        }
        let _ = unlinkat(&self.handle, ARTIFACTS, UnlinkatFlags::RemoveDir);
        // An earlier run may have left something.
        self.remove_if_empty();
    }
}

/// Creates `name` in `directory`, replacing what is there.
pub(crate) fn create_file_at(directory: BorrowedFd<'_>, name: &str) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let create = || openat(directory, name, flags, Mode::from_bits_truncate(0o666));
    match create() {
        Err(Errno::EEXIST) => {
            unlinkat(directory, name, UnlinkatFlags::NoRemoveDir)?;
            create()
        }
        created => created,
    }
}

/// A caller's own base: links in it are the caller's business.
fn open_given_base(directory: &Path) -> Result<(PathBuf, OwnedFd), CaptureError> {
    let path = std::path::absolute(directory).map_err(|source| CaptureError::Unwritable {
        path: directory.to_owned(),
        source,
    })?;
    let open = || nix::fcntl::open(&path, DIRECTORY, Mode::empty());
    let handle = match open() {
        Err(Errno::ENOENT) => {
            fs::create_dir_all(&path).map_err(|source| CaptureError::Unwritable {
                path: path.clone(),
                source,
            })?;
            open()
        }
        opened => opened,
    };
    match handle {
        Ok(handle) => Ok((path, handle)),
        Err(errno) => Err(unwritable(&path, errno)),
    }
}

/// The base below the working directory: made by us, so a link there is somebody else's idea.
fn open_default_base(working_directory: &Path) -> Result<(PathBuf, OwnedFd), CaptureError> {
    let parent = std::path::absolute(working_directory).map_err(|source| CaptureError::Unwritable {
        path: working_directory.to_owned(),
        source,
    })?;
    let path = parent.join(DEFAULT_BASE);
    let parent =
        nix::fcntl::open(&parent, DIRECTORY, Mode::empty()).map_err(|errno| unwritable(&parent, errno))?;
    let handle = make_directory(parent.as_fd(), DEFAULT_BASE, &path)?;
    Ok((path, handle))
}

/// Opens the directory `name`, which is made if it is not there.
fn make_directory(parent: BorrowedFd<'_>, name: &str, path: &Path) -> Result<OwnedFd, CaptureError> {
    let open = || openat(parent, name, DIRECTORY | OFlag::O_NOFOLLOW, Mode::empty());
    let opened = match open() {
        Err(Errno::ENOENT) => match mkdirat(parent, name, Mode::from_bits_truncate(0o777)) {
            Ok(()) | Err(Errno::EEXIST) => open(),
            Err(errno) => Err(errno),
        },
        opened => opened,
    };
    match opened {
        Ok(handle) => Ok(handle),
        Err(_) if path.is_symlink() => Err(CaptureError::SymbolicLink {
            path: path.to_owned(),
        }),
        Err(errno) => Err(unwritable(path, errno)),
    }
}

/// Removes a file, or a directory with all that is in it, without following links.
fn remove_tree_at(directory: &OwnedFd, name: &str) -> nix::Result<()> {
    match unlinkat(directory, name, UnlinkatFlags::NoRemoveDir) {
        Err(Errno::EISDIR) => {}
        removed => return removed,
    }
    // `remove_dir_all` follows no link below its argument; the handle pins what comes before.
    let path = format!("/proc/self/fd/{}/{name}", directory.as_raw_fd());
    fs::remove_dir_all(path).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))
}

fn unwritable(path: &Path, errno: Errno) -> CaptureError {
    CaptureError::Unwritable {
        path: path.to_owned(),
        source: errno.into(),
    }
}
