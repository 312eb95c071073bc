//! The checkpoint of a run: what a plugin wants to know if its run is interrupted.
//!
//! It is a file in the capture directory. A run that comes to an end removes it, whatever the end, once that is recorded if
//! it is to be (see the module `unrecorded`); only a host that dies leaves one. The next run of the same invocation in the same base is then told what it says.
//!
//! The same is one that asks for the same: the file begins with a digest of the invocation, without what only
//! says how long it may take, where its result goes, and which trace it is part of. Another invocation that was given an id again does not
//! go on from what it never began.

use super::{CaptureDirectory, finished, open_regular_at, unrecorded};
use crate::trace;
use executor_runtime_protocol::RuntimeInvocation;
use nix::{
    fcntl::AtFlags,
    sys::stat::fstatat,
    unistd::{UnlinkatFlags, unlinkat},
};
use sha2::{Digest, Sha256};
use std::{fmt, io::Read};

/// The longest checkpoint, in bytes.
pub(super) const MAX_CHECKPOINT: usize = 64 * 1024;

pub(super) const NAME: &str = "checkpoint";
/// Renamed when it is whole, so that a host that dies leaves the one before.
pub(super) const PARTIAL: &str = ".checkpoint.partial";

/// What an invocation asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of an invocation: what it asks for, without how long it may take, where its result goes, and which
    /// trace it is part of.
    pub fn of(invocation: &RuntimeInvocation) -> Self {
        let mut asked = RuntimeInvocation {
            timeout_seconds: None,
            output_result_path: None,
            ..invocation.clone()
        };
        trace::put_into(&mut asked.metadata, None);
        // Maps are ordered, so that the same invocation has the same text.
        let text = serde_json::to_vec(&asked).unwrap_or_default();
        Self(Sha256::digest(text).into())
    }

    /// The one that was kept as these bytes; none if they are of no fingerprint.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// It as bytes, to be kept and compared.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Whether a checkpoint is short enough; the error is a sentence.
pub fn check_length(state: &[u8]) -> Result<(), String> {
    if state.len() > MAX_CHECKPOINT {
        return Err(format!(
            "the checkpoint has {} bytes; the limit is {MAX_CHECKPOINT}",
            state.len()
        ));
    }
    Ok(())
}

impl CaptureDirectory {
    /// Keeps `state` in place of the checkpoint before.
    pub(super) fn keep_checkpoint(&self, of: Fingerprint, state: &[u8]) -> Result<(), String> {
        check_length(state)?;
        self.replace_file(PARTIAL, NAME, &[&of.0, state].concat())
            .map(drop)
            .map_err(|error| format!("can't write the checkpoint: {error}"))
    }

    /// Whether there is one.
    pub(super) fn has_checkpoint(&self) -> bool {
        fstatat(&self.handle, NAME, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok()
    }

    /// What an interrupted run of the same invocation has left. A file that is not a checkpoint of it, such as one
    /// that is too long, counts as none.
    pub fn checkpoint(&self, of: Fingerprint) -> Option<Vec<u8>> {
        let file = open_regular_at(&self.handle, NAME).ok()??;
        let most = of.0.len() + MAX_CHECKPOINT;
        let mut read = Vec::new();
        file.take(most as u64 + 1).read_to_end(&mut read).ok()?;
        let state = read.strip_prefix(&of.0)?;
        (read.len() <= most).then(|| state.to_owned())
    }

    /// The run has come to an end: nothing is left to go on from, and no record of what was finished before that.
    pub(super) fn forget_checkpoint(&self) {
        for name in [
            NAME,
            PARTIAL,
            finished::NAME,
            finished::PARTIAL,
            unrecorded::NAME,
            unrecorded::PARTIAL,
        ] {
            // Mostly there is none.
            let _ = unlinkat(&self.handle, name, UnlinkatFlags::NoRemoveDir);
        }
    }

    /// Removes the artifacts directory and then this one, each if nothing is in it.
    pub fn remove_if_empty(&self) {
        let _ = unlinkat(&self.handle, super::ARTIFACTS, UnlinkatFlags::RemoveDir);
        // Its path may lead to another directory since.
        if self.is_in_place() {
            let _ = std::fs::remove_dir(self.path());
        }
    }
}
