//! Runs the kinds of plugins that are components.
//!
//! A component is loaded by the first run that gets as far, and kept. What an invocation's metadata already
//! rules out never loads it.

use crate::{Admitted, CodeCache, Component, Engine, EngineError, Mode, load_once::LoadOnce};
use executor_runtime_config::PluginConfig;
use executor_runtime_egress::{Authority, Grant};
use executor_runtime_plugin::{
    Admission, Carrier, ComponentSource, Loader, Plugin, Unusable, admit, check_digest,
};
use executor_runtime_protocol::RuntimeInvocation;
use executor_runtime_run::{
    CancelReason, ErrorKind, Failure, Outcome, Run, RunFuture, RunPermissions, Runner, exhaustion,
    trace::{Span, SpanKind},
    until,
};
use std::sync::{Arc, Mutex, PoisonError};

/// Makes runners of components, which share one engine. It is started when the first component is loaded. Clones share it,
/// too.
#[derive(Clone, Debug)]
pub struct Components(Arc<LazyEngine>);

impl Components {
    /// Components that run in an engine for `mode`, and are compiled into `cache`.
    pub fn new(mode: Mode, cache: CodeCache) -> Self {
        Self(Arc::new(LazyEngine::new(mode, cache)))
    }

    /// Components of a process that is about to run one of them, and nothing else: the engine starts on a thread of its
    /// own while the plugin is looked for.
    pub fn for_one_run(cache: CodeCache) -> Self {
        share_one_heap();
        let components = Self::new(Mode::OneShot, cache);
        let engine = Arc::clone(&components.0);
        // The run starts it where no thread could be had, and tells why it can't be started.
        let _ = exhaustion::try_spawn_blocking(move || drop(engine.get()));
        components
    }
}

impl Loader for Components {
    fn carrier(&self) -> Carrier {
        Carrier::Component
    }

    fn runner(&self, plugin: &Arc<Plugin>, config: &Arc<PluginConfig>) -> Arc<dyn Runner> {
        Arc::new(ComponentRunner::new(
            Arc::clone(plugin),
            Arc::clone(config),
            Arc::clone(&self.0),
        ))
    }

    fn prepare(&self, plugin: &Plugin, config: &PluginConfig) -> Result<(), Unusable> {
        load(plugin, config, &self.0, &Span::none()).map(drop)
    }
}

/// Has the few threads of one run take memory from the same heap, which grows by large steps. A heap for each would be
/// reserved, grown a page at a time and given back for nothing.
fn share_one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: both only set what malloc does from now on.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_TOP_PAD, HEAP_STEP);
    }
}

/// More than a run of a small component takes, in bytes; what is not used is not touched.
#[cfg(target_env = "gnu")]
const HEAP_STEP: libc::c_int = 4 << 20;

/// An engine that is started when a component is needed.
#[derive(Debug)]
struct LazyEngine {
    mode: Mode,
    engine: Mutex<Option<Engine>>,
    cache: CodeCache,
}

