//! The plugins of a runtime.

use crate::{
    Carrier, Found, Loader, Plugin, State, Unusable,
    configured_names::{self, Names},
    discover,
    discovery::no_base,
    recipe::{self, MadeOf, RecipeFile, RecipeRunner},
};
use executor_runtime_config::Config;
use executor_runtime_protocol::{RuntimeInvocation, RuntimeKind};
use executor_runtime_run::{ErrorKind, Failure, Runner};
use std::{
    collections::BTreeMap,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, Once, OnceLock, PoisonError},
};

/// What is in the directories.
struct Listing {
    found: Vec<Found>,
    /// What the names in the configuration are for.
    names: Names,
    /// Whether the unknown ones were logged.
    warned: Once,
}

/// The plugins in a search path. It reads the directories when it is first asked, and once; it loads a plugin
/// when an invocation needs it.
pub struct PluginSet {
    directories: Vec<PathBuf>,
    config: Arc<Config>,
    loaders: Vec<Arc<dyn Loader>>,
    listing: OnceLock<Listing>,
    runners: Mutex<BTreeMap<PathBuf, Arc<dyn Runner>>>,
}

impl PluginSet {
    /// The plugins in `directories`, of which the first that has a kind wins. Relative ones are meant from where
    /// the process is now.
    pub fn new(directories: Vec<PathBuf>, config: Arc<Config>) -> Self {
        // Native plugins are loaded by processes that are elsewhere.
        let absolute = |directory: PathBuf| std::path::absolute(&directory).unwrap_or(directory);
        Self {
            directories: directories.into_iter().map(absolute).collect(),
            config,
            loaders: Vec::new(),
            listing: OnceLock::new(),
            runners: Mutex::default(),
        }
    }

    /// Runs the plugins of its carrier with what `loader` makes for them.
    #[must_use]
    pub fn with_loader(mut self, loader: Arc<dyn Loader>) -> Self {
        self.loaders.push(loader);
        self
    }

