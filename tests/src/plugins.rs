//! A runtime with plugin files, as an operator has it.

use executor_runtime::{
    CancelToken, Host,
    config::Config,
    protocol::{RuntimeInvocation, RuntimeKind, RuntimeResult, Status},
};
use executor_runtime_component::{CodeCache, Components, Mode};
use executor_runtime_native::NativePlugins;
use std::{
    collections::BTreeMap,
    fs,
    num::NonZeroU64,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// A runtime and a directory with plugins. Each run works in a directory of the same place.
pub struct Plugins {
    /// The runtime.
    pub runtime: Arc<Host>,
    directory: tempfile::TempDir,
}

impl Plugins {
    /// With copies of these files, and this configuration.
    pub fn new(files: &[PathBuf], config: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let plugins = directory.path().join("plugins");
        fs::create_dir(&plugins).expect("it is new");
        for file in files {
            let name = file.file_name().expect("it is a file");
            fs::copy(file, plugins.join(name)).expect("it was built");
        }
        let config = Config::parse(config, "test.toml").expect("the test's configuration is right");
        let cache = CodeCache::new(directory.path().join("cache"));
        let host = Host::builder()
            .config(config)
            .plugins_in(vec![plugins])
            .carrier(|supervisors| {
                NativePlugins::new(Arc::clone(supervisors)).with_program(crate::host_binary())
            })
            .carrier(|_| Components::new(Mode::OneShot, cache))
            .build()
            .expect("this machine can supervise");
        let runtime = Arc::new(host);
        Self { runtime, directory }
    }

    /// Where everything is.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Where the plugin files are.
    pub fn plugins_directory(&self) -> PathBuf {
        self.directory.path().join("plugins")
    }

    /// An invocation of `kind`, with an id of its own.
    pub fn invocation(&self, kind: &str, metadata: &[(&str, &str)]) -> RuntimeInvocation {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let metadata = metadata
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        RuntimeInvocation {
            invocation_id: format!("run-{}", COUNTER.fetch_add(1, Ordering::Relaxed)),
            runtime_name: "tests".to_owned(),
            runtime_kind: RuntimeKind::new(kind).expect("it is a kind"),
            working_directory: self.directory().to_string_lossy().into_owned(),
            command: vec!["run".to_owned()],
            environment: BTreeMap::new(),
            timeout_seconds: None,
            input_payload_path: None,
            output_result_path: None,
            artifact_directory: None,
            metadata: metadata.collect(),
        }
    }

    /// Runs an invocation of `kind`.
    pub fn run(&self, kind: &str, metadata: &[(&str, &str)]) -> RuntimeResult {
        self.runtime.run_blocking(self.invocation(kind, metadata))
    }

    /// Runs one with a time limit.
    pub fn run_for(&self, seconds: u64, kind: &str, metadata: &[(&str, &str)]) -> RuntimeResult {
        let mut invocation = self.invocation(kind, metadata);
        invocation.timeout_seconds = NonZeroU64::new(seconds);
        self.runtime.run_blocking(invocation)
    }

    /// Runs one that is cancelled after `time`; returns how long it took from then.
    pub fn run_cancelled(
        &self,
        time: Duration,
        kind: &str,
        metadata: &[(&str, &str)],
    ) -> (RuntimeResult, Duration) {
        let cancel = CancelToken::new();
        let raiser = cancel.clone();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(time);
            raiser.cancel();
            Instant::now()
        });
        let result = self
            .runtime
            .run_blocking_until(self.invocation(kind, metadata), &cancel);
        let raised = thread.join().expect("it does not panic");
        (result, raised.elapsed())
    }
}

/// What a result comes to, in one line: `failed plugin_crashed: plugin 'x' panicked`.
pub fn summary(result: &RuntimeResult) -> String {
    let kind = result.metadata.get("error.kind").map_or("", String::as_str);
    match (result.status, &result.error_summary) {
        (Status::Succeeded, _) => "succeeded".to_owned(),
        (status, summary) => format!("{status} {kind}: {}", summary.as_deref().unwrap_or_default()),
    }
}