impl LazyEngine {
    fn new(mode: Mode, cache: CodeCache) -> Self {
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
struct ComponentRunner {
    plugin: Arc<Plugin>,
    config: Arc<PluginConfig>,
    engine: Arc<LazyEngine>,
    component: LoadOnce<Component>,
}

impl ComponentRunner {
    fn new(plugin: Arc<Plugin>, config: Arc<PluginConfig>, engine: Arc<LazyEngine>) -> Self {
        Self {
            plugin,
            config,
            engine,
            component: LoadOnce::default(),
        }
    }

    fn admit(&self, invocation: &RuntimeInvocation) -> Result<Admission, Failure> {
        admit(
            &self.plugin.descriptor,
            &self.config,
            Carrier::Component,
            &invocation.metadata,
        )
    }

    async fn execute(&self, run: &Run) -> Outcome {
        let admission = match self.admit(&run.invocation) {
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

    /// Waits for the component, but not longer than the run may take. The loading itself continues, for later runs of
    /// this process, and fills the cache if that lives so long.
    async fn load(&self, run: &Run) -> Result<&Component, Failure> {
        // What can't be opened would count as damaged.
        exhaustion::check_descriptors(exhaustion::DESCRIPTORS_OF_A_RUN)
            .map_err(|error| Failure::exhausted(&error))?;
        let span = run.span().child("load", SpanKind::Internal);
        // It lasts as long as the run waits, whoever loads.
        let _waiting = span.clone();
        let loading = async {
            let (plugin, config, engine) = (self.plugin.clone(), self.config.clone(), self.engine.clone());
            let loading = self
                .component
                .begin(move || load(&plugin, &config, &engine, &span))?;
            // What the run itself uses; there is time for it now.
            exhaustion::start_tokio_thread().map_err(|error| Unusable::exhausted(&error))?;
            self.component.ended(loading).await
        };
        let name = &self.plugin.descriptor.name;
        tokio::select! {
            loaded = loading => loaded.map_err(|reason| reason.failure(name, &self.plugin.path)),
            () = until(run.deadline) => Err(Failure::new(
                ErrorKind::Timeout,
                format!(
                    "timed out while plugin '{name}' was compiled; `executor-runtime plugin check {name}` or a run \
                     without a timeout compiles it for later ones, as `plugin install` does"
                ),
            )),
            () = run.cancel.raised(CancelReason::Requested) => Err(Failure::new(
                ErrorKind::Cancelled,
                format!("cancelled while plugin '{name}' was compiled"),
            )),
        }
    }

    fn admitted(&self, admission: Admission) -> Admitted {
        let named = self.named_authorities(&admission);
        Admitted {
            grant: Arc::new(Grant::new(named, self.config.allow_hosts.iter().cloned())),
            limits: admission.limits,
            metadata: admission.metadata,
        }
    }

    /// The hosts that an invocation names in the `url` keys of the plugin.
    fn named_authorities(&self, admission: &Admission) -> Vec<Authority> {
        self.plugin
            .descriptor
            .urls(&admission.metadata)
            .filter_map(|(_, url)| Authority::of_url(&url.to_string()).ok())
            .collect()
    }
}

impl Runner for ComponentRunner {
    fn run<'a>(&'a self, run: &'a Run) -> RunFuture<'a> {
        Box::pin(self.execute(run))
    }

    fn terms(&self, invocation: &RuntimeInvocation) -> Result<RunPermissions, Failure> {
        let admission = self.admit(invocation)?;
        let named = self.named_authorities(&admission);
        let allowed = self.config.allow_hosts.iter().map(ToString::to_string);
        let grants = named.iter().map(Authority::pattern).chain(allowed);
        Ok(admission.terms(true, grants))
    }
}

/// Checks the file again, compiles it unless the cache has its code, and links it. Blocks.
///
/// Code from the cache is that of the bytes that were hashed, so that they need not be read into memory; what is
/// compiled is hashed anew from the bytes that are.
fn load(
    plugin: &Plugin,
    config: &PluginConfig,
    engine: &LazyEngine,
    span: &Span,
) -> Result<Component, Unusable> {
    let source = ComponentSource::open(plugin)?;
    // What is pinned is read whenever it is loaded.
    let sha256 = match config.sha256 {
        Some(_) => source.sha256()?,
        None => engine.cache.digest(source.file(), || source.sha256())?,
    };
    let failed = |error: EngineError| match error {
        EngineError::Exhausted(error) => Unusable::exhausted(&error),
        error => Unusable::Load(error.to_string()),
    };
    let wasmtime = engine.get().map_err(failed)?;
    let (name, version) = (&plugin.descriptor.name, plugin.descriptor.version.to_string());
    let config_map = &config.config;
    let component = match Component::cached(&wasmtime, &engine.cache, &sha256, name, &version, config_map) {
        Some(cached) => {
            span.set("executor_runtime.component.code", "cached");
            cached
        }
        None => {
            span.set("executor_runtime.component.code", "compiled");
            Component::load(
                &wasmtime,
                &engine.cache,
                &source.read()?,
                name,
                &version,
                config_map,
            )
        }
    };
    let component = component.map_err(failed)?;
    if let Some(pinned) = &config.sha256 {
        check_digest(&component.identity().sha256, pinned)?;
    }
    Ok(component)
}
