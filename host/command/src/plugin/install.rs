//! `plugin install`: files into plugins directories.
//!
//! A kind that another file of the same directory has is refused, because neither would be used. One that a file
//! of another directory has is installed: which of the two counts depends on the order of the directories, and if
//! it is not the new one, a note says so. To install what is already installed changes nothing.

use crate::args::HostOptions;
use anyhow::{Context, Result, bail};
use executor_runtime::{
    plugin::{Plugin, PluginSet, State, Unusable, check_directory, discover, inspect, users_directory},
    protocol::RuntimeKind,
};
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

pub(super) fn install(plugins: &PluginSet, file: &Path, directory: &Path, replace: bool) -> Result<()> {
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
    let target = directory.join(name);
    let rivals = rivals(&plugin, directory, plugins);
    if is_installed(file, &target, &rivals, plugins) {
        eprintln!("'{}' is already installed", target.display());
        note_what_hides_it(plugins, directory, &target);
        compile(plugins, &target);
        return Ok(());
    }
    if !replace && let Some((kind, rival)) = rivals.first() {
        bail!(
            "not installed: kind '{kind}' is taken by '{}'; use --replace to install over it",
            rival.display()
        );
    }
    if !replace && target.symlink_metadata().is_ok() {
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

/// Tells if the host would not use what was installed, although it is in order.
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
        if let (true, State::Unusable(reason @ Unusable::Shadowed { .. })) = (
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
    // Another extension, so that a host that looks now does not take it for a plugin.
    let mut temporary = target.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let written = (|| {
        let mut to = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(&temporary)?;
        io::copy(&mut fs::File::open(file)?, &mut to)?;
        to.set_permissions(fs::Permissions::from_mode(0o644))?;
        to.sync_all()?;
        fs::rename(&temporary, target)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}
