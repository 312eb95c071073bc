//! A directory for the time of one task.

use anyhow::{Context, Result};
use std::{
    env, fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process,
};

/// Removed when it is dropped.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// A new one, which only this user may enter.
    pub(crate) fn new(task: &str) -> Result<Self> {
        // What an earlier one has left is left alone.
        let mut number = 0;
        loop {
            let name = format!("executor-runtime-{task}-{}-{number}", process::id());
            let path = env::temp_dir().join(name);
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => {
                    return Err(error).with_context(|| format!("'{}' can't be made", path.display()));
                }
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left is in the folder for such things.
        let _ = fs::remove_dir_all(&self.0);
    }
}
