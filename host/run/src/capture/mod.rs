//! The capture directory: where the output and the artifacts of one run are kept.
//!
//! `<base>/<invocation id>/`, base being the invocation's `artifact_directory`, else
//! `<working_directory>/.executor_runtime`. Every file in it is opened through a handle on the directory and
//! without following symbolic links, and made anew, so nothing that was planted there leads outside. The
//! directory is locked while the run is under way: two runs of one id never write to the same files. What a run
//! has done to it in the meantime is the module `restore`'s concern.
//!
//! # What blocks
//!
//! A run is polled beside others, and its own deadline is kept where it is polled. So there it does only what is over in
//! microseconds: it opens, makes and locks the directory and its files, if [`answers_at_once`] says so of where they are,
//! and lists them if the run has left all in place and no artifacts. All else blocks: a file system that is not known to be
//! local, removing what an earlier run of the id has left ([`EarlierArtifacts`]), reading and hashing artifacts, copying
//! output that the run took away. That is done by another thread, and waited for until the deadline
//! ([`Run::blocking`](crate::Run::blocking)), or at the end of a run little longer ([`ReadDeadline::look`]).

mod at_once;
mod checkpoint;
mod collect;
mod finished;
mod left;
mod name;
mod read_deadline;
mod restore;
mod unfinished;
mod unrecorded;

pub use at_once::answers_at_once;
pub use checkpoint::{Fingerprint, check_length as check_checkpoint};
pub use collect::{Collected, collect};
pub use finished::{FinishedArtifact, FinishedArtifacts};
pub use left::{
    CaptureMark, Left, Removal, STDERR_FILE, STDOUT_FILE, forget_left, is_held, left_by, location, marker,
    remove_marked,
};
pub use read_deadline::ReadDeadline;
pub use restore::{CapturedFiles, FileVersion, Kept, OutputFile};
pub use unfinished::{ReopenError, remove_unfinished, reopen_unfinished, unfinished_name};
pub use unrecorded::Unrecorded;

use collect::{Size, open_regular_at, read_directory};
use executor_runtime_protocol::RuntimeInvocation;
use name::directory_name;
use nix::{
    dir::{Dir, Entry},
    errno::Errno,
    fcntl::{AtFlags, OFlag, openat, renameat},
    sys::stat::{Mode, fstatat, mkdirat},
    unistd::{UnlinkatFlags, unlinkat},
};
use restore::{BaseLocation, real_path};
use std::{
    ffi::OsStr,
    fs,
    io::{self, Write},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

/// Where captures go in a working directory, unless the invocation says where.
pub const DEFAULT_BASE: &str = ".executor_runtime";
/// No invocation has a directory of this name: none begins with a dot.
const GITIGNORE: &str = ".gitignore";
const ARTIFACTS: &str = "artifacts";
/// How often the directory is opened before its removal by others counts as its loss.
const MAX_ATTEMPTS: u32 = 8;
const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// Why there is no capture directory for a run.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
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
    /// An earlier run has left artifacts, and removing them takes time that there is not.
    #[error("'{}' has the artifacts of an earlier run, and there was no time to remove them", path.display())]
    EarlierArtifacts {
        /// Where they are.
        path: PathBuf,
    },
}

/// What becomes of the artifacts that an earlier run of the same id has left.
#[derive(Clone, Copy, Debug)]
pub enum EarlierArtifacts<'a> {
    /// They stay, which is an error: removing them may take long.
    Keep,
    /// They are removed, for as long as this lasts. Blocks.
    Remove(&'a ReadDeadline),
}

/// An open, locked capture directory.
#[derive(Debug)]
pub struct CaptureDirectory {
    path: PathBuf,
    handle: OwnedFd,
    /// Where it can be made again, if that is known.
    location: Option<BaseLocation>,
}

impl CaptureDirectory {
    /// Makes and locks the directory of an invocation.
    pub fn open(invocation: &RuntimeInvocation) -> Result<Self, CaptureError> {
        // Whoever had it before may have removed it between our opening and our locking it; then it is made anew.
        let mut attempts = 0..MAX_ATTEMPTS;
        loop {
            let capture = Self::open_once(invocation)?;
            if attempts.next().is_none() || capture.is_in_place() {
                return Ok(capture);
            }
        }
    }

    fn open_once(invocation: &RuntimeInvocation) -> Result<Self, CaptureError> {
        let Base {
            path,
            handle,
            location,
        } = match &invocation.artifact_directory {
            Some(directory) if !is_default_base(directory, invocation) => {
                open_given_base(Path::new(directory))?
            }
            _ => open_default_base(Path::new(&invocation.working_directory))?,
        };
        let name = directory_name(&invocation.invocation_id);
        let path = path.join(&name);
        let handle = make_directory(handle.as_fd(), Path::new(&name), &path)?;
        lock(&handle, &path)?;
        Ok(Self {
            path,
            handle,
            location,
        })
    }

