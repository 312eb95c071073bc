//! What a run did to its own capture directory, and how it is made good.
//!
//! A run may remove, move or replace the directory that its output goes to, as `git clean -fdx` does. What the
//! host has opened is still there for it, so that the end of a run compares paths with open descriptors, by
//! inode. What is gone is made again from the descriptors: no symbolic link that the run has put in the way is
//! followed, and nothing is made above what the host itself had made.

use super::{
    ARTIFACTS, CaptureDirectory, CaptureError, Collected, DEFAULT_BASE, DIRECTORY, ReadDeadline, collect,
    lock, make_default_base, make_directory, unwritable,
};
use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, AtFlags, OFlag, open, openat},
    sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, mkdirat},
    unistd::{UnlinkatFlags, unlinkat},
};
use std::{
    fs::{self, File},
    io::{self, Write},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::fs::FileExt,
    },
    path::{Component, Path, PathBuf},
};

/// Which file it is, whatever its name. No other file is the same while this one is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId {
    device: libc::dev_t,
    inode: libc::ino_t,
}

impl FileId {
    /// The file behind a descriptor.
    fn of(file: impl AsFd) -> nix::Result<Self> {
        fstat(file).map(Self::from)
    }

    /// The file called `name`, which is not followed if it is a link.
    fn at(directory: impl AsFd, name: &Path) -> nix::Result<Self> {
        fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW).map(Self::from)
    }
}

impl From<FileStat> for FileId {
    fn from(status: FileStat) -> Self {
        Self {
            device: status.st_dev,
            inode: status.st_ino,
        }
    }
}

/// Whether `name` still is the file that is open as `file`.
fn is_called(file: impl AsFd, directory: impl AsFd, name: &Path) -> bool {
    matches!((FileId::of(file), FileId::at(directory, name)), (Ok(one), Ok(other)) if one == other)
}

/// A file with what was in it when it was last written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileVersion {
    id: FileId,
    bytes: libc::off_t,
    modified: (libc::time_t, i64),
}

/// A file's version as it is written down: inode, length, seconds and nanoseconds of its last change. The number of a device
/// may be another when the machine has been started again.
pub(super) type FileStamp = [i64; 4];

impl FileVersion {
    /// The file behind a descriptor, as it is now.
    pub fn of(file: impl AsFd) -> nix::Result<Self> {
        fstat(file).map(Self::from)
    }

    /// The regular file of this name, as it is now.
    ///
    /// # Errors
    /// When there is none.
    pub fn of_regular_at(directory: impl AsFd, name: &str) -> nix::Result<Self> {
        let found = fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        match SFlag::from_bits_truncate(found.st_mode & SFlag::S_IFMT.bits()) {
            SFlag::S_IFREG => Ok(found.into()),
            _ => Err(Errno::EINVAL),
        }
    }

    /// How long the file was.
    pub fn bytes(self) -> u64 {
        self.bytes.unsigned_abs()
    }

    pub(super) fn stamp(self) -> FileStamp {
        let (seconds, nanoseconds) = self.modified;
        [self.id.inode.cast_signed(), self.bytes, seconds, nanoseconds]
    }

    /// Whether the file of this name still is this version of it.
    pub fn is_called(self, directory: impl AsFd, name: &str) -> bool {
        fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok_and(|found| self == found.into())
    }
}

impl From<FileStat> for FileVersion {
    fn from(status: FileStat) -> Self {
        Self {
            id: status.into(),
            bytes: status.st_size,
            modified: (status.st_mtime, status.st_mtime_nsec),
        }
    }
}

/// Where a capture directory belongs, free of symbolic links.
#[derive(Debug)]
pub(super) enum BaseLocation {
    /// In `.executor_runtime` of this directory, which the caller has made.
    Default(PathBuf),
    /// In this base, which is the host's to make.
    Configured(PathBuf),
}

impl BaseLocation {
    /// Opens the base, which is made again if it is gone.
    fn open(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Default(working_directory) => {
                let parent = walk(working_directory, false)?;
                let path = working_directory.join(DEFAULT_BASE);
                make_default_base(parent.as_fd(), &path).map_err(io::Error::other)
            }
            Self::Configured(base) => Ok(walk(base, true)?),
        }
    }
}

