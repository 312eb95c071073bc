//! Files that a run left in its artifacts directory become ArtifactDescriptors.
//!
//! Regular files only, at any depth, in the order of their paths; links, pipes and sockets are only counted.
//! Runs after every process of the run has ended, so nothing moves meanwhile.

use super::ReadDeadline;
use crate::receipt::{self, Receipt};
use executor_runtime_protocol::ArtifactDescriptor;
use nix::{
    dir::{Dir, Type},
    errno::Errno,
    fcntl::{OFlag, openat},
    sys::stat::{Mode, SFlag, fstat},
};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

/// How many files are listed at most.
const MAX_FILES: usize = 1000;
/// Where an artifact's digest stands.
pub(super) const SHA256: &str = "sha256";
/// How deep folders are searched.
const MAX_DEPTH: usize = 32;

/// What was found.
#[derive(Debug, Default)]
pub struct Collected {
    /// The files.
    pub artifacts: Vec<ArtifactDescriptor>,
    /// Files that the run left but that are not listed: too many, too deep, unreadable, not regular, with a name
    /// that is not UTF-8, or not where they were left.
    pub omitted: u64,
    /// Files that are listed without their digest, because there was no time left for it.
    pub undigested: u64,
}

impl Collected {
    /// Adds to a receipt what `artifacts` does not tell.
    pub fn account(&self, receipt: &mut Receipt) {
        for (key, files) in [
            (receipt::ARTIFACTS_OMITTED, self.omitted),
            (receipt::ARTIFACTS_UNDIGESTED, self.undigested),
        ] {
            if files > 0 {
                receipt.insert(key.to_owned(), files.to_string());
            }
        }
    }

    /// Lists one more, which has its digest if there was time for it.
    pub(super) fn list(&mut self, artifact: ArtifactDescriptor) {
        self.undigested += u64::from(!artifact.metadata.contains_key(SHA256));
        self.artifacts.push(artifact);
    }
}

/// Lists the files below `directory`, which is at `path`.
pub fn collect(directory: OwnedFd, path: &Path, read_deadline: &ReadDeadline) -> Collected {
    let mut collected = Collected::default();
    walk(directory, path, "artifacts", 0, read_deadline, &mut collected);
    collected
}

fn walk(
    directory: OwnedFd,
    path: &Path,
    id: &str,
    depth: usize,
    read_deadline: &ReadDeadline,
    collected: &mut Collected,
) {
    let Ok((handle, mut entries)) = read_directory(directory) else {
        collected.omitted += 1;
        return;
    };
    entries.sort();
    for (name, kind) in entries {
        let Ok(name) = String::from_utf8(name) else {
            collected.omitted += 1;
            continue;
        };
        let (path, id) = (path.join(&name), format!("{id}/{name}"));
        match kind {
            Kind::Directory if depth == MAX_DEPTH => collected.omitted += 1,
            Kind::Directory => match open_inside(&handle, &name, OFlag::O_DIRECTORY) {
                // There is no time to read what is in it.
                Ok(_) if read_deadline.is_over() => collected.omitted += 1,
                Ok(inner) => walk(inner, &path, &id, depth + 1, read_deadline, collected),
                Err(_) => collected.omitted += 1,
            },
            Kind::File if collected.artifacts.len() == MAX_FILES => collected.omitted += 1,
            Kind::File => match describe(&handle, &name, &path, id, read_deadline) {
                Ok(Some(artifact)) => collected.list(artifact),
                Ok(None) | Err(_) => collected.omitted += 1,
            },
            Kind::Other => collected.omitted += 1,
        }
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    File,
    Directory,
    Other,
}

pub(super) type Entries = Vec<(Vec<u8>, Kind)>;

pub(super) fn read_directory(directory: OwnedFd) -> nix::Result<(OwnedFd, Entries)> {
    let handle = directory.try_clone().map_err(|_| Errno::EMFILE)?;
    let mut entries = Vec::new();
    for entry in Dir::from_fd(directory)?.iter() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        let kind = match entry.file_type() {
            Some(Type::File) => Kind::File,
            Some(Type::Directory) => Kind::Directory,
            Some(_) => Kind::Other,
            // The file system does not tell.
            None => match open_inside(
                &handle,
                std::str::from_utf8(name).unwrap_or_default(),
                OFlag::O_DIRECTORY,
            ) {
                Ok(_) => Kind::Directory,
                Err(_) => Kind::File,
            },
        };
        entries.push((name.to_vec(), kind));
    }
    Ok((handle, entries))
}

pub(super) fn open_inside(directory: &OwnedFd, name: &str, flags: OFlag) -> nix::Result<OwnedFd> {
    // Non-blocking, because a pipe without a writer would block.
    let flags = flags | OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    openat(directory.as_fd(), name, flags, Mode::empty())
}

/// Describes one file; none if it turns out not to be a regular one.
fn describe(
    directory: &OwnedFd,
    name: &str,
    path: &Path,
    id: String,
    read_deadline: &ReadDeadline,
) -> io::Result<Option<ArtifactDescriptor>> {
    let Some(file) = open_regular_at(directory, name)? else {
        return Ok(None);
    };
    let size = Size::of(file, read_deadline)?;
    Ok(Some(ArtifactDescriptor {
        artifact_id: id,
        path: path.to_string_lossy().into_owned(),
        kind: "file".to_owned(),
        description: format!("left by the run: {name}"),
        metadata: size.metadata(),
    }))
}

/// Opens the regular file `name` in a directory; none if it is something else.
pub(super) fn open_regular_at(directory: &OwnedFd, name: &str) -> io::Result<Option<File>> {
    let handle = match open_inside(directory, name, OFlag::empty()) {
        Err(Errno::ELOOP) => return Ok(None),
        opened => opened?,
    };
    let kind = SFlag::from_bits_truncate(fstat(&handle)?.st_mode & SFlag::S_IFMT.bits());
    Ok((kind == SFlag::S_IFREG).then(|| File::from(handle)))
}

/// The length of a file, and its SHA-256 in hex unless the time for that was over.
#[derive(Debug)]
pub(super) struct Size {
    bytes: u64,
    sha256: Option<String>,
}

impl Size {
    /// Reads a file to its end, or until there is no more time for it.
    ///
    /// # Errors
    /// When it can't be read.
    pub(super) fn of(mut file: File, read_deadline: &ReadDeadline) -> io::Result<Self> {
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 64 * 1024];
        let mut bytes = 0;
        loop {
            if read_deadline.is_over() {
                return Ok(Self {
                    bytes: file.metadata()?.len(),
                    sha256: None,
                });
            }
            match file.read(&mut buffer) {
                Ok(0) => {
                    return Ok(Self {
                        bytes,
                        sha256: Some(format!("{:x}", hasher.finalize())),
                    });
                }
                Ok(len) => {
                    hasher.update(&buffer[..len]);
                    bytes += len as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// As an artifact's metadata has it.
    pub(super) fn metadata(self) -> BTreeMap<String, String> {
        let mut metadata = BTreeMap::from([("size_bytes".to_owned(), self.bytes.to_string())]);
        metadata.extend(self.sha256.map(|sha256| (SHA256.to_owned(), sha256)));
        metadata
    }
}
