//! The files that a plugin is made of.

use std::{
    collections::BTreeMap,
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Folders in a plugin's folder whose files are not its own, or are made of them.
const NOT_ITS_OWN: [&str; 2] = ["target", "node_modules"];

/// A folder that Python fills anywhere.
const OF_PYTHON: &str = "__pycache__";

/// The plugin's own files, and what tells that one has changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Files(BTreeMap<PathBuf, Stamp>);

/// A file may be replaced by one that is as old and as long: its number and the time of the last change of either say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    length: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    changed: (i64, i64),
}

impl From<Metadata> for Stamp {
    fn from(found: Metadata) -> Self {
        Self {
            inode: found.ino(),
            length: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }
}

impl Files {
    /// Those in a directory, by their paths without links. What can't be read now is a change once it can.
    pub(super) fn of(directory: &Path) -> Self {
        let mut files = BTreeMap::new();
        if let Ok(directory) = directory.canonicalize() {
            let _ = add(&directory, &NOT_ITS_OWN, &mut files);
        }
        Self(files)
    }

    /// One that was changed after a moment, if there is one.
    pub(super) fn newer_than(&self, moment: SystemTime) -> Option<&Path> {
        let since = moment.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        let limit = (
            i64::try_from(since.as_secs()).ok()?,
            i64::from(since.subsec_nanos()),
        );
        let newer = self.0.iter().find(|(_, stamp)| stamp.modified > limit);
        newer.map(|(path, _)| path.as_path())
    }

    /// The same but for those in a folder.
    pub(super) fn without(mut self, folder: Option<&Path>) -> Self {
        if let Some(folder) = folder {
            self.0.retain(|path, _| !path.starts_with(folder));
        }
        self
    }
}

fn add(directory: &Path, without: &[&str], files: &mut BTreeMap<PathBuf, Stamp>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // Editors keep their own files under such names, and cargo writes its lock file.
        if name.starts_with('.') || name.ends_with('~') || name == "Cargo.lock" {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            if !without.contains(&&*name) && name != OF_PYTHON {
                // One that can't be read does not hide the others.
                let _ = add(&entry.path(), &[], files);
            }
        } else if let Ok(metadata) = entry.metadata() {
            files.insert(entry.path(), metadata.into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_the_plugins_own_and_not_what_is_built_of_them() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().canonicalize().unwrap();
        for file in [
            "src/lib.rs",
            "plugin.json",
            "target/made",
            "build/release/made",
            ".hidden",
            "Cargo.lock",
            "lib/__pycache__/made",
            "lib/target/own",
            "vendor/own",
        ] {
            let path = directory.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let paths = |files: Files| -> Vec<_> {
            let paths = files.0.into_keys();
            paths
                .map(|path| path.strip_prefix(&directory).unwrap().to_owned())
                .collect()
        };
        let own = ["lib/target/own", "plugin.json", "src/lib.rs", "vendor/own"].map(PathBuf::from);
        let files = Files::of(&directory).without(Some(&directory.join("build")));
        assert_eq!(paths(files), own);
        let all = paths(Files::of(&directory).without(None));
        assert!(all.contains(&PathBuf::from("build/release/made")), "{all:?}");

        // One that is replaced by another of the same length and time is noticed.
        let (file, other) = (directory.join("plugin.json"), directory.join("other"));
        let before = Files::of(&directory);
        fs::write(&other, "").unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        fs::File::options()
            .write(true)
            .open(&other)
            .unwrap()
            .set_modified(modified)
            .unwrap();
        fs::rename(&other, &file).unwrap();
        assert_ne!(Files::of(&directory), before);
    }
}
