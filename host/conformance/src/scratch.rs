//! A directory for what the runs leave.

use nix::unistd::mkdtemp;
use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

/// A private temporary directory, removed when dropped.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new() -> io::Result<Self> {
        let template = env::temp_dir().join("executor-runtime-check-XXXXXX");
        Ok(Self(mkdtemp(&template)?))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
