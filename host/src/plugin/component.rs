//! Runs the kinds of one plugin that is a component.
//!
//! The component is loaded by the first run that gets as far, and kept. What an invocation's metadata already
//! rules out never loads it.

use super::{
    Plugin, Unusable,
    admission::{Admission, admit},
    discovery::{check_digest, read_plugin},
};
use crate::{
    ErrorKind, Failure, Outcome, Run, RunFuture, Runner,
    component::{
        Admitted, Authority, CodeCache, Component, Engine, EngineError, Grant, Limits, Mode, Settings,
    },
    config::PluginConfig,
};
use executor_runtime_protocol::PluginDescriptor;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::OnceCell;

/// The engine of a plugin set, started when a component is needed.
#[derive(Debug)]
pub(super) struct LazyEngine {
    mode: Mode,
    engine: Mutex<Option<Engine>>,
    pub(super) cache: CodeCache,
}

impl LazyEngine {
    pub(super) fn new(mode: Mode, cache: CodeCache) -> Self {
        Self {
            mode,
            engine: Mutex::new(None),
            cache,
        }
    }

    fn get(&self) -> Result<Engine, EngineError> {
        let mut engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        match &*engine {
            Some(engine) => Ok(engine.clone()),
            None => Ok(engine.insert(Engine::new(self.mode)?).clone()),
        }
    }
}

/// The runner of one component.
pub(super) struct ComponentRunner {
    plugin: Arc<Plugin>,
    config: Arc<PluginConfig>,
    engine: Arc<LazyEngine>,
    component: Arc<OnceCell<Component>>,
}

impl ComponentRunner {
    pub(super) fn new(plugin: Arc<Plugin>, config: Arc<PluginConfig>, engine: Arc<LazyEngine>) -> Self {
        Self {
            plugin,
            config,
            engine,
            component: Arc::default(),
        }
    }

    async fn execute(&self, run: &Run) -> Outcome {
        let admission = match admit(
            &self.plugin.descriptor,
            &self.config,
            self.plugin.carrier,
            &run.invocation.metadata,
        ) {
            Ok(admission) => admission,
            Err(failure) => return failure.into(),
        };
        let component = match self.component.get() {
            Some(component) => component,
            None => match self.load(run).await {
                Ok(component) => component,
                Err(failure) => return failure.into(),
            },
        };
        component.run(run, &self.admitted(admission)).await
    }

    /// Waits for the component, but not longer than the run may take. The loading itself continues, and fills the
    /// cache if the process lives that long.
    async fn load(&self, run: &Run) -> Result<&Component, Failure> {
        let loading = self.component.get_or_try_init(|| async {
            let (plugin, config, engine) = (self.plugin.clone(), self.config.clone(), self.engine.clone());
            let loaded = tokio::task::spawn_blocking(move || load(&plugin, &config, &engine)).await;
            match loaded {
                Ok(loaded) => loaded,
                Err(error) => Err(Unusable::Load(error.to_string())),
            }
        });
        let deadline = async {
            match run.deadline {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        let name = &self.plugin.descriptor.name;
        tokio::select! {
            loaded = loading => loaded.map_err(|reason| {
                Failure::new(
                    ErrorKind::PluginUnusable,
                    format!("plugin '{name}': '{}' {reason}", self.plugin.path.display()),
                )
            }),
            () = deadline => Err(Failure::new(
                ErrorKind::Timeout,
                format!(
                    "timed out while plugin '{name}' was compiled; `executor-runtime plugin check {name}` or a run \
                     without a timeout compiles it for later ones, as `plugin install` does"
                ),
            )),
            () = run.cancel.raised(crate::CancelReason::Requested) => Err(Failure::new(
                ErrorKind::Cancelled,
                format!("cancelled while plugin '{name}' was compiled"),
            )),
        }
    }

    fn admitted(&self, admission: Admission) -> Admitted {
        let Admission {
            metadata,
            grace,
            memory_bytes,
        } = admission;
        let named = named_authorities(&self.plugin.descriptor, &metadata);
        Admitted {
            grant: Arc::new(Grant::new(named, self.config.allow_hosts.iter().cloned())),
            limits: limits(&self.config, grace, memory_bytes),
            metadata,
        }
    }
}

impl Runner for ComponentRunner {
    fn run<'a>(&'a self, run: &'a Run) -> RunFuture<'a> {
        Box::pin(self.execute(run))
    }
}

/// The hosts that an invocation names in the `url` keys of a plugin.
pub(super) fn named_authorities(
    descriptor: &PluginDescriptor,
    metadata: &BTreeMap<String, String>,
) -> Vec<Authority> {
    descriptor
        .urls(metadata)
        .filter_map(|(_, url)| Authority::of_url(&url.to_string()).ok())
        .collect()
}

fn limits(config: &PluginConfig, grace: Duration, memory_bytes: u64) -> Limits {
    let defaults = Limits::default();
    Limits {
        memory_bytes,
        grace,
        artifact_bytes: config.limits.artifact_bytes.unwrap_or(defaults.artifact_bytes),
        artifacts: config.limits.artifacts.unwrap_or(defaults.artifacts),
    }
}

/// Reads, checks again, compiles and links the file. Blocks.
pub(super) fn load(
    plugin: &Plugin,
    config: &PluginConfig,
    engine: &LazyEngine,
) -> Result<Component, Unusable> {
    // Between listing and now it may have been replaced; what was listed is what runs.
    let (now, file) = read_plugin(&plugin.path, plugin.carrier)?;
    if now != *plugin {
        return Err(Unusable::Changed);
    }
    let wasm = file.read_all()?;
    drop(file);
    let failed = |error: EngineError| Unusable::Load(error.to_string());
    let engine_handle = engine.get().map_err(failed)?;
    let settings = Settings {
        config: config.config.clone(),
        ..Settings::default()
    };
    let descriptor = &plugin.descriptor;
    let component = Component::load(
        &engine_handle,
        &engine.cache,
        &wasm,
        &descriptor.name,
        &descriptor.version.to_string(),
        &settings,
    )
    .map_err(failed)?;
    if let Some(pinned) = &config.sha256 {
        check_digest(&component.identity().sha256, pinned)?;
    }
    Ok(component)
}
