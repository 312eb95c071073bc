//! The files that a plugin is made of.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Folders whose files are not the plugin's own, or are made of them.
const NOT_WATCHED: [&str; 4] = ["target", "vendor", "node_modules", "__pycache__"];

/// The plugin's own files, and when each was changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Files(BTreeMap<PathBuf, SystemTime>);

impl Files {
    /// Those in a directory, by their paths without links. What can't be read now is a change once it can.
    pub(super) fn of(directory: &Path) -> Self {
        let mut files = BTreeMap::new();
        if let Ok(directory) = directory.canonicalize() {
            let _ = add(&directory, &mut files);
        }
        Self(files)
    }

    /// The same but for those in a folder.
    pub(super) fn without(mut self, folder: Option<&Path>) -> Self {
        if let Some(folder) = folder {
            self.0.retain(|path, _| !path.starts_with(folder));
        }
        self
    }
}

fn add(directory: &Path, files: &mut BTreeMap<PathBuf, SystemTime>) -> io::Result<()> {
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
            if !NOT_WATCHED.contains(&&*name) {
                // One that can't be read does not hide the others.
                let _ = add(&entry.path(), files);
            }
        } else if let Ok(modified) = entry.metadata().and_then(|metadata| metadata.modified()) {
            files.insert(entry.path(), modified);
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
        let own = ["plugin.json", "src/lib.rs"].map(PathBuf::from);
        let files = Files::of(&directory).without(Some(&directory.join("build")));
        assert_eq!(paths(files), own);
        let all = paths(Files::of(&directory).without(None));
        assert!(all.contains(&PathBuf::from("build/release/made")), "{all:?}");
    }
}
