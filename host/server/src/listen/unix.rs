//! The Unix socket: for this user alone, by its mode, by its directory, and by who connects.

use super::private;
use anyhow::{Context, Result, anyhow, bail};
use std::{
    env,
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};
use tokio::net::{UnixListener, UnixSocket, UnixStream};

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1024;

/// Names the socket, for hosts and their clients.
const SOCKET_VARIABLE: &str = "EXECUTOR_RUNTIME_SOCKET";

/// The socket that the environment names, if it does.
pub(super) fn named_path() -> Option<PathBuf> {
    let named = env::var_os(SOCKET_VARIABLE).filter(|path| !path.is_empty());
    named.map(PathBuf::from)
}

/// The socket where none is named.
///
/// # Errors
/// Where the user has no runtime directory.
pub(super) fn default_path() -> Result<PathBuf> {
    match env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from) {
        Some(directory) if directory.is_absolute() => Ok(directory.join("executor-runtime").join("api.sock")),
        _ => bail!(
            "there is no place for the socket: XDG_RUNTIME_DIR is not set to an absolute path; set it, or give --socket PATH"
        ),
    }
}

/// Makes the directory of the default socket.
pub(super) fn make_directory(socket: &Path) -> Result<()> {
    let Some(directory) = socket.parent() else {
        return Ok(());
    };
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("'{}' can't be created", directory.display()))
        }
        _ => Ok(()),
    }
}

/// A socket at a path of the file system. It is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Which file it is.
    identity: (u64, u64),
    /// Held for as long as this process serves there.
    _lock: File,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|status| (status.dev(), status.ino()) == self.identity)
        {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens at a path.
///
/// # Errors
/// Where another one does, or where others could come between.
pub(super) fn listen(path: &Path) -> Result<(UnixListener, SocketFile)> {
    let name = path
        .file_name()
        .ok_or_else(|| anyhow!("'{}' is not the path of a file", path.display()))?;
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let path = private::check_directory(directory)?.join(name);
    let lock = lock(&path)?;
    remove_stale(&path)?;
    let context = || format!("'{}' can't be listened at", path.display());
    let socket = UnixSocket::new_stream().with_context(context)?;
    socket.bind(&path).with_context(context)?;
    // No one can connect before `listen`.
    fs::set_permissions(&path, Permissions::from_mode(0o600)).with_context(context)?;
    let status = fs::symlink_metadata(&path).with_context(context)?;
    let listener = socket.listen(BACKLOG).with_context(context)?;
    let file = SocketFile {
        identity: (status.dev(), status.ino()),
        path,
        _lock: lock,
    };
    Ok((listener, file))
}

/// One process serves at a path.
fn lock(path: &Path) -> Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let context = || format!("'{}' can't be locked", name.display());
    let file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(&name)
        .with_context(context)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(already_serving(path)),
        Err(TryLockError::Error(error)) => Err(error).with_context(context),
    }
}

fn already_serving(path: &Path) -> anyhow::Error {
    anyhow!(
        "a process is already serving at '{}'; end it, or give --socket another path",
        path.display()
    )
}

/// Removes the socket of a process that is gone.
fn remove_stale(path: &Path) -> Result<()> {
    let status = match fs::symlink_metadata(path) {
        Ok(status) => status,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("'{}'", path.display())),
    };
    if !status.file_type().is_socket() {
        bail!("'{}' is there already, and is no socket", path.display());
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).with_context(|| format!("'{}' can't be replaced", path.display()))
        }
        Ok(_) => Err(already_serving(path)),
        Err(error) => Err(error).with_context(|| format!("'{}' is there already", path.display())),
    }
}

/// Whether who has connected is this user or root.
pub(super) fn is_trusted(stream: &UnixStream) -> bool {
    stream
        .peer_cred()
        .is_ok_and(|peer| private::is_trusted(peer.uid()))
}
