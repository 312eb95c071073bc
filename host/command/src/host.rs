//! Puts a host together from the command line: configuration, plugins, carriers.

use crate::{
    args::HostOptions,
    executable::Runs,
    trace_export::{self, Parent},
};
use anyhow::{Context, Result, anyhow, bail};
use executor_runtime::{
    Failure, Host, HostBuilder,
    config::{self, Config},
    plugin::{DIRECTORY_VARIABLE, PluginSet, directory_of_variable, search_path},
};
use std::{
    env, fs, io,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

/// Names the configuration file.
const CONFIG_VARIABLE: &str = "EXECUTOR_RUNTIME_CONFIG";

/// A host that is not started yet.
pub(super) fn builder(options: &HostOptions) -> Result<HostBuilder> {
    check_directories(options, None)?;
    without_check(options, Runs::Few)
}

/// The same, for the run that comes next.
pub(super) fn builder_for_run(options: &HostOptions) -> Result<HostBuilder> {
    check_directories(options, None)?;
    let runs = match &options.handed_over {
        Some(handed_over) if handed_over.for_component => Runs::OneComponent,
        _ => Runs::Few,
    };
    let builder = without_check(options, runs)?;
    Ok(trace_export::traced(
        builder,
        options.executable,
        Parent::OfProcess,
    ))
}

/// The same, of a host that is going to have this many runs at a time, which are part of the trace that `parent` says.
pub(super) fn builder_for(
    max_runs: NonZeroUsize,
    parent: Parent,
    options: &HostOptions,
) -> Result<HostBuilder> {
    check_directories(options, None)?;
    let builder = without_check(options, Runs::AtATime(max_runs))?;
    Ok(trace_export::traced(builder, options.executable, parent))
}

/// The same, where `directory` need not be there yet.
pub(super) fn builder_before(directory: &Path, options: &HostOptions) -> Result<HostBuilder> {
    check_directories(options, Some(directory))?;
    without_check(options, Runs::Few)
}

fn without_check(options: &HostOptions, runs: Runs) -> Result<HostBuilder> {
    let builder = Host::builder()
        .config(configuration_file(options).read()?)
        .plugins_in(search_path(&options.plugins_dir));
    Ok((options.executable.carriers)(builder, runs))
}

/// Starts it. The inner error is about what the machine has left at the moment.
pub(super) fn start(builder: HostBuilder) -> Result<io::Result<Host>> {
    match builder.build() {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            Err(error).context("subprocesses can't be supervised on this system")
        }
        built => Ok(built),
    }
}

/// Fails where a name of a plugin in the configuration looks like a mistake, as a run of a plugin does, or one of a kind, or
/// where a recipe is configured with what does not count for it. Warns of names that look like nothing here.
///
/// # Errors
/// What is wrong, and what was probably meant.
pub fn check_configured_names(plugins: &PluginSet) -> Result<()> {
    let failed = |failure: Failure| anyhow!(failure.summary);
    plugins.check_configured_names().map_err(failed)?;
    let unknown = plugins.check_configuration().map_err(failed)?;
    plugins.warn_of_unknown_names();
    for warning in unknown {
        tracing::warn!("{warning}");
    }
    Ok(())
}

/// A plugins directory that is named has to be there. One that a variable names may come later, and is only told of.
fn check_directories(options: &HostOptions, not_yet: Option<&Path>) -> Result<()> {
    for directory in &options.plugins_dir {
        if Some(directory.as_path()) != not_yet
            && let Some(reason) = why_no_directory(directory)
        {
            bail!("--plugins-dir '{}': {reason}", directory.display());
        }
    }
    if let Some(directory) = directory_of_variable()
        && let Some(reason) = why_no_directory(&directory)
    {
        tracing::warn!("{DIRECTORY_VARIABLE}='{}': {reason}", directory.display());
    }
    Ok(())
}

fn why_no_directory(path: &Path) -> Option<String> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => None,
        Ok(_) => Some("it is not a directory".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Some("there is no such directory".to_owned())
        }
        Err(error) => Some(error.to_string()),
    }
}

/// The operator's configuration: the file that is named, which has to be there; else the user's, if there is one.
#[derive(Clone, Debug)]
pub struct ConfigurationFile(Option<PathBuf>);

impl ConfigurationFile {
    /// What it says now.
    ///
    /// # Errors
    /// When it can't be read, or is none.
    pub fn read(&self) -> Result<Config> {
        match self.path() {
            Some(path) => Ok(Config::read(&path)?),
            None => Ok(Config::default()),
        }
    }

    /// Where it is now.
    pub fn path(&self) -> Option<PathBuf> {
        let named = self.0.clone().or_else(|| {
            let named = env::var_os(CONFIG_VARIABLE).filter(|name| !name.is_empty());
            named.map(PathBuf::from)
        });
        named.or_else(users_configuration)
    }
}

pub(super) fn configuration_file(options: &HostOptions) -> ConfigurationFile {
    ConfigurationFile(options.config.clone())
}

fn users_configuration() -> Option<PathBuf> {
    let absolute = |name: &str| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?;
    let path = base.join("executor-runtime").join(config::FILE_NAME);
    Path::new(&path).exists().then_some(path)
}
