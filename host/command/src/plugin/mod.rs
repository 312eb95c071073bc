//! `plugin`: look at, add, remove, make and check plugin files. Only `check` runs any code of a plugin.

mod build;
mod check;
mod dev;
mod embed;
mod files;
mod inspect;
mod install;
mod language;
mod list;
mod new;
mod partial;
mod remove;
mod sdk;
mod sections;
mod test;
mod wit;

use super::{
    Executable, Format,
    args::{HostOptions, PluginCommand},
    host,
};
use anyhow::{Result, bail};
use executor_runtime::plugin::{self, Found, PluginSet, State};
use install::Replace;
use std::{path::Path, process::ExitCode};

pub(super) fn plugin(
    command: &PluginCommand,
    options: &HostOptions,
    format: Option<Format>,
) -> Result<ExitCode> {
    match command {
        PluginCommand::New(new_options) => new::new(new_options, options.executable)?,
        PluginCommand::Build(options) => build::build(options, Format::or_detect(format))?,
        PluginCommand::Embed(options) => embed::embed(options, Format::or_detect(format))?,
        PluginCommand::Dev(dev_options) => return dev::dev(dev_options, options),
        PluginCommand::Test(test_options) => {
            return test::test(test_options, options, Format::or_detect(format));
        }
        PluginCommand::Wit { directory } => wit::wit(directory, options.executable)?,
        PluginCommand::Check { plugin } => return check::check(plugin, options, Format::or_detect(format)),
        PluginCommand::List => {
            let builder = host::builder(options)?;
            list::list(builder.plugins(), options.executable, Format::or_detect(format))?;
        }
        PluginCommand::Inspect { plugin } => {
            let found = find(host::builder(options)?.plugins(), plugin)?;
            inspect::inspect(&found, options.executable, Format::or_detect(format))?;
        }
        PluginCommand::Install { file, into, replace } => {
            let directory = match into {
                Some(directory) => directory.clone(),
                None => install::default_directory(options)?,
            };
            options.executable.need_engine()?;
            let (file, update) = match file {
                Some(file) => (file.clone(), *replace),
                // It takes the place of what the same plugin was before.
                None => (build::built_here()?, true),
            };
            let host = host::start(host::builder_before(&directory, options)?)??;
            install::install(host.plugins(), &file, &directory, Replace::of(*replace, update))?;
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
    wanted.contains('/')
        || wanted.ends_with(".wasm")
        || wanted.ends_with(".so")
        || wanted.ends_with(".kind.toml")
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
    if let Some(found) = matching.min_by_key(|found| rank(found)) {
        return Ok(found);
    }
    // Of a file that may not be read it is not known what is in it.
    let unread = || plugins.list().iter().filter(|found| found.plugin.is_none());
    if let Some(found) = unread().find(|found| has_stem(found, wanted)) {
        return Ok(found);
    }
    let refused: Vec<_> = unread().filter_map(refusal).collect();
    match refused.as_slice() {
        [] => bail!(
            "no installed plugin has the name or kind '{wanted}'; `plugin list` shows what is installed"
        ),
        refused => bail!(
            "no plugin that can be used has the name or kind '{wanted}', but it may be in a file that can't be used: {}",
            refused.join("; ")
        ),
    }
}

/// Whether the file of a plugin is called `wanted`, apart from its extension.
fn has_stem(found: &Found, wanted: &str) -> bool {
    let normal = |name: &str| name.replace('_', "-");
    let stem = found.path.file_stem().map(|stem| stem.to_string_lossy());
    stem.is_some_and(|stem| normal(&stem) == normal(wanted))
}

/// Which file it is, and why it can't be used.
fn refusal(found: &Found) -> Option<String> {
    match &found.state {
        State::Unusable(reason) => Some(format!("'{}' {reason}", found.path.display())),
        State::Usable(_) => None,
    }
}

/// Why a plugin file can't be used, as a sentence that goes after its path: because of what it is, or because what it
/// needs is missing.
fn why_unusable(found: &Found, executable: Executable) -> Option<String> {
    match (&found.state, &found.plugin) {
        (State::Unusable(reason), _) => Some(reason.to_string()),
        (State::Usable(_), Some(plugin)) => executable.missing_for(plugin.carrier),
        (State::Usable(_), None) => None,
    }
}

/// Whether the name or a kind of a plugin is `wanted`.
fn is_called(found: &Found, wanted: &str) -> bool {
    found.plugin.as_ref().is_some_and(|plugin| {
        plugin.descriptor.name == wanted || plugin.descriptor.kinds.iter().any(|kind| kind.as_str() == wanted)
    })
}
