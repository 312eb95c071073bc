//! The directory of a run: what the command leaves in `$RXP_ARTIFACTS_DIR`.
//!
//! What a container has written is not trusted: only regular files are taken, and no symbolic link is followed.

use executor_runtime_sdk::{Context, RunError};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use std::{
    fs::{self, DirBuilder, File, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// How the names of all of them begin.
const PREFIX: &str = "executor-runtime-container-";
/// Where the command finds it.
pub(crate) const INSIDE: &str = "/run/executor-runtime/artifacts";
/// How deep folders may be.
const DEPTH: usize = 16;

/// Where the directory of the run with this token is.
pub(crate) fn path(token: &str) -> PathBuf {
    std::env::temp_dir().join(format!("{PREFIX}{token}"))
}

/// What is mounted of it.
pub(crate) fn artifacts(directory: &Path) -> PathBuf {
    directory.join("artifacts")
}

/// Makes it. Only this user gets in; in the container, anyone may write.
pub(crate) fn make(directory: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(directory)?;
    let artifacts = artifacts(directory);
    fs::create_dir(&artifacts)?;
    fs::set_permissions(&artifacts, Permissions::from_mode(0o777))
}

/// Removes it, if it is one.
pub(crate) fn remove(directory: &Path) {
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    if directory.is_absolute() && name.starts_with(PREFIX) {
        // What can't be removed is in a directory for temporary files.
        let _ = fs::remove_dir_all(directory);
    }
}

/// What became of the files.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    /// How many were left out.
    pub(crate) omitted: u64,
}

/// Keeps each file as an artifact. One in a folder is called `folder__file`.
pub(crate) fn collect(ctx: &Context, directory: &Path) -> Result<Collected, RunError> {
    let mut collected = Collected::default();
    collect_in(ctx, &artifacts(directory), "", 0, &mut collected)?;
    Ok(collected)
}

fn collect_in(
    ctx: &Context,
    folder: &Path,
    prefix: &str,
    depth: usize,
    collected: &mut Collected,
) -> Result<(), RunError> {
    let mut entries: Vec<_> = fs::read_dir(folder)?.flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth < DEPTH => {
                collect_in(ctx, &entry.path(), &format!("{name}__"), depth + 1, collected)?;
            }
            Ok(kind) if kind.is_file() && keep(ctx, &entry.path(), &name).is_ok() => {}
            _ => collected.omitted += 1,
        }
    }
    Ok(())
}

fn keep(ctx: &Context, path: &Path, name: &str) -> Result<(), RunError> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let mut file = File::from(open(path, flags, Mode::empty()).map_err(io::Error::from)?);
    let mut artifact = ctx.artifact(name, "file")?;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => match artifact.write_all(&buffer[..read]) {
                Ok(()) => {}
                // The host says so in the artifact's metadata.
                Err(error) if error.kind() == io::ErrorKind::FileTooLarge => break,
                Err(error) => return Err(error.into()),
            },
        }
    }
    artifact.finish()?;
    Ok(())
}
