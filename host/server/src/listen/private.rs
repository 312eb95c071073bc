//! Files and directories that must be this user's alone, because anyone who has them can run anything as this user.

use anyhow::{Context, Result, bail};
use std::{
    fs::{self, File, Metadata},
    io::Read,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// The longest token or key file, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Permissions of the group and of others.
const OTHERS: u32 = 0o077;
/// The right of the group and of others to write.
const OTHERS_WRITE: u32 = 0o022;
/// Only the owner of a file may rename it here.
const STICKY: u32 = 0o1000;

/// The user that this process runs as.
pub(super) fn this_user() -> u32 {
    // SAFETY: no memory is involved.
    unsafe { libc::geteuid() }
}

/// Whether what belongs to `uid` may be trusted: it is this user or root.
pub(super) fn is_trusted(uid: u32) -> bool {
    uid == this_user() || uid == 0
}

/// Reads a file that is private to this user, such as a key. `what` is its name in messages.
pub(super) fn read(what: &str, path: &Path) -> Result<Vec<u8>> {
    let context = || format!("{what} '{}'", path.display());
    // A pipe without a writer would be waited for.
    let mut file = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path)
        .with_context(context)?;
    check(&file).with_context(context)?;
    let mut bytes = Vec::new();
    file.by_ref()
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .with_context(context)?;
    if bytes.len() as u64 > MAX_BYTES {
        bail!("{}: it has more than {MAX_BYTES} bytes", context());
    }
    Ok(bytes)
}

fn check(file: &File) -> Result<()> {
    let status = file.metadata()?;
    if !status.is_file() {
        bail!("it is not a file");
    }
    if !is_trusted(status.uid()) {
        bail!("it belongs to another user; it has to be your own");
    }
    if status.mode() & OTHERS != 0 {
        bail!("others may read it; set its mode to 0600");
    }
    Ok(())
}

/// Fails if someone but this user and root can put a file into `directory`, or another directory in its place. Returns its
/// path without links.
pub(super) fn check_directory(directory: &Path) -> Result<PathBuf> {
    let real = directory
        .canonicalize()
        .with_context(|| format!("'{}'", directory.display()))?;
    for (index, place) in real.ancestors().enumerate() {
        let status = fs::metadata(place).with_context(|| format!("'{}'", place.display()))?;
        // In a directory such as /tmp, names of others are safe; those that come new are not.
        let may_be_sticky = index > 0;
        if let Some(reason) = why_open(&status, may_be_sticky) {
            bail!(
                "'{}' {reason}; the socket has to be in a directory where only you can write",
                place.display()
            );
        }
    }
    Ok(real)
}

fn why_open(status: &Metadata, may_be_sticky: bool) -> Option<&'static str> {
    if !status.is_dir() {
        Some("is not a directory")
    } else if !is_trusted(status.uid()) {
        Some("belongs to another user")
    } else if status.mode() & OTHERS_WRITE != 0 && !(may_be_sticky && status.mode() & STICKY != 0) {
        Some("can be written by others")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs::Permissions, os::unix::fs::PermissionsExt};

    fn scratch(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("server-private-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, Permissions::from_mode(0o700)).unwrap();
        directory
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let directory = scratch("file");
        let path = directory.join("token");
        fs::write(&path, "secret").unwrap();
        for mode in [0o640, 0o604, 0o620, 0o644] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let error = format!("{:#}", read("token file", &path).unwrap_err());
            assert!(
                error.ends_with("others may read it; set its mode to 0600"),
                "{error}"
            );
        }
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read("token file", &path).unwrap(), b"secret");
        assert!(read("token file", &directory).is_err());
        assert!(read("token file", &directory.join("missing")).is_err());
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_directory_in_which_others_can_write_is_refused() {
        let directory = scratch("directory");
        let inner = directory.join("inner");
        fs::create_dir(&inner).unwrap();
        fs::set_permissions(&inner, Permissions::from_mode(0o700)).unwrap();
        check_directory(&inner).unwrap();
        for (mode, may) in [(0o755, true), (0o770, false), (0o777, false), (0o1777, true)] {
            fs::set_permissions(&directory, Permissions::from_mode(mode)).unwrap();
            assert_eq!(check_directory(&inner).is_ok(), may, "above: {mode:o}");
        }
        fs::set_permissions(&directory, Permissions::from_mode(0o1777)).unwrap();
        let error = format!("{:#}", check_directory(&directory).unwrap_err());
        assert!(error.contains("can be written by others"), "{error}");
        fs::remove_dir_all(directory).unwrap();
    }
}
