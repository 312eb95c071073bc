//! `plugin install`: files into plugins directories.
//!
//! A kind that another file of the same directory has is refused, because neither would be used. One that a file
//! of another directory has is installed: which of the two counts depends on the order of the directories, and if
//! it is not the new one, a note says so. To install what is already installed changes nothing.

use super::partial::Partial;
use crate::args::HostOptions;
use anyhow::{Context, Result, bail};
use executor_runtime::{
    plugin::{Plugin, PluginSet, State, check_directory, discover, inspect, users_directory},
    protocol::RuntimeKind,
};
use nix::fcntl::{Flock, FlockArg};
use std::{
    fs::{self, DirBuilder, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Where plugins go by default: the first directory that is given, else the user's.
pub(super) fn default_directory(options: &HostOptions) -> Result<PathBuf> {
    match options.plugins_dir.first().cloned().or_else(users_directory) {
        Some(directory) => Ok(directory),
        None => bail!("no directory to install into: give --into DIR"),
    }
}

/// What may be installed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replace {
    /// Nothing.
    Nothing,
    /// An earlier build of the same plugin.
    Itself,
    /// Whatever has its kinds or its name.
    Any,
}

impl Replace {
    pub(super) fn of(any: bool, itself: bool) -> Self {
        match (any, itself) {
            (true, _) => Self::Any,
            (false, true) => Self::Itself,
            (false, false) => Self::Nothing,
        }
    }

    /// Whether this file may go.
    fn allows(self, path: &Path, plugin: &Plugin, plugins: &PluginSet) -> bool {
        let is_itself = || {
            let found = inspect(path, plugins.config()).plugin;
            found.is_some_and(|found| found.descriptor.name == plugin.descriptor.name)
        };
        match self {
            Self::Nothing => false,
            Self::Itself => is_itself(),
            Self::Any => true,
        }
    }
}

pub(super) fn install(plugins: &PluginSet, file: &Path, directory: &Path, replace: Replace) -> Result<()> {
    let found = inspect(file, plugins.config());
    let plugin = match (&found.state, &found.plugin) {
        (State::Usable(_), Some(plugin)) => plugin.clone(),
        (State::Unusable(reason), _) => bail!("not installed: '{}' {reason}", file.display()),
        (State::Usable(_), None) => bail!("not installed: '{}' has no descriptor", file.display()),
    };
    let Some(name) = file.file_name() else {
        bail!("not installed: '{}' is not a file name", file.display());
    };
    make(directory)?;
    // Of two at once, the second sees what the first has installed.
    let _lock = lock(directory).with_context(|| format!("'{}' can't be locked", directory.display()))?;
    let target = directory.join(name);
    let rivals = rivals(&plugin, directory, plugins);
    if is_installed(file, &target, &rivals, plugins) {
        eprintln!("'{}' is already installed", target.display());
        note_what_hides_it(plugins, directory, &target);
        compile(plugins, &target);
        return Ok(());
    }
    let is_in_the_way = |path: &Path| !replace.allows(path, &plugin, plugins);
    if let Some((kind, rival)) = rivals.iter().find(|(_, rival)| is_in_the_way(rival)) {
        bail!(
            "not installed: kind '{kind}' is taken by '{}'; use --replace to install over it",
            rival.display()
        );
    }
    if target.symlink_metadata().is_ok() && is_in_the_way(&target) {
        bail!(
            "not installed: '{}' exists; use --replace to install over it",
            target.display()
        );
    }
    copy(file, &target).with_context(|| format!("'{}' can't be written", target.display()))?;
    for (_, rival) in rivals.iter().filter(|(_, rival)| *rival != target) {
        fs::remove_file(rival).with_context(|| format!("'{}' can't be removed", rival.display()))?;
        say!("removed '{}'", rival.display());
    }
    let kinds: Vec<_> = plugin.descriptor.kinds.iter().map(RuntimeKind::as_str).collect();
    say!("installed '{}' for {}", target.display(), kinds.join(", "));
    note_what_hides_it(plugins, directory, &target);
    compile(plugins, &target);
    Ok(())
}

/// Whether `target` has the bytes of `file` and can be used, and no other file is in its way.
fn is_installed(file: &Path, target: &Path, rivals: &[(RuntimeKind, PathBuf)], plugins: &PluginSet) -> bool {
    let length = |path: &Path| path.metadata().ok().map(|metadata| metadata.len());
    rivals.iter().all(|(_, rival)| rival == target)
        && matches!(inspect(target, plugins.config()).state, State::Usable(_))
        && length(file) == length(target)
        && matches!((fs::read(file), fs::read(target)), (Ok(one), Ok(other)) if one == other)
}

/// Compiles what was installed, so that no run spends its time on that. Not that it could not be used otherwise:
/// if it does not work, that is told.
fn compile(plugins: &PluginSet, target: &Path) {
    let found = inspect(target, plugins.config());
    if matches!(found.state, State::Usable(_))
        && let Some(plugin) = found.plugin
        && let Err(reason) = plugins.prepare(&plugin)
    {
        say!("note: '{}' {reason}", target.display());
    }
}

/// Makes the directory, if it is not there, so that only this user can write to it. One that others can write
/// to is refused: the host would not use what is in it.
fn make(directory: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(directory)
        .with_context(|| format!("'{}' can't be created", directory.display()))?;
    if let Err(reason) = check_directory(directory) {
        bail!("not installed: directory '{}' {reason}", directory.display());
    }
    Ok(())
}

/// Tells if the host would not use what was installed, although it is in order: for another file, or for a recipe's base.
fn note_what_hides_it(plugins: &PluginSet, directory: &Path, target: &Path) {
    let here = directory.canonicalize().ok();
    let searched = plugins
        .directories()
        .iter()
        .any(|searched| searched.canonicalize().ok() == here);
    if !searched {
        say!(
            "note: '{0}' is not on the plugin search path; add --plugins-dir '{0}' to use it",
            directory.display()
        );
        return;
    }
    for found in discover(plugins.directories(), plugins.config()) {
        if let (true, State::Unusable(reason)) = (
            found.path.canonicalize().ok() == target.canonicalize().ok(),
            &found.state,
        ) {
            say!("note: '{}' {reason}", target.display());
        }
    }
}

/// Files in `directory` that have a kind of `plugin`.
fn rivals(plugin: &Plugin, directory: &Path, plugins: &PluginSet) -> Vec<(RuntimeKind, PathBuf)> {
    let there = discover(&[directory.to_owned()], plugins.config());
    there
        .into_iter()
        .filter_map(|found| {
            let rival = found.plugin?;
            let shared = rival
                .descriptor
                .kinds
                .iter()
                .find(|kind| plugin.descriptor.kinds.contains(kind))?;
            Some((shared.clone(), found.path))
        })
        .collect()
}

/// Copies atomically: no reader sees an incomplete plugin, or one that others may write to.
fn copy(file: &Path, target: &Path) -> io::Result<()> {
    let partial = Partial::beside(target)?;
    let mut to = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(partial.path())?;
    io::copy(&mut fs::File::open(file)?, &mut to)?;
    to.set_permissions(fs::Permissions::from_mode(0o644))?;
    to.sync_all()?;
    partial.finish(target)
}

/// Keeps other installations into a directory waiting until it is dropped.
fn lock(directory: &Path) -> io::Result<Flock<fs::File>> {
    Flock::lock(fs::File::open(directory)?, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into())
}
