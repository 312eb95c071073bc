//! A temporary directory, which is removed when it is dropped.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

/// Made by hand: the crate `tempfile` brings features to dependencies of the SDK, which would then be compiled twice.
#[derive(Debug)]
pub(crate) struct Directory(PathBuf);

impl Directory {
    /// One that only this user may use.
    pub(crate) fn new() -> io::Result<Self> {
        let template = env::temp_dir().join("executor-runtime-test-XXXXXX");
        Ok(Self(nix::unistd::mkdtemp(&template)?))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What can't be removed is left to whatever cleans the temporary directory.
        let _ = fs::remove_dir_all(&self.0);
    }
}
