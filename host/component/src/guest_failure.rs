//! Why a guest broke off, in words.

use crate::limits::{ExceededLimit, MAX_CALL_BYTES, MAX_HANDLES};
use executor_runtime_run::{ErrorKind, Failure};
use wasmtime::{Trap, component::ResourceTableError};
use wasmtime_wasi::I32Exit;

/// What is known about a run that broke off.
pub(super) struct GuestFailure<'a> {
    pub(super) plugin: &'a str,
    pub(super) error: &'a wasmtime::Error,
    /// A limit that it went over before.
    pub(super) exceeded: Option<ExceededLimit>,
    /// The end of its stderr.
    pub(super) stderr: Option<&'a str>,
}

impl GuestFailure<'_> {
    /// The failure to report.
    pub(super) fn failure(&self) -> Failure {
        let plugin = self.plugin;
        if let Some(words) = self.limit() {
            return Failure::new(
                ErrorKind::PluginLimit,
                format!("plugin '{plugin}' exceeded its {words}"),
            );
        }
        let mut summary = format!("plugin '{plugin}' {}", self.cause());
        if let Some(stderr) = self.stderr {
            summary.push_str(": ");
            summary.push_str(stderr);
        }
        Failure::new(ErrorKind::PluginCrashed, summary)
    }

    fn limit(&self) -> Option<String> {
        let full = self.error.downcast_ref::<ResourceTableError>();
        if matches!(full, Some(ResourceTableError::Full)) {
            return Some(format!("limit of {MAX_HANDLES} handles"));
        }
        // wasmtime has no public type for it.
        if format!("{:#}", self.error).contains("fuel allocated for hostcalls has been exhausted") {
            return Some(format!(
                "limit of {} MiB for one call, or for its result",
                MAX_CALL_BYTES >> 20
            ));
        }
        self.exceeded
            .map(|exceeded| format!("{exceeded}: {}", exceeded.remedy()))
    }

    fn cause(&self) -> String {
        if let Some(trap) = self.error.downcast_ref::<Trap>() {
            return match trap {
                Trap::UnreachableCodeReached => "panicked or aborted".to_owned(),
                Trap::StackOverflow => "overflowed its stack: its recursion is too deep".to_owned(),
                Trap::MemoryOutOfBounds => {
                    "trapped: it accessed memory out of bounds, or its recursion was too deep".to_owned()
                }
                other => format!("trapped: {other}"),
            };
        }
        if let Some(exit) = self.error.downcast_ref::<I32Exit>() {
            return format!("called exit({}) instead of returning a result", exit.0);
        }
        format!("broke off: {:#}", self.error)
    }
}
