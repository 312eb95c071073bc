//! Runs fixture components through the library, as the runtime does.

use executor_runtime::{
    CancelToken, Outcome, Run,
    plugin::Limits,
    protocol::{RuntimeInvocation, RuntimeKind},
};
use executor_runtime_component::{Admitted, CodeCache, Component, Engine, Mode};
use executor_runtime_egress::{Authority, Grant, HostPattern};
use std::{
    collections::BTreeMap,
    num::NonZeroU64,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

/// What an operator would have configured for it.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// What each run may use.
    pub limits: Limits,
    /// What `host.config` answers.
    pub config: BTreeMap<String, String>,
    /// What every run may reach, beside what the invocation names.
    pub allow_hosts: Vec<HostPattern>,
}

/// A component under test, with a directory for what its runs leave.
pub struct Harness {
    /// The component.
    pub component: Component,
    settings: Settings,
    directory: tempfile::TempDir,
}

impl Harness {
    /// Loads the fixture package `fixture` with an engine of its own, for the test's own tokio runtime.
    pub fn new(fixture: &str, settings: Settings) -> Self {
        Self::with_mode(fixture, settings, Mode::OneShot)
    }

    /// The same in an engine of another mode.
    pub fn with_mode(fixture: &str, settings: Settings, mode: Mode) -> Self {
        let engine = Engine::new(mode).expect("the machine has room for an engine");
        let wasm = std::fs::read(crate::fixtures::component(fixture)).expect("it was built");
        let cache = CodeCache::new(cache_directory());
        let component = Component::load(&engine, &cache, &wasm, "fixture", "0.1.0", &settings.config)
            .expect("the fixture fits the interface");
        Self {
            component,
            settings,
            directory: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    /// Where the runs of this harness work.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A run of `behaviour`.
    pub fn scenario(&self, behaviour: &str) -> Scenario<'_> {
        static COUNTER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let n = COUNTER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut metadata = BTreeMap::new();
        metadata.insert("fixture.behaviour".to_owned(), behaviour.to_owned());
        Scenario {
            harness: self,
            run: Run::new(RuntimeInvocation {
                invocation_id: format!("run-{n}"),
                runtime_name: "tests".into(),
                runtime_kind: RuntimeKind::new("behaviours").expect("it is a kind"),
                working_directory: self.directory().to_string_lossy().into_owned(),
                command: vec!["run".into()],
                environment: BTreeMap::new(),
                timeout_seconds: None,
                input_payload_path: None,
                output_result_path: None,
                artifact_directory: None,
                metadata,
            }),
        }
    }

    /// Runs `behaviour` without anything else.
    pub async fn run(&self, behaviour: &str) -> Outcome {
        self.scenario(behaviour).run().await
    }
}

/// One invocation that is being put together.
pub struct Scenario<'a> {
    harness: &'a Harness,
    run: Run,
}

impl Scenario<'_> {
    /// Adds a metadata key.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.run
            .invocation
            .metadata
            .insert(key.to_owned(), value.to_string());
        self
    }

    /// Changes the invocation.
    #[must_use]
    pub fn edit(mut self, edit: impl FnOnce(&mut RuntimeInvocation)) -> Self {
        edit(&mut self.run.invocation);
        self
    }

    /// Sets the deadline, counted from now.
    #[must_use]
    pub fn deadline(mut self, after: Duration) -> Self {
        self.run.deadline = Some(Instant::now() + after);
        self.run.invocation.timeout_seconds = NonZeroU64::new(after.as_secs().max(1));
        self
    }

    /// The token that stops it.
    pub fn cancel_token(&self) -> CancelToken {
        self.run.cancel.clone()
    }

    /// Runs it, with a grant for the host of `fixture.url`.
    pub async fn run(self) -> Outcome {
        let metadata = self.run.invocation.metadata.clone();
        let named = metadata
            .get("fixture.url")
            .map(|url| Authority::of_url(url).expect("the test gives a URL"));
        let settings = &self.harness.settings;
        let admitted = Admitted {
            metadata,
            grant: Arc::new(Grant::new(named, settings.allow_hosts.clone())),
            limits: settings.limits.clone(),
        };
        self.harness.component.run(&self.run, &admitted).await
    }
}

/// One cache for all tests of the process: each fixture is compiled once.
fn cache_directory() -> &'static PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        std::env::current_exe()
            .expect("a program has a path")
            .with_file_name("component-cache")
    })
}

/// Milliseconds as a deadline or a grace.
pub fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}
