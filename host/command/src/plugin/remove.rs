//! `plugin remove`: files out of plugins directories.
//!
//! Out of the user's own directory, or of one that `--plugins-dir` names. What came with the host, or is there for other
//! users, is not removed because it happens to have the name.

use super::{is_called, is_path};
use crate::args::HostOptions;
use anyhow::{Context, Result, bail};
use executor_runtime::plugin::{PluginSet, users_directory};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Removes an installed plugin: by its name, its kind, or its path in a plugins directory.
pub(super) fn remove(plugins: &PluginSet, options: &HostOptions, wanted: &str) -> Result<()> {
    let is_path = is_path(wanted);
    let found = if is_path {
        files_at(plugins, Path::new(wanted))
    } else {
        files_called(plugins, wanted)
    };
    let Some(&first) = found.first() else {
        let what = if is_path {
            format!("'{wanted}' is not a file in a plugins directory")
        } else {
            format!("no installed plugin has the name or kind '{wanted}'")
        };
        bail!("not removed: {what}; `plugin list` shows what is installed");
    };
    let directories = match &options.plugins_dir[..] {
        [] => users_directory().into_iter().collect(),
        given => given.to_vec(),
    };
    let removable: Vec<_> = found
        .iter()
        .filter(|path| {
            directories
                .iter()
                .any(|directory| is_same(parent(path), directory))
        })
        .collect();
    match removable[..] {
        [] => bail!(
            "not removed: '{}' is not in {}; to remove it anyway, add --plugins-dir '{}'",
            first.display(),
            match &options.plugins_dir[..] {
                [] => "your own plugins directory",
                _ => "the directory that --plugins-dir names",
            },
            parent(first).display()
        ),
        [path] => {
            fs::remove_file(path).with_context(|| format!("'{}' can't be removed", path.display()))?;
            say!("removed '{}'", path.display());
            Ok(())
        }
        [one, other, ..] => bail!(
            "not removed: '{wanted}' matches both '{}' and '{}'; give the path of the one to remove",
            one.display(),
            other.display()
        ),
    }
}

/// The installed plugins with this name or kind.
fn files_called<'a>(plugins: &'a PluginSet, wanted: &str) -> Vec<&'a PathBuf> {
    let list = plugins.list().iter();
    list.filter(|found| is_called(found, wanted))
        .map(|found| &found.path)
        .collect()
}

/// The file in a plugins directory that `path` means, or those that a bare file name means; usable or not.
fn files_at<'a>(plugins: &'a PluginSet, path: &Path) -> Vec<&'a PathBuf> {
    let installed = || plugins.list().iter().map(|found| &found.path);
    let has_name = |found: &&PathBuf| found.file_name() == path.file_name();
    let at_path = installed()
        .filter(has_name)
        .find(|found| is_same(parent(found), parent(path)));
    match at_path {
        Some(found) => vec![found],
        None if path.components().count() == 1 => installed().filter(has_name).collect(),
        None => Vec::new(),
    }
}

/// The directory that a file is in.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Whether both are there and are one directory.
fn is_same(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}
