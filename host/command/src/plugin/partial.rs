//! Files and folders that appear whole or not at all.

use nix::{errno::Errno, sys::signal::kill, unistd::Pid};
use std::{
    ffi::{OsStr, OsString},
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process,
};

/// How the folders are called in which something is made: `.NAME.PROCESS.partial`.
const SUFFIX: &str = ".partial";

/// A folder beside a target, in which the target is made under its own name, and moved from there. A plugins directory does
/// not take it for a plugin. It is removed when this is dropped, and if the process is killed, by the next one.
pub(super) struct Partial {
    folder: PathBuf,
    name: OsString,
}

impl Partial {
    /// Makes the folder, and removes those that killed processes have left for this target.
    pub(super) fn beside(target: &Path) -> io::Result<Self> {
        let name = target.file_name().unwrap_or_default().to_owned();
        let parent = match target.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        remove_leftovers(parent, &name);
        let folder = parent.join(folder_name(&name, process::id()));
        DirBuilder::new().mode(0o755).create(&folder)?;
        Ok(Self { folder, name })
    }

    /// Where the target is made.
    pub(super) fn path(&self) -> PathBuf {
        self.folder.join(&self.name)
    }

    /// Moves what was made to the target, which it replaces.
    pub(super) fn finish(self, target: &Path) -> io::Result<()> {
        fs::rename(self.path(), target)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn folder_name(name: &OsStr, process: u32) -> OsString {
    let mut folder = OsString::from(".");
    folder.push(name);
    folder.push(format!(".{process}{SUFFIX}"));
    folder
}

fn remove_leftovers(parent: &Path, name: &OsStr) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let found = entry.file_name();
        let process = found
            .to_str()
            .and_then(|found| found.strip_suffix(SUFFIX))
            .and_then(|found| found.rsplit('.').next()?.parse().ok());
        let Some(process) = process.filter(|process| folder_name(name, *process) == found) else {
            continue;
        };
        let is_own = process == process::id();
        let is_gone =
            i32::try_from(process).is_ok_and(|id| kill(Pid::from_raw(id), None) == Err(Errno::ESRCH));
        // One of this process's number is an earlier one's.
        if is_own || is_gone {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_replaced_at_once_and_nothing_is_left() {
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join("x.wasm");
        fs::write(&target, "old").unwrap();
        let partial = Partial::beside(&target).unwrap();
        fs::write(partial.path(), "new").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"old");
        partial.finish(&target).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
        drop(Partial::beside(&target).unwrap());
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_a_living_one_makes_is_not() {
        let place = tempfile::tempdir().unwrap();
        let mut ended = process::Command::new("true").spawn().unwrap();
        ended.wait().unwrap();
        let names = [
            folder_name("x.wasm".as_ref(), ended.id()),
            folder_name("x.wasm".as_ref(), 1),
            folder_name("y.wasm".as_ref(), ended.id()),
        ];
        for name in &names {
            fs::create_dir(place.path().join(name)).unwrap();
        }
        drop(Partial::beside(&place.path().join("x.wasm")).unwrap());
        let left = names.each_ref().map(|name| place.path().join(name).exists());
        assert_eq!(left, [false, true, true]);
    }
}
