//! Where plugins are looked for.

use std::{
    env,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Names one more directory.
pub const DIRECTORY_VARIABLE: &str = "EXECUTOR_RUNTIME_PLUGINS_DIR";

/// The directories that count, first wins:
///
/// 1. `given` (the command line's `--plugins-dir`), in their order;
/// 2. `$EXECUTOR_RUNTIME_PLUGINS_DIR`;
/// 3. `<directory of the binary>/../plugins`;
/// 4. `$XDG_DATA_HOME/executor-runtime/plugins`, by default in `~/.local/share`.
pub fn search_path(given: &[PathBuf]) -> Vec<PathBuf> {
    let of_binary = env::current_exe()
        .ok()
        .and_then(|binary| Some(binary.parent()?.parent()?.join("plugins")));
    let mut path: Vec<PathBuf> = Vec::new();
    for directory in given
        .iter()
        .cloned()
        .chain(directory_of_variable())
        .chain(of_binary)
        .chain(users_directory())
    {
        if !path.iter().any(|seen| is_same(seen, &directory)) {
            path.push(directory);
        }
    }
    path
}

/// The directory that `$EXECUTOR_RUNTIME_PLUGINS_DIR` names, if it does.
pub fn directory_of_variable() -> Option<PathBuf> {
    let value = env::var_os(DIRECTORY_VARIABLE)?;
    (!value.is_empty()).then(|| value.into())
}

/// The user's own directory: `$XDG_DATA_HOME/executor-runtime/plugins`, by default in `~/.local/share`; none without
/// either variable.
pub fn users_directory() -> Option<PathBuf> {
    let absolute = |name: &str| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let data = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")))?;
    Some(data.join("executor-runtime/plugins"))
}

/// Whether two paths are one directory, which named twice would shadow itself.
fn is_same(one: &Path, other: &Path) -> bool {
    let file = |path: &Path| path.metadata().map(|metadata| (metadata.dev(), metadata.ino()));
    one == other
        || match (file(one), file(other)) {
            (Ok(one), Ok(other)) => one == other,
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_named_twice_counts_once() {
        let directory = tempfile::tempdir().unwrap();
        let given = [directory.path().to_owned(), directory.path().join(".")];
        assert_eq!(
            search_path(&given)
                .iter()
                .filter(|p| p.starts_with(directory.path()))
                .count(),
            1
        );
        assert_eq!(search_path(&given)[0], given[0]);
    }
}
