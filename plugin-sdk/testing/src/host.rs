//! The real host with one plugin.

use crate::template;
use executor_runtime::{
    CancelToken, Host,
    config::Config,
    plugin::{PluginSet, State},
    protocol::{RuntimeInvocation, RuntimeKind, RuntimeResult},
};
use executor_runtime_component::{CodeCache, Components, Mode};
use executor_runtime_native::NativePlugins;
use std::{
    collections::BTreeMap,
    num::NonZeroU64,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// A host that has one plugin, and a directory for what its runs leave.
#[derive(Debug)]
pub struct PluginHost {
    host: Host,
    kind: RuntimeKind,
    directory: tempfile::TempDir,
    runs: AtomicU64,
}

impl PluginHost {
    /// Takes the plugin file at `path`, a `.wasm` or `.so`.
    ///
    /// # Panics
    /// If it can't be used; the message is what `plugin list` says.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self::configured(path, "")
    }

    /// The same with an operator's configuration, the text of an `executor-runtime.toml`.
    ///
    /// # Panics
    /// If the plugin or the configuration can't be used.
    pub fn configured(path: impl AsRef<Path>, config: &str) -> Self {
        template::ensure_linked();
        let path = path.as_ref();
        let config = match Config::parse(config, "executor-runtime.toml") {
            Ok(config) => config,
            Err(error) => panic!("{error}"),
        };
        let directory = tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary directory: {error}"));
        // Alone in a directory, whatever lies beside the file.
        let alone = directory.path().join("plugins");
        let linked = std::fs::create_dir(&alone).and_then(|()| {
            let real = path.canonicalize()?;
            std::os::unix::fs::symlink(&real, alone.join(real.file_name().unwrap_or_default()))
        });
        if let Err(error) = linked {
            panic!("'{}' can't be used: {error}", path.display());
        }
        let cache = CodeCache::new(directory.path().join("cache"));
        let host = Host::builder()
            .config(config)
            .plugins_in(vec![alone])
            .carrier(|supervisors| NativePlugins::new(Arc::clone(supervisors)))
            .carrier(|_| Components::new(Mode::OneShot, cache))
            .build()
            .unwrap_or_else(|error| panic!("this machine can't run a host: {error}"));
        let found = host.plugins().list();
        for found in found {
            if let State::Unusable(reason) = &found.state {
                panic!("'{}' {reason}", path.display());
            }
        }
        let kinds = found.iter().filter_map(|found| found.plugin.as_ref());
        let kind = kinds
            .flat_map(|plugin| plugin.descriptor.kinds.first().cloned())
            .next();
        let Some(kind) = kind else {
            panic!(
                "'{}' is not a plugin file: it is named neither *.wasm nor *.so",
                path.display()
            );
        };
        Self {
            host,
            kind,
            directory,
            runs: AtomicU64::new(0),
        }
    }

    /// An invocation of the plugin's first kind, with an id of its own and nothing else.
    pub fn invocation(&self) -> Invocation {
        Invocation(RuntimeInvocation {
            invocation_id: format!("run-{}", self.runs.fetch_add(1, Ordering::Relaxed)),
            runtime_name: "test".to_owned(),
            runtime_kind: self.kind.clone(),
            working_directory: self.directory().to_string_lossy().into_owned(),
            command: vec![self.kind.to_string()],
            environment: BTreeMap::new(),
            timeout_seconds: None,
            input_payload_path: None,
            output_result_path: None,
            artifact_directory: None,
            metadata: BTreeMap::new(),
        })
    }

    /// Runs an invocation to its end.
    pub fn run(&self, invocation: Invocation) -> RuntimeResult {
        self.host.run_blocking(invocation.0)
    }

    /// Runs an invocation to its end, or until `cancel` is raised.
    pub fn run_until(&self, invocation: Invocation, cancel: &CancelToken) -> RuntimeResult {
        self.host.run_blocking_until(invocation.0, cancel)
    }

    pub(crate) fn plugins(&self) -> &PluginSet {
        self.host.plugins()
    }

    /// The directory that invocations run in; removed with the host.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}

/// An invocation that is being put together.
#[derive(Clone, Debug)]
pub struct Invocation(RuntimeInvocation);

impl Invocation {
    /// With a metadata key.
    #[must_use]
    pub fn metadata(mut self, key: &str, value: impl ToString) -> Self {
        self.0.metadata.insert(key.to_owned(), value.to_string());
        self
    }

    /// With a time limit.
    ///
    /// # Panics
    /// If it is 0.
    #[must_use]
    pub fn timeout_seconds(mut self, seconds: u64) -> Self {
        assert!(seconds > 0, "a time limit is at least one second");
        self.0.timeout_seconds = NonZeroU64::new(seconds);
        self
    }

    /// Of another kind than the plugin's first.
    ///
    /// # Panics
    /// If it is not a valid kind.
    #[must_use]
    pub fn kind(mut self, kind: &str) -> Self {
        match RuntimeKind::new(kind) {
            Some(kind) => self.0.runtime_kind = kind,
            None => panic!("'{kind}' is not a valid runtime kind"),
        }
        self
    }

    /// With an input payload.
    #[must_use]
    pub fn input(mut self, path: impl Into<PathBuf>) -> Self {
        self.0.input_payload_path = Some(path.into().to_string_lossy().into_owned());
        self
    }

    /// With artifacts kept in a directory of the test's choice.
    #[must_use]
    pub fn artifact_directory(mut self, path: impl Into<PathBuf>) -> Self {
        self.0.artifact_directory = Some(path.into().to_string_lossy().into_owned());
        self
    }

    /// Changes whatever else there is.
    #[must_use]
    pub fn edit(mut self, edit: impl FnOnce(&mut RuntimeInvocation)) -> Self {
        edit(&mut self.0);
        self
    }
}
