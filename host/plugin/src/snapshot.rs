//! Noticing that files have changed without reading them.

use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// What a file system says of files, and of what is in directories. Two of the same paths are equal if nothing has been
/// added, removed, replaced or written in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot(Vec<(PathBuf, Option<Seen>)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    device: u64,
    inode: u64,
    length: u64,
    mode: u32,
    owner: u32,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    changed: (i64, i64),
}

impl From<Metadata> for Seen {
    fn from(found: Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
            length: found.size(),
            mode: found.mode(),
            owner: found.uid(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }
}

impl Snapshot {
    /// Looks at these paths, and at what is in those of them that are directories. Blocks.
    pub fn of<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Self {
        let mut seen = Vec::new();
        for path in paths {
            look(path, &mut seen);
            let Ok(entries) = fs::read_dir(path) else { continue };
            let mut inside: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
            inside.sort();
            for path in inside {
                look(&path, &mut seen);
            }
        }
        Self(seen)
    }
}

fn look(path: &Path, seen: &mut Vec<(PathBuf, Option<Seen>)>) {
    let found = fs::metadata(path).ok().map(Seen::from);
    seen.push((path.to_owned(), found));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("config");
        let plugins = directory.path().join("plugins");
        let snapshot = || Snapshot::of([config.as_path(), plugins.as_path()]);
        let mut before = snapshot();
        let mut change = |what: &str, work: &dyn Fn()| {
            work();
            let after = snapshot();
            assert_ne!(before, after, "{what}");
            assert_eq!(after, snapshot());
            before = after;
        };
        change("a file is made", &|| fs::write(&config, "a").unwrap());
        change("a directory is made", &|| fs::create_dir(&plugins).unwrap());
        change("a plugin is added", &|| {
            fs::write(plugins.join("x.wasm"), "1").unwrap()
        });
        change("a plugin is replaced by one of the same length", &|| {
            fs::write(plugins.join("y"), "2").unwrap();
            fs::rename(plugins.join("y"), plugins.join("x.wasm")).unwrap();
        });
        change("a plugin is removed", &|| {
            fs::remove_file(plugins.join("x.wasm")).unwrap()
        });
        change("the file is removed", &|| fs::remove_file(&config).unwrap());
    }
}