    /// The plugins that are in the same directories now, under another configuration, and run by the same loaders.
    #[must_use]
    pub fn read_again(&self, config: Arc<Config>) -> Self {
        Self {
            loaders: self.loaders.clone(),
            ..Self::new(self.directories.clone(), config)
        }
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

    /// Whether the directories were read already, so that what is asked of this set blocks no more.
    pub fn is_listed(&self) -> bool {
        self.listing.get().is_some()
    }

    /// Whether what is configured for plugins is for plugins that are there.
    ///
    /// # Errors
    /// When a name in the configuration looks like a mistake for one of theirs. What is configured under it would not
    /// count, so none of them runs.
    pub fn check_configured_names(&self) -> Result<(), Failure> {
        failed(&self.listing().names.mistakes)
    }

    /// Logs the names in the configuration that look like nothing here. Does it once.
    pub fn warn_of_unknown_names(&self) {
        let Listing { names, warned, .. } = self.listing();
        warned.call_once(|| {
            for warning in &names.unknown {
                tracing::warn!("{warning}");
            }
        });
    }

    /// What else is configured for plugins: whether recipes have only what counts for them, and whether the kinds are there
    /// whose runs are limited. Returns a sentence about each kind that looks like nothing here.
    ///
    /// # Errors
    /// When something is configured for a recipe that is its base's, or a kind looks like a mistake for one that is there,
    /// which would not be limited.
    pub fn check_configuration(&self) -> Result<Vec<String>, Failure> {
        let plugins = || self.list().iter().filter_map(|found| found.plugin.as_deref());
        let Names {
            mut mistakes,
            unknown,
        } = configured_names::check_limited_kinds(&self.config, plugins());
        mistakes.extend(plugins().filter_map(|plugin| {
            let config = self.config.plugin(&plugin.descriptor.name);
            plugin.recipe.as_ref()?.config_problem(config)
        }));
        failed(&mistakes)?;
        Ok(unknown)
    }

    fn listing(&self) -> &Listing {
        self.listing.get_or_init(|| {
            let found = discover(&self.directories, &self.config);
            let plugins = found.iter().filter_map(|found| found.plugin.as_deref());
            let names = configured_names::check(&self.config, plugins);
            Listing {
                found,
                names,
                warned: Once::new(),
            }
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
            Some((_, Unusable::Exhausted(summary))) => {
                Err(Failure::new(ErrorKind::HostExhausted, summary.clone()))
            }
            Some((path, reason)) => Err(Failure::new(
                ErrorKind::PluginUnusable,
                format!(
                    "the plugin for runtime_kind='{kind}' can't be used: '{}' {reason}",
                    path.display()
                ),
            )),
        }
    }

    /// Does what makes later runs of `plugin` start faster. Blocks.
    ///
    /// # Errors
    /// When it does not load.
    pub fn prepare(&self, plugin: &Plugin) -> Result<(), Unusable> {
        // Of a recipe there is nothing to prepare, and its base was when it was installed.
        match self.loader(plugin.carrier) {
            Some(loader) => loader.prepare(plugin, self.config.plugin(&plugin.descriptor.name)),
            None => Ok(()),
        }
    }

    /// Whether a plugin can run here.
    pub fn runs(&self, plugin: &Plugin) -> bool {
        self.loader(self.carrier(plugin)).is_some()
    }

    /// What runs the kinds of `plugin`, wherever its file is. Nothing is loaded yet.
    ///
    /// # Errors
    /// When this host runs no plugins of its carrier.
    pub fn runner(&self, plugin: &Arc<Plugin>) -> Result<Arc<dyn Runner>, Failure> {
        if let Some(recipe) = &plugin.recipe {
            return self.recipe_runner(plugin, recipe);
        }
        let mut runners = self.runners.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runner) = runners.get(&plugin.path) {
            return Ok(Arc::clone(runner));
        }
        let loader = self.loader(plugin.carrier).ok_or_else(|| no_loader(plugin))?;
        let config = Arc::new(self.config.plugin(&plugin.descriptor.name).clone());
        let runner = loader.runner(plugin, &config);
        runners.insert(plugin.path.clone(), Arc::clone(&runner));
        Ok(runner)
    }

    /// What runs a recipe's kind: the runner of its base, which is given what the recipe sets.
    fn recipe_runner(&self, plugin: &Plugin, file: &Arc<RecipeFile>) -> Result<Arc<dyn Runner>, Failure> {
        let base = self.base(plugin, file)?;
        Ok(Arc::new(RecipeRunner {
            file: Arc::clone(file),
            base: Arc::clone(base),
            runner: self.runner(base)?,
        }))
    }

    /// The plugin that does the work of a recipe.
    fn base(&self, plugin: &Plugin, file: &RecipeFile) -> Result<&Arc<Plugin>, Failure> {
        let unusable = |reason: Unusable| reason.failure(&plugin.descriptor.name, &plugin.path);
        let base = self
            .plugin(file.base())?
            .ok_or_else(|| unusable(no_base(file.base(), self.list())))?;
        recipe::check_base(file, base).map_err(unusable)?;
        Ok(base)
    }

    /// What `plugin` makes of an invocation, if it is a recipe whose base is there.
    pub fn made_of(&self, plugin: &Plugin, invocation: &RuntimeInvocation) -> Option<MadeOf> {
        let file = plugin.recipe.as_deref()?;
        let base = self.base(plugin, file).ok()?;
        Some(MadeOf::new(file, base, invocation))
    }

    /// The carrier that a plugin is run by: for a recipe its base's, if that is there.
    pub fn carrier(&self, plugin: &Plugin) -> Carrier {
        let base = plugin
            .recipe
            .as_deref()
            .and_then(|file| self.base(plugin, file).ok());
        base.map_or(plugin.carrier, |base| base.carrier)
    }

    /// Every kind that runs, and its plugin.
    pub fn kinds(&self) -> impl Iterator<Item = (&RuntimeKind, &Arc<Plugin>)> {
        self.list().iter().flat_map(|found| {
            let kinds = match &found.state {
                State::Usable(kinds) => kinds.as_slice(),
                State::Unusable(_) => &[],
            };
            kinds
                .iter()
                .filter_map(|kind| Some((kind, found.plugin.as_ref()?)))
        })
    }

    fn loader(&self, carrier: Carrier) -> Option<&Arc<dyn Loader>> {
        self.loaders.iter().find(|loader| loader.carrier() == carrier)
    }
}

/// # Errors
/// When the configuration has mistakes.
fn failed(mistakes: &[String]) -> Result<(), Failure> {
    match mistakes {
        [] => Ok(()),
        mistakes => Err(Failure::new(ErrorKind::PluginUnusable, mistakes.join("; "))),
    }
}

fn no_loader(plugin: &Plugin) -> Failure {
    Failure::new(
        ErrorKind::PluginUnusable,
        format!(
            "'{}' is a {} plugin, and this host runs none",
            plugin.path.display(),
            plugin.carrier.as_str()
        ),
    )
}

impl fmt::Debug for PluginSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginSet")
            .field("directories", &self.directories)
            .finish_non_exhaustive()
    }
}
