//! Where a host keeps what has to survive it.

use anyhow::{Context, Result, anyhow, bail};
use executor_runtime_service::state_directory;
use std::{
    fs::{self, DirBuilder},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

/// The directory that is named, or the user's; it is made if it is missing.
///
/// # Errors
/// Where there is none, or it is another user's.
pub(crate) fn directory(named: Option<&Path>) -> Result<PathBuf> {
    let directory = match named {
        Some(directory) => directory.to_owned(),
        None => users()?,
    };
    let context = || format!("state directory '{}'", directory.display());
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)
        .with_context(context)?;
    let status = fs::metadata(&directory).with_context(context)?;
    // SAFETY: no memory is involved.
    if status.uid() != unsafe { libc::geteuid() } {
        bail!("{}: it belongs to another user", context());
    }
    if status.mode() & 0o022 != 0 {
        bail!("{}: others can write there; set its mode to 0700", context());
    }
    Ok(directory)
}

fn users() -> Result<PathBuf> {
    state_directory().ok_or_else(|| {
        anyhow!(
            "there is no place for the journal: neither XDG_STATE_HOME nor HOME is set; give --state-dir DIR"
        )
    })
}
