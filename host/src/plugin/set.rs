//! The plugins of a runtime.

use super::{
    Carrier, Found, Plugin, State, Unusable,
    admission::{Admission, admit},
    component::{self, ComponentRunner, LazyEngine, named_authorities},
    configured_names, discover,
};
use crate::{
    ErrorKind, Failure, Runner, RunnerSource,
    component::{Authority, CodeCache, Mode},
    config::Config,
};
use executor_runtime_protocol::{RuntimeKind, closest};
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
pub struct RunPermissions {
    /// Limits and settings, by the names of their metadata keys.
    pub limits: BTreeMap<&'static str, String>,
    /// Hosts that it may reach; `*` for a native plugin, which nothing confines.
    pub grants: Vec<String>,
}

/// What is in the directories.
struct Listing {
    found: Vec<Found>,
    /// What is wrong with the names in the configuration.
    names: Result<(), String>,
}

/// The plugins in a search path. It reads the directories when it is first asked, and once; it loads a plugin
/// when an invocation needs it.
pub struct PluginSet {
    directories: Vec<PathBuf>,
    config: Arc<Config>,
    engine: Arc<LazyEngine>,
    native: Option<Box<NativeLoader>>,
    listing: OnceLock<Listing>,
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
            listing: OnceLock::new(),
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
        &self.listing().found
    }

    /// Whether what is configured for plugins is for plugins that are there.
    ///
    /// # Errors
    /// When a name in the configuration looks like a mistake for one of theirs. What is configured under it would not
    /// count, so none of them runs.
    pub fn check_configured_names(&self) -> Result<(), Failure> {
        match &self.listing().names {
            Ok(()) => Ok(()),
            Err(mistakes) => Err(Failure::new(ErrorKind::PluginUnusable, mistakes.clone())),
        }
    }

    fn listing(&self) -> &Listing {
        self.listing.get_or_init(|| {
            let found = discover(&self.directories, &self.config);
            let plugins = found.iter().filter_map(|found| found.plugin.as_deref());
            let names = configured_names::check(&self.config, plugins);
            Listing { found, names }
        })
    }

    /// The plugin that runs `kind`; none if no file offers it.
    ///
    /// # Errors
    /// Why the files that offer it can't be used, or what is wrong with the names in the configuration.
    pub fn plugin(&self, kind: &RuntimeKind) -> Result<Option<&Arc<Plugin>>, Failure> {
        self.check_configured_names()?;
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

    /// Why `kind` does not run where [`plugin`](Self::plugin) finds none. It may be a kind of a file that can't
    /// even be read, so those are mentioned.
    pub fn no_runner(&self, kind: &RuntimeKind) -> Failure {
        let mut failure = Failure::no_runner(kind);
        let mut known = self.kinds();
        known.extend(RuntimeKind::new("subprocess"));
        known.sort();
        known.dedup();
        let known: Vec<_> = known.iter().map(RuntimeKind::as_str).collect();
        if let Some(meant) = closest(kind.as_str(), known.iter().copied()) {
            failure.summary += &format!("; did you mean '{meant}'?");
        }
        failure.summary += &format!("; the kinds here are {}", known.join(", "));
        let files = match self.list().iter().filter(|found| found.plugin.is_none()).count() {
            0 => return failure,
            1 => "1 plugin file".to_owned(),
            more => format!("{more} plugin files"),
        };
        failure.summary += &format!("; {files} can't be used, `plugin list` says why");
        failure
    }

    /// Compiles a plugin that is a component, so that runs find it in the cache. Blocks.
    ///
    /// # Errors
    /// When it does not load.
    pub fn compile(&self, plugin: &Plugin) -> Result<(), Unusable> {
        match plugin.carrier {
            Carrier::Component => {
                let config = self.config.plugin(&plugin.descriptor.name);
                component::load(plugin, config, &self.engine).map(drop)
            }
            Carrier::Native => Ok(()),
        }
    }

    /// What would count for an invocation of `plugin` with this metadata.
    ///
    /// # Errors
    /// What in the metadata can't be used.
    pub fn terms(
        &self,
        plugin: &Plugin,
        metadata: &BTreeMap<String, String>,
    ) -> Result<RunPermissions, Failure> {
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
        Ok(RunPermissions { limits, grants })
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
            None => Err(self.no_runner(kind)),
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
