//! The checkpoint of a run: what a plugin wants to know if its run is interrupted.
//!
//! It is a file in the capture directory. A run that comes to an end removes it, whatever the end; only a host
//! that dies leaves one. The next run of the same invocation id in the same base is then told what it says.

use super::{CaptureDirectory, CaptureError, open_regular_at};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::{
    fs::File,
    io::{Read, Write},
};

/// The longest checkpoint, in bytes.
pub(crate) const MAX_CHECKPOINT: usize = 64 * 1024;

const NAME: &str = "checkpoint";
/// Renamed when it is whole, so that a host that dies leaves the one before.
const PARTIAL: &str = ".checkpoint.partial";

/// Whether a checkpoint is short enough; the error is a sentence.
pub(crate) fn check_length(state: &[u8]) -> Result<(), String> {
    if state.len() > MAX_CHECKPOINT {
        return Err(format!(
            "the checkpoint has {} bytes; at most {MAX_CHECKPOINT} are kept",
            state.len()
        ));
    }
    Ok(())
}

impl CaptureDirectory {
    /// Keeps `state` in place of the checkpoint before.
    pub(crate) fn keep_checkpoint(&self, state: &[u8]) -> Result<(), String> {
        check_length(state)?;
        let write = || {
            File::from(self.create_file(PARTIAL)?)
                .write_all(state)
                .map_err(|source| CaptureError::Unwritable {
                    path: self.path().join(NAME),
                    source,
                })?;
            self.rename_file(PARTIAL, NAME)
        };
        write().map_err(|error| format!("can't keep the checkpoint: {error}"))
    }

    /// What an interrupted run has left. A file that is no checkpoint, such as one that is too long, counts as
    /// none.
    pub(crate) fn checkpoint(&self) -> Option<Vec<u8>> {
        let file = open_regular_at(&self.handle, NAME).ok()??;
        let mut state = Vec::new();
        file.take(MAX_CHECKPOINT as u64 + 1)
            .read_to_end(&mut state)
            .ok()?;
        (state.len() <= MAX_CHECKPOINT).then_some(state)
    }

    /// The run has come to an end: nothing is left to go on from.
    pub(crate) fn forget_checkpoint(&self) {
        for name in [NAME, PARTIAL] {
            // Mostly there is none.
            let _ = unlinkat(&self.handle, name, UnlinkatFlags::NoRemoveDir);
        }
    }

    /// Removes the directory if nothing is in it.
    pub(crate) fn remove_if_empty(&self) {
        let _ = std::fs::remove_dir(self.path());
    }
}
