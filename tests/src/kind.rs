//! An official kind on one of its carriers, run as a host runs it: a plugin file in a directory.

use crate::fixtures;
use executor_runtime::{
    CancelToken, Host,
    protocol::{RuntimeInvocation, RuntimeResult},
};
use executor_runtime_component::{CodeCache, Component, Components, Engine, Mode};
use executor_runtime_native::NativePlugins;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// A plugin in a directory of its own, and a runtime that finds it there.
pub struct Kind {
    name: &'static str,
    host: Host,
    directory: tempfile::TempDir,
}

impl Kind {
    /// The official plugin that runs `kind`, as a component.
    pub fn component(kind: &'static str) -> Self {
        let file = fixtures::component(&package(kind));
        compile(&file);
        Self::in_directory(kind, &file)
    }

    /// The same, built with Debian's toolchain; None on a machine that can't have it.
    pub fn component_of_debian(kind: &'static str) -> Option<Self> {
        let file = fixtures::component_of_debian(&package(kind))?;
        compile(&file);
        Some(Self::in_directory(kind, &file))
    }

    /// The official plugin that runs `kind`, as a native library.
    pub fn native(kind: &'static str) -> Self {
        Self::in_directory(kind, &fixtures::native(&package(kind)))
    }

    /// The plugin file `file`, which runs `kind`.
    ///
    /// # Panics
    /// When the file can't be copied, or the runtime not started.
    pub fn in_directory(kind: &'static str, file: &Path) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let plugins = directory.path().join("plugins");
        std::fs::create_dir(&plugins).expect("it is writable");
        let name = file.file_name().expect("a file has a name");
        std::fs::copy(file, plugins.join(name)).expect("it was built");
        let host = Host::builder()
            .plugins_in(vec![plugins])
            .carrier(|supervisors| {
                NativePlugins::new(Arc::clone(supervisors)).with_program(crate::host_binary())
            })
            .carrier(|_| Components::new(Mode::OneShot, cache()))
            .build()
            .expect("the machine has room for a host");
        Self {
            name: kind,
            host,
            directory,
        }
    }

    /// A file or directory for the test.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// An invocation with this metadata.
    pub fn invocation(&self, metadata: &[(&str, &str)]) -> Invocation {
        let metadata: serde_json::Map<_, _> = metadata
            .iter()
            .map(|(key, value)| ((*key).to_owned(), Value::from(*value)))
            .collect();
        Invocation(json!({
            "invocation_id": "run-1", "runtime_name": "tests", "runtime_kind": self.name,
            "working_directory": self.directory.path(), "command": ["run"], "metadata": metadata,
        }))
    }

    /// Runs it to its end.
    pub fn run(&self, invocation: &Invocation) -> RuntimeResult {
        self.run_until(invocation, &CancelToken::new())
    }

    /// Runs it until it ends or is cancelled.
    ///
    /// # Panics
    /// When it is no invocation.
    pub fn run_until(&self, invocation: &Invocation, cancel: &CancelToken) -> RuntimeResult {
        let document = RuntimeInvocation::from_json(invocation.0.to_string().as_bytes());
        self.host
            .run_blocking_until(document.expect("the test gives an invocation"), cancel)
    }
}

/// An invocation that is being put together.
#[derive(Clone, Debug)]
pub struct Invocation(Value);

impl Invocation {
    /// With one more metadata key.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.0["metadata"][key] = value.to_string().into();
        self
    }

    /// Without a metadata key.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        if let Some(metadata) = self.0["metadata"].as_object_mut() {
            metadata.remove(key);
        }
        self
    }

    /// With a field of the document set.
    #[must_use]
    pub fn field(mut self, field: &str, value: impl serde::Serialize) -> Self {
        self.0[field] = json!(value);
        self
    }
}

/// The package of an official kind.
pub fn package(kind: &str) -> String {
    format!("executor-runtime-plugin-{}", kind.replace('_', "-"))
}

/// One cache for all tests of the process.
fn cache() -> CodeCache {
    let program = std::env::current_exe().expect("a program has a path");
    CodeCache::new(program.with_file_name("component-cache"))
}

/// Compiles a component into the cache, once, so that no deadline of a test is spent on that.
fn compile(file: &Path) {
    static COMPILED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if compiled.insert(file.to_owned()) {
        let engine = Engine::new(Mode::OneShot).expect("the machine has room for an engine");
        let wasm = std::fs::read(file).expect("it was built");
        Component::load(&engine, &cache(), &wasm, "warm-up", "0.0.0", &BTreeMap::new())
            .expect("an official plugin fits the interface");
    }
}

/// The artifact of this id in a result.
///
/// # Panics
/// When the file is missing.
pub fn artifact(result: &RuntimeResult, id: &str) -> Option<Vec<u8>> {
    let descriptor = result
        .artifacts
        .iter()
        .find(|artifact| artifact.artifact_id == id)?;
    Some(std::fs::read(&descriptor.path).expect("an artifact that is listed exists"))
}

/// Makes each case, a function that takes a [`Kind`], a test on every carrier that the kind has, and for each way
/// to build it.
#[macro_export]
macro_rules! on_every_carrier {
    ($kind:literal: $($case:ident),+ $(,)?) => {
        mod component {
            $(
                #[test]
                fn $case() {
                    super::$case(&$crate::kind::Kind::component($kind));
                }
            )+
        }

        mod component_of_debian {
            $(
                #[test]
                fn $case() {
                    if let Some(kind) = $crate::kind::Kind::component_of_debian($kind) {
                        super::$case(&kind);
                    }
                }
            )+
        }

        mod native {
            $(
                #[test]
                fn $case() {
                    super::$case(&$crate::kind::Kind::native($kind));
                }
            )+
        }
    };
}
