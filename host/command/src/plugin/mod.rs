//! `plugin`: look at, add, remove, make and check plugin files. Only `check` runs any code of a plugin.

mod build;
mod check;
mod embed;
mod inspect;
mod install;
mod list;
mod new;
mod remove;

use super::{
    Format,
    args::{HostOptions, PluginCommand},
    host,
};
use anyhow::{Result, bail};
use executor_runtime::plugin::{self, Found, PluginSet, State};
use std::{path::Path, process::ExitCode};

pub(super) fn plugin(
    command: &PluginCommand,
    options: &HostOptions,
    format: Option<Format>,
) -> Result<ExitCode> {
    match command {
        PluginCommand::New(options) => new::new(options)?,
        PluginCommand::Build(options) => build::build(options, Format::or_detect(format))?,
        PluginCommand::Embed(options) => embed::embed(options, Format::or_detect(format))?,
        PluginCommand::Check { plugin } => return check::check(plugin, options, Format::or_detect(format)),
        PluginCommand::List => list::list(host::builder(options)?.plugins(), Format::or_detect(format))?,
        PluginCommand::Inspect { plugin } => {
            let found = find(host::builder(options)?.plugins(), plugin)?;
            inspect::inspect(&found, Format::or_detect(format))?;
        }
        PluginCommand::Install { file, into, replace } => {
            let directory = match into {
                Some(directory) => directory.clone(),
                None => install::default_directory(options)?,
            };
            options.executable.need_engine()?;
            let host = host::start(host::builder_before(&directory, options)?)??;
            install::install(host.plugins(), file, &directory, *replace)?;
        }
        PluginCommand::Remove { plugin } => {
            remove::remove(host::builder(options)?.plugins(), options, plugin)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The file at a path, or the installed plugin with this name or kind.
fn find(plugins: &PluginSet, wanted: &str) -> Result<Found> {
    if is_path(wanted) {
        return Ok(plugin::inspect(Path::new(wanted), plugins.config()));
    }
    host::check_configured_names(plugins)?;
    find_installed(plugins, wanted).cloned()
}

fn is_path(wanted: &str) -> bool {
    wanted.contains('/') || wanted.ends_with(".wasm") || wanted.ends_with(".so")
}

/// The installed plugin with this name or kind: of several, the one that runs.
fn find_installed<'a>(plugins: &'a PluginSet, wanted: &str) -> Result<&'a Found> {
    let rank = |found: &Found| match &found.state {
        State::Usable(kinds) if kinds.iter().any(|kind| kind.as_str() == wanted) => 0,
        State::Usable(_) => 1,
        State::Unusable(_) => 2,
    };
    let matching = plugins.list().iter().filter(|found| is_called(found, wanted));
    // Of equals the first, as a run takes it.
    match matching.min_by_key(|found| rank(found)) {
        Some(found) => Ok(found),
        None => bail!(
            "no installed plugin has the name or kind '{wanted}'; `plugin list` shows what is installed"
        ),
    }
}

/// Whether the name or a kind of a plugin is `wanted`.
fn is_called(found: &Found, wanted: &str) -> bool {
    found.plugin.as_ref().is_some_and(|plugin| {
        plugin.descriptor.name == wanted || plugin.descriptor.kinds.iter().any(|kind| kind.as_str() == wanted)
    })
}
