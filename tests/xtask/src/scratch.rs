//! A directory for the time of one task.

use anyhow::{Context, Result};
use std::{
    env, fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process,
};

/// Removed when it is dropped.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// A new one, which only this user may enter.
    pub(crate) fn new(task: &str) -> Result<Self> {
        let path = env::temp_dir().join(format!("executor-runtime-{task}-{}", process::id()));
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("'{}' can't be made", path.display()))?;
        Ok(Self(path))
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