    /// Takes note of the file system that it is on, for [`answers_at_once`] of later runs. Blocks.
    pub fn remember_file_system(&self) {
        at_once::remember(&self.handle);
    }

    /// Whether it answers at once.
    pub fn answers_at_once(&self) -> bool {
        at_once::is_local_path(&self.path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where files become artifacts.
    pub fn artifacts_path(&self) -> PathBuf {
        self.path.join(ARTIFACTS)
    }

    /// A second handle, which holds the lock too.
    pub fn share_lock(&self) -> io::Result<OwnedFd> {
        self.handle.try_clone()
    }

    /// Lets the next run of this id begin: for the end of a run of which no process is left. Closing every handle
    /// would do the same, but a child that another thread has forked at this moment has a copy of each until it
    /// executes its program.
    pub fn unlock(&self) {
        // SAFETY: no memory is involved. It can't fail: the descriptor is open.
        unsafe { libc::flock(self.handle.as_raw_fd(), libc::LOCK_UN) };
    }

    /// Makes the file `name` anew: whatever stood there, a link or a pipe too, is replaced and not opened.
    pub fn create_file(&self, name: &str) -> Result<OwnedFd, CaptureError> {
        create_file_at(self.handle.as_fd(), name).map_err(|errno| unwritable(&self.path.join(name), errno))
    }

    /// Gives the file `name` this content in place of what it had, and returns it: until it is whole it is called `partial`,
    /// so that a host that dies leaves the one before.
    fn replace_file(&self, partial: &str, name: &str, content: &[u8]) -> Result<fs::File, CaptureError> {
        let path = || self.path.join(name);
        let mut file = fs::File::from(self.create_file(partial)?);
        file.write_all(content)
            .map_err(|source| CaptureError::Unwritable { path: path(), source })?;
        renameat(&self.handle, partial, &self.handle, name).map_err(|errno| unwritable(&path(), errno))?;
        Ok(file)
    }

    /// Makes the artifacts directory, empty.
    pub fn create_artifacts(&self, earlier: EarlierArtifacts<'_>) -> Result<(), CaptureError> {
        let failed = |errno| unwritable(&self.artifacts_path(), errno);
        let left = || CaptureError::EarlierArtifacts {
            path: self.artifacts_path(),
        };
        let make = || mkdirat(&self.handle, ARTIFACTS, Mode::from_bits_truncate(0o777));
        match make() {
            Err(Errno::EEXIST) => {}
            made => return made.map_err(failed),
        }
        // An earlier run's: its files would pass for this one's.
        let removed = match earlier {
            EarlierArtifacts::Keep => unlinkat(&self.handle, ARTIFACTS, UnlinkatFlags::RemoveDir),
            EarlierArtifacts::Remove(time) => remove_tree_at(&self.handle, ARTIFACTS, time),
        };
        match (removed, earlier) {
            (Ok(()), _) => make().map_err(failed),
            (Err(_), EarlierArtifacts::Keep) | (Err(Errno::ETIME), _) => Err(left()),
            (Err(errno), _) => Err(failed(errno)),
        }
    }

    /// Makes the artifacts directory, empty, and opens it.
    pub fn open_artifacts(&self, earlier: EarlierArtifacts<'_>) -> Result<OwnedFd, CaptureError> {
        self.create_artifacts(earlier)?;
        openat(
            &self.handle,
            ARTIFACTS,
            DIRECTORY | OFlag::O_NOFOLLOW,
            Mode::empty(),
        )
        .map_err(|errno| unwritable(&self.artifacts_path(), errno))
    }

    /// Opens the artifacts directory for collecting; none if nothing was left there. What else the run has put in its place
    /// is an error. An empty one stays: to remove a directory for each run slows down the making of the next ones, on some
    /// file systems a great deal.
    pub fn take_artifacts(&self) -> io::Result<Option<OwnedFd>> {
        let flags = DIRECTORY | OFlag::O_NOFOLLOW;
        let open = || openat(&self.handle, ARTIFACTS, flags, Mode::empty());
        let directory = match open() {
            Err(Errno::ENOENT) => return Ok(None),
            opened => opened?,
        };
        let is_own = |entry: nix::Result<Entry>| {
            entry.is_ok_and(|entry| matches!(entry.file_name().to_bytes(), b"." | b".."))
        };
        let is_empty = Dir::from_fd(directory)?.iter().all(is_own);
        Ok(if is_empty { None } else { Some(open()?) })
    }

    /// Removes what a run that never started has made.
    pub fn discard(self, files: &[&str]) {
        for file in files {
            let _ = unlinkat(&self.handle, *file, UnlinkatFlags::NoRemoveDir);
        }
        // An earlier run may have left something.
        self.remove_if_empty();
        self.unlock();
    }
}

/// Creates `name` in `directory`, to read and write, replacing what is there.
pub fn create_file_at(directory: BorrowedFd<'_>, name: &str) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let create = || openat(directory, name, flags, Mode::from_bits_truncate(0o666));
    match create() {
        Err(Errno::EEXIST) => {
            unlinkat(directory, name, UnlinkatFlags::NoRemoveDir)?;
            create()
        }
        created => created,
    }
}

/// Locks a capture directory, unless another run holds it.
fn lock(directory: &OwnedFd, path: &Path) -> Result<(), CaptureError> {
    // SAFETY: no memory is involved.
    match Errno::result(unsafe { libc::flock(directory.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) }) {
        Ok(_) => Ok(()),
        Err(Errno::EWOULDBLOCK) => Err(CaptureError::AlreadyRunning {
            path: path.to_owned(),
        }),
        Err(errno) => Err(unwritable(path, errno)),
    }
}

/// What capture directories are in.
struct Base {
    path: PathBuf,
    handle: OwnedFd,
    location: Option<BaseLocation>,
}

/// Whether the directory that is given is the one that would be taken without.
fn is_default_base(directory: &str, invocation: &RuntimeInvocation) -> bool {
    Path::new(directory) == Path::new(&invocation.working_directory).join(DEFAULT_BASE)
}

/// A caller's own base: links in it are the caller's business.
fn open_given_base(directory: &Path) -> Result<Base, CaptureError> {
    let path = absolute(directory)?;
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
    let handle = handle.map_err(|errno| unwritable(&path, errno))?;
    let location = real_path(&handle).ok().map(BaseLocation::Configured);
    Ok(Base {
        path,
        handle,
        location,
    })
}

/// The base below the working directory: made by us, so a link there is not ours.
fn open_default_base(working_directory: &Path) -> Result<Base, CaptureError> {
    let parent = absolute(working_directory)?;
    let path = parent.join(DEFAULT_BASE);
    let parent =
        nix::fcntl::open(&parent, DIRECTORY, Mode::empty()).map_err(|errno| unwritable(&parent, errno))?;
    let handle = make_default_base(parent.as_fd(), &path)?;
    let location = real_path(&parent).ok().map(BaseLocation::Default);
    Ok(Base {
        path,
        handle,
        location,
    })
}

/// Opens the default base in `working_directory`, which is made if it is not there.
fn make_default_base(working_directory: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, CaptureError> {
    let base = make_directory(working_directory, Path::new(DEFAULT_BASE), path)?;
    hide_from_git(base.as_fd());
    Ok(base)
}

/// Keeps the default base from showing up in a git checkout, unless git's ignore rules already decide that. It
/// is a courtesy: a run does without.
fn hide_from_git(base: BorrowedFd<'_>) {
    // Runs at the same time would take turns for the exclusive lock on the directory that creating takes.
    if fstatat(base, GITIGNORE, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok() {
        return;
    }
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    if let Ok(file) = openat(base, GITIGNORE, flags, Mode::from_bits_truncate(0o666))
        && fs::File::from(file).write_all(b"*\n").is_err()
    {
        // An empty one would stay forever.
        let _ = unlinkat(base, GITIGNORE, UnlinkatFlags::NoRemoveDir);
    }
}

fn absolute(path: &Path) -> Result<PathBuf, CaptureError> {
    std::path::absolute(path).map_err(|source| CaptureError::Unwritable {
        path: path.to_owned(),
        source,
    })
}

/// Opens the directory `name`, which is made if it is not there.
fn make_directory(parent: BorrowedFd<'_>, name: &Path, path: &Path) -> Result<OwnedFd, CaptureError> {
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

/// Removes a file, or a directory with all that is in it, without following links; `ETIME` if there is not enough time.
fn remove_tree_at(directory: &OwnedFd, name: impl AsRef<Path>, time: &ReadDeadline) -> nix::Result<()> {
    let name = name.as_ref();
    if time.is_over() {
        return Err(Errno::ETIME);
    }
    match unlinkat(directory, name, UnlinkatFlags::NoRemoveDir) {
        Err(Errno::EISDIR) => {}
        removed => return removed,
    }
    let inner = openat(directory, name, DIRECTORY | OFlag::O_NOFOLLOW, Mode::empty())?;
    let (inner, entries) = read_directory(inner)?;
    for (entry, _) in entries {
        remove_tree_at(&inner, OsStr::from_bytes(&entry), time)?;
    }
    unlinkat(directory, name, UnlinkatFlags::RemoveDir)
}

fn unwritable(path: &Path, errno: Errno) -> CaptureError {
    CaptureError::Unwritable {
        path: path.to_owned(),
        source: errno.into(),
    }
}
