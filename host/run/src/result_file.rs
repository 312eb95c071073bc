//! Writes the result document so that a reader sees all of it or nothing.
//!
//! A temporary file beside the target is written, flushed to disk and renamed onto it. Only regular files are
//! replaced: renaming onto `/dev/null` would break more than this run.

use executor_runtime_protocol::RuntimeResult;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// Why the result file could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ResultFileError {
    /// The path can't be a result file.
    #[error("the result could not be written to '{}': it is {what}", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What is there.
        what: &'static str,
    },
    /// Something on the way failed.
    #[error("the result could not be written to '{}': {source}", path.display())]
    Unwritable {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Writes `result` to `path`; directories on the way are created.
pub fn write(path: &Path, result: &RuntimeResult) -> Result<(), ResultFileError> {
    let unwritable = |source| ResultFileError::Unwritable {
        path: path.to_owned(),
        source,
    };
    let target = target(path)?;
    let mut document = serde_json::to_vec_pretty(result).map_err(|error| unwritable(error.into()))?;
    document.push(b'\n');
    let created = match (create_beside(&target), target.parent()) {
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(parent).and_then(|()| create_beside(&target))
        }
        (created, _) => created,
    };
    let (temporary, file) = created.map_err(unwritable)?;
    fill(file, &document)
        .and_then(|()| fs::rename(&temporary, &target))
        .map_err(|error| {
            let _ = fs::remove_file(&temporary);
            unwritable(error)
        })
}

/// The file that is replaced: for a symbolic link, the one that it leads to.
fn target(path: &Path) -> Result<PathBuf, ResultFileError> {
    let refused = |what| {
        Err(ResultFileError::NotAFile {
            path: path.to_owned(),
            what,
        })
    };
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    match fs::symlink_metadata(&target) {
        Ok(status) if status.is_dir() => refused("a directory"),
        Ok(status) if status.is_symlink() => refused("a dangling symbolic link"),
        Ok(status) if !status.is_file() => refused("not a regular file"),
        // What is not there yet can be made; what can't be looked at fails when it is made.
        Ok(_) | Err(_) if target.file_name().is_some() => Ok(target),
        _ => refused("not a file name"),
    }
}

fn create_beside(target: &Path) -> io::Result<(PathBuf, File)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!(".executor-runtime-result.{}.{number}.tmp", std::process::id());
        let temporary = target.with_file_name(name);
        match OpenOptions::new().write(true).create_new(true).open(&temporary) {
            Ok(file) => return Ok((temporary, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

fn fill(mut file: File, document: &[u8]) -> io::Result<()> {
    file.write_all(document)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use executor_runtime_protocol::{RuntimeKind, Status, Timestamp};
    use std::collections::BTreeMap;

    fn result() -> RuntimeResult {
        RuntimeResult {
            invocation_id: "inv".to_owned(),
            runtime_name: "name".to_owned(),
            runtime_kind: RuntimeKind::new("subprocess").unwrap(),
            status: Status::Succeeded,
            exit_code: Some(0),
            started_at: Timestamp::now(),
            finished_at: Timestamp::now(),
            stdout_path: None,
            stderr_path: None,
            artifacts: Vec::new(),
            error_summary: None,
            metadata: BTreeMap::new(),
        }
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn parents_are_created_and_nothing_else_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b/result.json");
        write(&path, &result()).unwrap();
        write(&path, &result()).unwrap();
        assert_eq!(
            RuntimeResult::from_json(&fs::read(&path).unwrap())
                .unwrap()
                .invocation_id,
            "inv"
        );
        assert_eq!(names(path.parent().unwrap()), ["result.json"]);
    }

    #[test]
    fn a_link_keeps_leading_to_the_file_that_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write(&link, &result()).unwrap();
        assert!(link.is_symlink());
        assert!(fs::read_to_string(&file).unwrap().contains("\"inv\""));
    }

    #[test]
    fn what_is_no_regular_file_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let dangling = directory.path().join("dangling");
        std::os::unix::fs::symlink("/nowhere/at/all", &dangling).unwrap();
        for (path, what) in [
            (Path::new("/dev/null"), "it is not a regular file"),
            (directory.path(), "it is a directory"),
            (&dangling, "it is a dangling symbolic link"),
            (Path::new("/proc/none/result.json"), "No such file or directory"),
        ] {
            let error = write(path, &result()).unwrap_err().to_string();
            assert!(
                error.contains(what) && error.contains(path.to_str().unwrap()),
                "{error}"
            );
        }
        assert_eq!(names(directory.path()), ["dangling"]);
    }
}
