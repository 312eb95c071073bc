//! The program of a last will: opened when the will is left, so that what is run is what was there then.

use nix::{
    errno::Errno,
    fcntl::{OFlag, open},
    sys::stat::Mode,
    unistd::{AccessFlags, access},
};
use std::{
    env, io,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

/// Opens the program of a command; the error says why it can't be used. Blocks.
pub(super) fn find(command: &[String]) -> Result<OwnedFd, String> {
    let name = command.first().filter(|name| !name.is_empty());
    let name = name.ok_or("the last will has no program")?;
    if command.iter().any(|part| part.contains('\0')) {
        return Err("an argument of the last will has a NUL byte".to_owned());
    }
    let found = if name.starts_with('/') {
        open_executable(Path::new(name))
    } else if name.contains('/') {
        return Err(format!(
            "the program of the last will, '{name}', is no absolute path"
        ));
    } else {
        let path = env::var_os("PATH").unwrap_or_default();
        // The command starts in `/`.
        let folders = env::split_paths(&path).map(|folder| Path::new("/").join(folder));
        let mut programs = folders.filter_map(|folder| open_executable(&folder.join(name)).ok());
        programs.next().ok_or(Errno::ENOENT)
    };
    found.map_err(|errno| {
        let error = io::Error::from(errno);
        format!("the program of the last will, '{name}', can't be used: {error}")
    })
}

fn open_executable(path: &Path) -> nix::Result<OwnedFd> {
    let program = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    access(&path_of(&program), AccessFlags::X_OK)?;
    if path.is_dir() {
        return Err(Errno::EISDIR);
    }
    Ok(program)
}

/// The path by which this process starts it.
pub(super) fn path_of(program: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", program.as_raw_fd()))
}
