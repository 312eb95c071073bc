//! Puts a host together from the command line: configuration, plugins, runtime.

use super::args::HostOptions;
use anyhow::{Context, Result, anyhow};
use executor_runtime::{
    Runtime,
    component::{CodeCache, Mode},
    config::{self, Config},
    plugin::{PluginSet, search_path},
};
use std::{
    env, io,
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
    /// The inner error is about what the machine has left at the moment.
    pub(super) fn start(options: &HostOptions) -> Result<io::Result<Self>> {
        let config = configuration(options)?;
        // First of all, while this process is small and has one thread.
        let runtime = match Runtime::with_policy(config.subprocess()) {
            Ok(runtime) => runtime,
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                return Err(error).context("subprocesses can't be supervised on this system");
            }
            Err(error) => return Ok(Err(error)),
        };
        let native = runtime.native_plugins();
        let plugins = plugin_set(options, config)
            .with_native(Box::new(move |plugin, config| native.runner(plugin, config)));
        let plugins = Arc::new(plugins);
        runtime.set_source(plugins.clone());
        Ok(Ok(Self { runtime, plugins }))
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
    Ok(plugin_set(options, configuration(options)?))
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
