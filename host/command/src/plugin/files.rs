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
    /// Those in a directory. What can't be read now is a change once it can.
    pub(super) fn of(directory: &Path) -> Self {
        let mut files = BTreeMap::new();
        let _ = add(directory, &mut files);
        Self(files)
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
                add(&entry.path(), files)?;
            }
        } else if let Ok(modified) = entry.metadata().and_then(|metadata| metadata.modified()) {
            files.insert(entry.path(), modified);
        }
    }
    Ok(())
}