/// Where an open directory is.
pub(super) fn real_path(directory: impl AsFd) -> io::Result<PathBuf> {
    fs::read_link(format!("/proc/self/fd/{}", directory.as_fd().as_raw_fd()))
}

/// Opens an absolute path without following any link in it.
fn walk(path: &Path, make: bool) -> nix::Result<OwnedFd> {
    let mut directory = open("/", DIRECTORY | OFlag::O_PATH, Mode::empty())?;
    for component in path.components() {
        let Component::Normal(name) = component else {
            continue;
        };
        let step = || {
            let flags = DIRECTORY | OFlag::O_PATH | OFlag::O_NOFOLLOW;
            openat(&directory, name, flags, Mode::empty())
        };
        let next = match step() {
            Err(Errno::ENOENT) if make => match mkdirat(&directory, name, Mode::from_bits_truncate(0o777)) {
                Ok(()) | Err(Errno::EEXIST) => step(),
                Err(errno) => Err(errno),
            },
            opened => opened,
        };
        directory = next?;
    }
    Ok(directory)
}

impl CaptureDirectory {
    /// Whether its path still leads to it.
    pub fn is_in_place(&self) -> bool {
        is_called(&self.handle, AT_FDCWD, &self.path)
    }

    /// Whether this is its artifacts directory, and where its path says.
    pub fn has_in_place(&self, artifacts: impl AsFd) -> bool {
        is_called(artifacts, &self.handle, Path::new(ARTIFACTS)) && self.is_in_place()
    }

    /// Makes and locks the directory anew, for what is to be kept of a run that has taken it away. What else
    /// the run has put there stays, if it is a directory.
    pub fn restored(&self) -> Result<Self, CaptureError> {
        let failed = |source| CaptureError::Unwritable {
            path: self.path.clone(),
            source,
        };
        let location = self
            .location
            .as_ref()
            .ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        let base = location.open().map_err(failed)?;
        let handle = self.make_again(base.as_fd())?;
        lock(&handle, &self.path)?;
        let restored = Self {
            path: self.path.clone(),
            handle,
            location: None,
        };
        if !restored.is_in_place() {
            // A directory on the way was replaced.
            return Err(failed(io::Error::other("a directory in its path was replaced")));
        }
        Ok(restored)
    }

    fn make_again(&self, base: BorrowedFd<'_>) -> Result<OwnedFd, CaptureError> {
        let name = self
            .path
            .file_name()
            .ok_or_else(|| unwritable(&self.path, Errno::EINVAL))?;
        make_directory(base, Path::new(name), &self.path).or_else(|error| {
            // A link or a file in its place, which is replaced as an output file would be.
            unlinkat(base, Path::new(name), UnlinkatFlags::NoRemoveDir).map_err(|_| error)?;
            make_directory(base, Path::new(name), &self.path)
        })
    }
}

/// An output file of a run. What was written to it is there even if the run removes it.
#[derive(Debug)]
pub struct OutputFile {
    name: &'static str,
    file: File,
}

impl OutputFile {
    /// Makes the file `name` anew.
    pub fn create(capture: &CaptureDirectory, name: &'static str) -> Result<Self, CaptureError> {
        let file = File::from(capture.create_file(name)?);
        Ok(Self { name, file })
    }

    /// A second descriptor, for what writes to it, or reads it at offsets.
    pub fn share(&self) -> io::Result<OwnedFd> {
        self.file.try_clone().map(OwnedFd::from)
    }

    fn is_in(&self, capture: &CaptureDirectory) -> bool {
        is_called(&self.file, &capture.handle, Path::new(self.name))
    }

    /// Makes sure that the file is in `capture`: its first `length` bytes, if it was not.
    fn keep_in(
        &self,
        capture: &CaptureDirectory,
        length: u64,
        read_deadline: &ReadDeadline,
    ) -> Result<(), CaptureError> {
        if self.is_in(capture) {
            return Ok(());
        }
        let copy = File::from(capture.create_file(self.name)?);
        copy_beginning(&self.file, copy, length, read_deadline).map_err(|source| {
            // Half a file would pass for the whole.
            let _ = unlinkat(&capture.handle, self.name, UnlinkatFlags::NoRemoveDir);
            CaptureError::Unwritable {
                path: capture.path.join(self.name),
                source,
            }
        })
    }
}

