//! Puts a host together from the command line: configuration, plugins, runtime.

use super::args::HostOptions;
use anyhow::{Context, Result, anyhow, bail};
use executor_runtime::{
    Runtime,
    component::{CodeCache, Mode},
    config::{self, Config},
    plugin::{DIRECTORY_VARIABLE, PluginSet, directory_of_variable, search_path},
};
use std::{
    env, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Names the configuration file.
const CONFIG_VARIABLE: &str = "EXECUTOR_RUNTIME_CONFIG";

/// A runtime and the plugins that it asks for kinds that are not built in.
pub(super) struct Host {
    pub(super) runtime: Runtime,
    pub(super) plugins: Arc<PluginSet>,
}

impl Host {
    pub(super) fn start(options: &HostOptions) -> Result<Self> {
        check_directories(options, None)?;
        let config = configuration(options)?;
        // First of all, while this process is small and has one thread.
        let runtime = Runtime::with_policy(config.subprocess())
            .context("subprocesses can't be supervised on this system")?;
        let native = runtime.native_plugins();
        let plugins = plugin_set(options, config)
            .with_native(Box::new(move |plugin, config| native.runner(plugin, config)));
        let plugins = Arc::new(plugins);
        runtime.set_source(plugins.clone());
        Ok(Self { runtime, plugins })
    }
}

/// Fails where what is configured for plugins looks like a mistake, as a run of a plugin does.
pub(super) fn check_configured_names(plugins: &PluginSet) -> Result<()> {
    plugins
        .check_configured_names()
        .map_err(|failure| anyhow!(failure.summary))
}

/// The plugins, without a runtime to run them.
pub(super) fn plugins(options: &HostOptions) -> Result<PluginSet> {
    check_directories(options, None)?;
    Ok(plugin_set(options, configuration(options)?))
}

/// The same, where `directory` need not be there yet.
pub(super) fn plugins_before(directory: &Path, options: &HostOptions) -> Result<PluginSet> {
    check_directories(options, Some(directory))?;
    Ok(plugin_set(options, configuration(options)?))
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

fn plugin_set(options: &HostOptions, config: Config) -> PluginSet {
    PluginSet::new(
        search_path(&options.plugins_dir),
        Arc::new(config),
        Mode::OneShot,
        CodeCache::of_user(),
    )
}

/// The configuration that is named, which has to be there; else the user's, if there is one.
fn configuration(options: &HostOptions) -> Result<Config> {
    let named = options.config.clone().or_else(|| {
        let named = env::var_os(CONFIG_VARIABLE).filter(|name| !name.is_empty());
        named.map(PathBuf::from)
    });
    match named.or_else(users_configuration) {
        Some(path) => Ok(Config::read(&path)?),
        None => Ok(Config::default()),
    }
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
