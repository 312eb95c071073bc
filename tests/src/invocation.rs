//! Building invocations.

use executor_runtime_protocol::RuntimeInvocation;
use serde_json::{Value, json};
use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

/// A new id.
pub fn invocation_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!(
        "e2e-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// An invocation in the making: a JSON document, so that it may also be an impossible one.
#[derive(Clone, Debug)]
pub struct Invocation(pub Value);

impl Invocation {
    /// A `subprocess` invocation of `command` in `directory`.
    pub fn new<S: AsRef<str>>(directory: &Path, command: &[S]) -> Self {
        let command: Vec<_> = command.iter().map(AsRef::as_ref).collect();
        Self(json!({
            "invocation_id": invocation_id(),
            "runtime_name": "e2e",
            "runtime_kind": "subprocess",
            "working_directory": directory,
            "command": command,
            "environment": {},
            "metadata": {},
        }))
    }

    /// Sets a field.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.0[field] = value.into();
        self
    }

    /// Sets the id.
    #[must_use]
    pub fn id(self, id: &str) -> Self {
        self.with("invocation_id", id)
    }

    /// Sets the timeout and the grace, in seconds.
    #[must_use]
    pub fn timeout(self, seconds: u64, grace: f64) -> Self {
        self.with("timeout_seconds", seconds).grace(grace)
    }

    /// Sets the grace, in seconds.
    #[must_use]
    pub fn grace(self, seconds: f64) -> Self {
        self.metadata("subprocess.grace_seconds", seconds)
    }

    /// Sets a metadata key.
    #[must_use]
    pub fn metadata(mut self, key: &str, value: impl ToString) -> Self {
        self.0["metadata"][key] = value.to_string().into();
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.0["environment"][name] = value.into();
        self
    }

    /// Sets a field to a path.
    #[must_use]
    pub fn path(self, field: &str, path: &Path) -> Self {
        self.with(field, path.to_str().expect("a UTF-8 path"))
    }

    /// Its text.
    pub fn text(&self) -> String {
        self.0.to_string()
    }

    /// As the library takes it.
    #[track_caller]
    pub fn parsed(&self) -> RuntimeInvocation {
        RuntimeInvocation::from_json(self.text().as_bytes()).expect("a valid invocation")
    }
}
