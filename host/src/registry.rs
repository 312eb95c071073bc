//! Which kinds there are, and what executes each. Dispatch, `kinds` and `explain` all ask here.

use executor_runtime_config::Config;
use executor_runtime_plugin::{MadeOf, Plugin, PluginSet};
use executor_runtime_protocol::{RuntimeInvocation, RuntimeKind, closest};
use executor_runtime_run::{Failure, RunPermissions, Runner};
use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

/// The kind that is built in.
const SUBPROCESS: &str = "subprocess";

/// Where the runner of a kind comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Origin {
    /// It is part of the host.
    BuiltIn,
    /// The program that embeds the host has brought it.
    Embedder,
    /// A plugin file.
    Plugin(Arc<Plugin>),
}

/// What would execute an invocation, and within what.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What would; none if nothing would.
    pub origin: Option<Origin>,
    /// What the plugin makes of the invocation, if it is a recipe.
    pub made_of: Option<MadeOf>,
    /// Its limits and grants, or why the invocation would be rejected.
    pub terms: Result<RunPermissions, Failure>,
}

#[derive(Clone)]
struct Entry {
    origin: Origin,
    runner: Arc<dyn Runner>,
}

pub(crate) struct Registry {
    entries: RwLock<BTreeMap<RuntimeKind, Entry>>,
    plugins: Arc<PluginSet>,
}

impl Registry {
    pub(crate) fn new(
        subprocess: Arc<dyn Runner>,
        runners: BTreeMap<RuntimeKind, Arc<dyn Runner>>,
        plugins: Arc<PluginSet>,
    ) -> Self {
        let built_in = RuntimeKind::new(SUBPROCESS).map(|kind| {
            let entry = Entry {
                origin: Origin::BuiltIn,
                runner: subprocess,
            };
            (kind, entry)
        });
        let brought = runners.into_iter().map(|(kind, runner)| {
            let origin = Origin::Embedder;
            (kind, Entry { origin, runner })
        });
        Self {
            entries: RwLock::new(built_in.into_iter().chain(brought).collect()),
            plugins,
        }
    }

    /// The same, with what is in the plugins directories now.
    pub(crate) fn read_again(&self, subprocess: Arc<dyn Runner>, config: Arc<Config>) -> Self {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let brought = entries
            .iter()
            .filter(|(_, entry)| entry.origin == Origin::Embedder);
        let runners = brought
            .map(|(kind, entry)| (kind.clone(), Arc::clone(&entry.runner)))
            .collect();
        Self::new(subprocess, runners, Arc::new(self.plugins.read_again(config)))
    }

    pub(crate) fn plugins(&self) -> &Arc<PluginSet> {
        &self.plugins
    }

    pub(crate) fn register(&self, kind: RuntimeKind, runner: Arc<dyn Runner>) -> Option<Arc<dyn Runner>> {
        let origin = Origin::Embedder;
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let replaced = entries.insert(kind, Entry { origin, runner });
        replaced.map(|entry| entry.runner)
    }

    /// What executes `kind` without a plugin, if something does.
    pub(crate) fn registered(&self, kind: &RuntimeKind) -> Option<Arc<dyn Runner>> {
        self.entry(kind).map(|entry| entry.runner)
    }

    /// What executes `kind`. Reads the plugins directories the first time that it needs them, so it may block.
    ///
    /// # Errors
    /// Why nothing does.
    pub(crate) fn find(&self, kind: &RuntimeKind) -> Result<Arc<dyn Runner>, Failure> {
        if let Some(runner) = self.registered(kind) {
            return Ok(runner);
        }
        self.plugins.warn_of_unknown_names();
        match self.plugins.plugin(kind)? {
            Some(plugin) => self.plugins.runner(plugin),
            None => Err(self.unknown(kind)),
        }
    }

    /// Every kind that can be executed, in alphabetical order.
    pub(crate) fn origins(&self) -> BTreeMap<RuntimeKind, Origin> {
        let plugins = self
            .plugins
            .kinds()
            .filter(|(_, plugin)| self.plugins.runs(plugin));
        let mut origins: BTreeMap<_, _> = plugins
            .map(|(kind, plugin)| (kind.clone(), Origin::Plugin(Arc::clone(plugin))))
            .collect();
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        origins.extend(
            entries
                .iter()
                .map(|(kind, entry)| (kind.clone(), entry.origin.clone())),
        );
        origins
    }

    pub(crate) fn explain(&self, invocation: &RuntimeInvocation) -> Explanation {
        let kind = &invocation.runtime_kind;
        let origin = match self.entry(kind) {
            Some(entry) => Some(entry.origin),
            None => self
                .plugins
                .plugin(kind)
                .ok()
                .flatten()
                .map(|plugin| Origin::Plugin(Arc::clone(plugin))),
        };
        let made_of = match &origin {
            Some(Origin::Plugin(plugin)) => self.plugins.made_of(plugin, invocation),
            _ => None,
        };
        Explanation {
            origin,
            made_of,
            terms: self.find(kind).and_then(|runner| runner.terms(invocation)),
        }
    }

    fn entry(&self, kind: &RuntimeKind) -> Option<Entry> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.get(kind).cloned()
    }

    /// Why `kind` is not executed where nothing offers it. It may be a kind of a file that can't even be read, so those
    /// are mentioned.
    fn unknown(&self, kind: &RuntimeKind) -> Failure {
        let mut failure = Failure::no_runner(kind);
        let known = self.origins();
        let known: Vec<_> = known.keys().map(RuntimeKind::as_str).collect();
        failure.summary += &format!("; the kinds here are {}", known.join(", "));
        let unread = self
            .plugins
            .list()
            .iter()
            .filter(|found| found.plugin.is_none())
            .count();
        failure.summary += &match unread {
            0 => String::new(),
            1 => "; 1 plugin file can't be used, `plugin list` says why".to_owned(),
            more => format!("; {more} plugin files can't be used, `plugin list` says why"),
        };
        if let Some(meant) = closest(kind.as_str(), known.iter().copied()) {
            failure.summary += &format!("; did you mean '{meant}'?");
        }
        failure
    }
}
