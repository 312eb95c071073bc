//! A plugin file that is open, and was looked at.

use crate::Unusable;
use executor_runtime_config::trust;
use nix::{
    fcntl::{FcntlArg, SealFlag, fcntl},
    sys::memfd::{MFdFlags, memfd_create},
};
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::{self, Read},
    os::{fd::OwnedFd, unix::fs::FileExt},
    path::Path,
};

/// The longest plugin that is loaded. An interpreter with its library is about 20 MB.
const MAX_LOADED: u64 = 512 << 20;

/// Bytes that are read at a time to be hashed. A larger buffer is new pages, which take more time than the calls save.
const READ: usize = 16 * 1024;

/// An open plugin file that no other user can change.
#[derive(Debug)]
pub(super) struct PluginFile {
    file: File,
    length: u64,
}

impl PluginFile {
    /// Opens the file and checks who could have written it. Never blocks on something that is not a regular file.
    pub(super) fn open(path: &Path) -> Result<Self, Unusable> {
        let unreadable = |error: io::Error| Unusable::unreadable(&error);
        let (file, real) = trust::open_file(path)?;
        if let Some(directory) = real.parent() {
            trust::check_ancestors(directory)?;
        }
        let length = file.metadata().map_err(unreadable)?.len();
        if length == 0 {
            return Err(Unusable::Empty);
        }
        Ok(Self { file, length })
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Up to `length` bytes at `offset`; fewer at the end of the file.
    pub(super) fn read_at(&self, offset: u64, length: usize) -> Result<Vec<u8>, Unusable> {
        let left = self.length.saturating_sub(offset);
        let mut bytes = vec![0; length.min(usize::try_from(left).unwrap_or(usize::MAX))];
        self.file
            .read_exact_at(&mut bytes, offset)
            .map_err(|error| Unusable::unreadable(&error))?;
        Ok(bytes)
    }

    /// Exactly `length` bytes at `offset`.
    pub(super) fn read_exact_at(&self, offset: u64, length: usize) -> Result<Vec<u8>, Unusable> {
        let bytes = self.read_at(offset, length)?;
        if bytes.len() == length {
            Ok(bytes)
        } else {
            Err(Unusable::Damaged("it is truncated".to_owned()))
        }
    }

    /// All of it.
    pub(super) fn read_all(&self) -> Result<Vec<u8>, Unusable> {
        check_length(self.length)?;
        // At most MAX_LOADED, which fits.
        self.read_exact_at(0, self.length as usize)
    }

    /// A copy in memory that no one can change, whatever happens to the file from now on.
    pub(super) fn sealed_copy(&self) -> Result<Self, Unusable> {
        check_length(self.length)?;
        let unreadable = |error: io::Error| Unusable::unreadable(&error);
        let mut copy = File::from(new_memory_file().map_err(unreadable)?);
        let mut file = &self.file;
        io::Seek::rewind(&mut file).map_err(unreadable)?;
        // One byte more than may be loaded: the file may have grown since it was opened.
        let length = io::copy(&mut file.take(MAX_LOADED + 1), &mut copy).map_err(unreadable)?;
        check_length(length)?;
        // `F_SEAL_WRITE` would wait for pages that the kernel is still busy with, and fail (`EBUSY`) on a loaded machine.
        // It differs only for writable mappings that exist already, and there are none.
        let seals = SealFlag::F_SEAL_FUTURE_WRITE
            | SealFlag::F_SEAL_GROW
            | SealFlag::F_SEAL_SHRINK
            | SealFlag::F_SEAL_SEAL;
        fcntl(&copy, FcntlArg::F_ADD_SEALS(seals)).map_err(|errno| unreadable(errno.into()))?;
        Ok(Self { file: copy, length })
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn into_file(self) -> File {
        self.file
    }

    /// Its SHA-256, read in pieces.
    pub(super) fn sha256(&self) -> Result<[u8; 32], Unusable> {
        let mut digest = Sha256::new();
        let mut buffer = vec![0; READ];
        let mut file = &self.file;
        let unreadable = |error: io::Error| Unusable::unreadable(&error);
        io::Seek::rewind(&mut file).map_err(unreadable)?;
        loop {
            let read = file.read(&mut buffer).map_err(unreadable)?;
            if read == 0 {
                return Ok(digest.finalize().into());
            }
            digest.update(&buffer[..read]);
        }
    }
}

fn check_length(length: u64) -> Result<(), Unusable> {
    if length > MAX_LOADED {
        return Err(Unusable::Load(format!(
            "it has {length} bytes; at most {MAX_LOADED} are loaded"
        )));
    }
    Ok(())
}

fn new_memory_file() -> io::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    Ok(memfd_create(c"executor-runtime-plugin", flags)?)
}
