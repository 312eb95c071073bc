//! The plugins of a runtime.

use super::{
    Carrier, Found, Plugin, State,
    admission::{Admission, admit},
    component::{ComponentRunner, LazyEngine, named_authorities},
    discover,
};
use crate::{
    ErrorKind, Failure, Runner, RunnerSource,
    component::{Authority, CodeCache, Mode},
    config::Config,
};
use executor_runtime_protocol::RuntimeKind;
use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

/// Makes the runner of a native plugin.
pub type NativeLoader = dyn Fn(&Arc<Plugin>, &Config) -> Arc<dyn Runner> + Send + Sync;

/// What a run of a plugin may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Limits and settings, by the names of their metadata keys.
    pub limits: BTreeMap<&'static str, String>,
    /// Hosts that it may reach; `*` for a native plugin, which nothing confines.
    pub grants: Vec<String>,
}

/// The plugins in a search path. It reads the directories when it is first asked, and once; it loads a plugin
/// when an invocation needs it.
pub struct PluginSet {
    directories: Vec<PathBuf>,
    config: Arc<Config>,
    engine: Arc<LazyEngine>,
    native: Option<Box<NativeLoader>>,
    found: OnceLock<Vec<Found>>,
    runners: Mutex<BTreeMap<PathBuf, Arc<dyn Runner>>>,
}

impl PluginSet {
    /// The plugins in `directories`, of which the first that has a kind wins. Relative ones are meant from where
    /// the process is now.
    pub fn new(directories: Vec<PathBuf>, config: Arc<Config>, mode: Mode, cache: CodeCache) -> Self {
        // Native plugins are loaded by processes that are elsewhere.
        let absolute = |directory: PathBuf| std::path::absolute(&directory).unwrap_or(directory);
        Self {
            directories: directories.into_iter().map(absolute).collect(),
            config,
            engine: Arc::new(LazyEngine::new(mode, cache)),
            native: None,
            found: OnceLock::new(),
            runners: Mutex::default(),
        }
    }

    /// Runs native plugins with what `loader` makes for them.
    #[must_use]
    pub fn with_native(mut self, loader: Box<NativeLoader>) -> Self {
        self.native = Some(loader);
        self
    }

    /// The directories that are searched.
    pub fn directories(&self) -> &[PathBuf] {
        &self.directories
    }

    /// The operator's configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Every plugin file, also those that can't be used.
    pub fn list(&self) -> &[Found] {
        self.found
            .get_or_init(|| discover(&self.directories, &self.config))
    }

    /// The plugin that runs `kind`; none if no file offers it.
    ///
    /// # Errors
    /// Why the files that offer it can't be used.
    pub fn plugin(&self, kind: &RuntimeKind) -> Result<Option<&Arc<Plugin>>, Failure> {
        let mut unusable = None;
        for found in self.list() {
            let Some(plugin) = &found.plugin else {
                continue;
            };
            match &found.state {
                State::Usable(kinds) if kinds.contains(kind) => return Ok(Some(plugin)),
                State::Unusable(reason) if plugin.descriptor.kinds.contains(kind) => {
                    unusable.get_or_insert((found.path.as_path(), reason));
                }
                _ => {}
            }
        }
        match unusable {
            None => Ok(None),
            Some((path, reason)) => Err(Failure::new(
                ErrorKind::PluginUnusable,
                format!(
                    "the plugin for runtime_kind='{kind}' can't be used: '{}' {reason}",
                    path.display()
                ),
            )),
        }
    }

    /// What would count for an invocation of `plugin` with this metadata.
    ///
    /// # Errors
    /// What in the metadata can't be used.
    pub fn terms(&self, plugin: &Plugin, metadata: &BTreeMap<String, String>) -> Result<Terms, Failure> {
        let config = self.config.plugin(&plugin.descriptor.name);
        let Admission {
            metadata,
            grace,
            memory_bytes,
        } = admit(&plugin.descriptor, config, plugin.carrier, metadata)?;
        let mut limits = BTreeMap::from([("plugin.grace_seconds", grace.as_secs_f64().to_string())]);
        let mut grants = Vec::new();
        match plugin.carrier {
            Carrier::Component => {
                limits.insert("limits.memory_bytes", memory_bytes.to_string());
                let named = named_authorities(&plugin.descriptor, &metadata);
                grants.extend(named.iter().map(Authority::pattern));
                grants.extend(config.allow_hosts.iter().map(ToString::to_string));
            }
            // It is not sandboxed: it reaches what the host's user reaches.
            Carrier::Native => grants.push("*".to_owned()),
        }
        grants.sort();
        grants.dedup();
        Ok(Terms { limits, grants })
    }

    /// Whether a plugin of this carrier can run here.
    pub fn runs(&self, carrier: Carrier) -> bool {
        carrier == Carrier::Component || self.native.is_some()
    }

    /// What runs the kinds of `plugin`, wherever its file is. Nothing is loaded yet.
    ///
    /// # Errors
    /// When this host runs no plugins of its carrier.
    pub fn runner(&self, plugin: &Arc<Plugin>) -> Result<Arc<dyn Runner>, Failure> {
        let mut runners = self.runners.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runner) = runners.get(&plugin.path) {
            return Ok(Arc::clone(runner));
        }
        let runner: Arc<dyn Runner> = match (plugin.carrier, &self.native) {
            (Carrier::Component, _) => Arc::new(ComponentRunner::new(
                Arc::clone(plugin),
                Arc::new(self.config.plugin(&plugin.descriptor.name).clone()),
                Arc::clone(&self.engine),
            )),
            (Carrier::Native, Some(loader)) => loader(plugin, &self.config),
            (Carrier::Native, None) => return Err(no_native(&plugin.path)),
        };
        runners.insert(plugin.path.clone(), Arc::clone(&runner));
        Ok(runner)
    }
}

fn no_native(path: &Path) -> Failure {
    Failure::new(
        ErrorKind::PluginUnusable,
        format!("'{}' is a native plugin, and this host runs none", path.display()),
    )
}

impl RunnerSource for PluginSet {
    fn find(&self, kind: &RuntimeKind) -> Result<Option<Arc<dyn Runner>>, Failure> {
        match self.plugin(kind)? {
            Some(plugin) => self.runner(plugin).map(Some),
            None => Ok(None),
        }
    }

    fn kinds(&self) -> Vec<RuntimeKind> {
        self.list()
            .iter()
            .filter_map(|found| match &found.state {
                State::Usable(kinds) => Some(kinds.clone()),
                State::Unusable(_) => None,
            })
            .flatten()
            .collect()
    }
}

impl fmt::Debug for PluginSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginSet")
            .field("directories", &self.directories)
            .finish_non_exhaustive()
    }
}
