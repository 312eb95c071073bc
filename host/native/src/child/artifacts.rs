//! The artifacts that a run is writing.
//!
//! A file has a temporary name until it is finished, which is when the host gives it its own. It looks at the file itself
//! before it lists it.

use super::super::wire::{Message, Request};
use executor_runtime_plugin::session::is_valid_artifact_name;
use executor_runtime_run::capture::{ReopenError, create_file_at, reopen_unfinished, unfinished_name};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, Write},
    os::fd::{AsFd, OwnedFd},
};

/// Why an artifact can't be created or reopened.
pub(super) enum CreateError {
    InvalidName,
    DuplicateName,
    TooMany(u32),
    Unwritable(String),
    NotResumable(ReopenError),
}

#[derive(Debug)]
pub(super) struct Artifacts {
    directory: Option<OwnedFd>,
    why_not: String,
    max_count: u32,
    max_bytes: u64,
    /// What was begun.
    names: BTreeSet<String>,
    /// Whether the run goes on from an interrupted one.
    resumes: bool,
    /// What that has finished.
    earlier: BTreeSet<String>,
    open: BTreeMap<u64, Artifact>,
    next: u64,
}

#[derive(Debug)]
struct Artifact {
    file: File,
    name: String,
    kind: String,
    description: String,
    length: u64,
    truncated: bool,
}

impl Artifacts {
    pub(super) fn new(directory: Option<OwnedFd>, request: &Request) -> Self {
        Self {
            directory,
            why_not: request.no_artifacts.clone().unwrap_or_default(),
            max_count: request.max_artifacts,
            max_bytes: request.max_artifact_bytes,
            names: BTreeSet::new(),
            resumes: request.resumed.is_some(),
            earlier: request.earlier_artifacts.clone(),
            open: BTreeMap::new(),
            next: 0,
        }
    }

    pub(super) fn create(&mut self, name: &str, kind: &str, description: &str) -> Result<u64, CreateError> {
        self.begin(name, kind, description, 0, |directory| {
            let created = create_file_at(directory.as_fd(), &unfinished_name(name));
            created.map(File::from).map_err(|errno| {
                CreateError::Unwritable(format!("artifact '{name}' can't be created: {errno}"))
            })
        })
    }

    /// Goes on with one that an interrupted run had begun, at this length.
    pub(super) fn reopen(
        &mut self,
        name: &str,
        kind: &str,
        description: &str,
        length: u64,
    ) -> Result<u64, CreateError> {
        let resumes = self.resumes;
        self.begin(name, kind, description, length, |directory| {
            if !resumes {
                return Err(CreateError::NotResumable(ReopenError::NotResumed(
                    name.to_owned(),
                )));
            }
            reopen_unfinished(directory, name, length).map_err(CreateError::NotResumable)
        })
    }

    fn begin(
        &mut self,
        name: &str,
        kind: &str,
        description: &str,
        length: u64,
        open: impl FnOnce(&OwnedFd) -> Result<File, CreateError>,
    ) -> Result<u64, CreateError> {
        if !is_valid_artifact_name(name) {
            return Err(CreateError::InvalidName);
        }
        if self.names.contains(name) {
            return Err(CreateError::DuplicateName);
        }
        let others = self.earlier.union(&self.names).filter(|other| *other != name);
        if others.count() >= self.max_count as usize {
            return Err(CreateError::TooMany(self.max_count));
        }
        let Some(directory) = &self.directory else {
            return Err(CreateError::Unwritable(self.why_not.clone()));
        };
        let file = open(directory)?;
        self.names.insert(name.to_owned());
        let handle = self.next;
        self.next += 1;
        self.open.insert(
            handle,
            Artifact {
                file,
                name: name.to_owned(),
                kind: kind.to_owned(),
                description: description.to_owned(),
                length,
                truncated: false,
            },
        );
        Ok(handle)
    }

    /// Writes as much as the limit allows.
    pub(super) fn write(&mut self, handle: u64, bytes: &[u8]) -> io::Result<u64> {
        let artifact = self.open.get_mut(&handle).ok_or(io::ErrorKind::NotFound)?;
        let room = self.max_bytes.saturating_sub(artifact.length);
        let length = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        artifact.truncated |= length < bytes.len();
        artifact.file.write_all(&bytes[..length])?;
        artifact.length += length as u64;
        Ok(length as u64)
    }

    /// The length of an artifact that is complete, and how to tell the host. From then on it is the host's.
    pub(super) fn finish(&mut self, handle: u64) -> io::Result<(u64, Message)> {
        let artifact = self.open.remove(&handle).ok_or(io::ErrorKind::NotFound)?;
        let message = Message::Artifact {
            name: artifact.name,
            kind: artifact.kind,
            description: artifact.description,
            truncated: artifact.truncated,
        };
        Ok((artifact.length, message))
    }

    /// Gives up an artifact; how to tell the host, which removes the file.
    pub(super) fn discard(&mut self, handle: u64) -> Option<Message> {
        let artifact = self.open.remove(&handle)?;
        Some(Message::Dropped { name: artifact.name })
    }
}