/// Copies at most `length` bytes from the beginning of `from`, whose position stays where it is.
fn copy_beginning(from: &File, mut to: File, length: u64, read_deadline: &ReadDeadline) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut offset = 0;
    while offset < length {
        if read_deadline.is_over() {
            return Err(io::Error::other("there was no time left to copy it"));
        }
        let room = usize::try_from(length - offset).map_or(buffer.len(), |left| left.min(buffer.len()));
        match from.read_at(&mut buffer[..room], offset) {
            Ok(0) => break,
            Ok(read) => {
                to.write_all(&buffer[..read])?;
                offset += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The capture directory of a run with its output files, stdout and stderr.
#[derive(Debug)]
pub struct CapturedFiles {
    /// The directory.
    pub directory: CaptureDirectory,
    /// The files of stdout and stderr.
    pub outputs: [OutputFile; 2],
}

/// What is at its place when a run is over.
#[derive(Debug)]
pub struct Kept {
    /// Where stdout and stderr are; else why they are lost, in words.
    pub outputs: [Result<PathBuf, String>; 2],
    /// The artifacts.
    pub collected: Collected,
}

impl Kept {
    /// Nothing could be looked at.
    pub fn nothing(error: &dyn std::error::Error) -> Self {
        Self {
            outputs: [(); 2].map(|()| Err(format!("the run's files could not be inspected: {error}"))),
            collected: Collected::default(),
        }
    }
}

impl CapturedFiles {
    /// What there is to list, if that takes no time: the run left everything in place, and no artifacts. Then the
    /// directory is unlocked.
    pub fn keep_at_once(&self) -> Option<Kept> {
        if !self.directory.answers_at_once() {
            return None;
        }
        let in_place =
            self.directory.is_in_place() && self.outputs.iter().all(|file| file.is_in(&self.directory));
        if !in_place || !matches!(self.directory.take_artifacts(), Ok(None)) {
            return None;
        }
        self.directory.unlock();
        Some(Kept {
            outputs: self
                .outputs
                .each_ref()
                .map(|file| Ok(self.directory.path.join(file.name))),
            collected: Collected::default(),
        })
    }

    /// Restores what the run has taken away, lists all, and unlocks the directory. Keeps at most the given numbers of bytes of files
    /// that have to be copied. Blocks.
    pub fn keep(self, lengths: [u64; 2], read_deadline: &ReadDeadline) -> Kept {
        let mut collected = Collected::default();
        let place = if self.directory.is_in_place() {
            Ok(self.directory)
        } else {
            // Artifacts stay where the run has moved them; paths to them would be wrong.
            collected.omitted = count_artifacts(&self.directory);
            self.directory.restored().map_err(|error| error.to_string())
        };
        let mut lengths = lengths.into_iter();
        let outputs = self.outputs.map(|file| {
            let length = lengths.next().unwrap_or_default();
            let kept = match &place {
                Ok(place) => file
                    .keep_in(place, length, read_deadline)
                    .map(|()| place.path.join(file.name))
                    .map_err(|error| error.to_string()),
                Err(reason) => Err(reason.clone()),
            };
            kept.map_err(|reason| format!("the run moved, removed or replaced it: {reason}"))
        });
        if let Ok(place) = &place {
            let here = match place.take_artifacts() {
                Ok(None) => Collected::default(),
                Ok(Some(handle)) => collect(handle, &place.artifacts_path(), read_deadline),
                Err(_) => Collected {
                    omitted: 1,
                    ..Collected::default()
                },
            };
            collected = Collected {
                omitted: here.omitted + collected.omitted,
                ..here
            };
            place.unlock();
        }
        Kept { outputs, collected }
    }
}

/// How many files are in the artifacts directory, without reading any.
fn count_artifacts(directory: &CaptureDirectory) -> u64 {
    match directory.take_artifacts() {
        Ok(None) => 0,
        Ok(Some(handle)) => {
            let found = collect(handle, &directory.artifacts_path(), &ReadDeadline::none());
            found.omitted + found.artifacts.len() as u64
        }
        Err(_) => 1,
    }
}
