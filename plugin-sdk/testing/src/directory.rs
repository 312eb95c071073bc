//! A temporary directory, which is removed when it is dropped.

use std::{
    env,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
};

/// Made by hand: the crate `tempfile` brings features to dependencies of the SDK, which would then be compiled twice.
#[derive(Debug)]
pub(crate) struct Directory(PathBuf);

impl Directory {
    /// One that only this user may use.
    pub(crate) fn new() -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("executor-runtime-test-{}-{number}", process::id());
            let path = env::temp_dir().join(name);
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                // Left by an earlier process with this id.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
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
