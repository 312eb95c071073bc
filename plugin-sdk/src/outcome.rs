//! What a runner returns.

use crate::http::HttpError;
#[cfg(not(target_family = "wasm"))]
use executor_runtime_protocol::native::DelegatedRun;
use std::{collections::BTreeMap, fmt, io};

/// A run that succeeded.
///
/// ```
/// use executor_runtime_sdk::Outcome;
///
/// let outcome = Outcome::succeeded().exit_code(200).receipt("http.status", "200");
/// assert_eq!(outcome.get_receipt("http.status"), Some("200"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub(crate) exit_code: Option<i64>,
    pub(crate) receipt: BTreeMap<String, String>,
    #[cfg(not(target_family = "wasm"))]
    pub(crate) delegated_run: Option<Box<DelegatedRun>>,
}

impl Outcome {
    /// It completed successfully.
    pub fn succeeded() -> Self {
        Self::default()
    }

    /// What this kind calls an exit code, such as an HTTP status.
    #[must_use]
    pub fn exit_code(mut self, code: i64) -> Self {
        self.exit_code = Some(code);
        self
    }

    /// A key for the result's metadata. The host keeps `error.`, `usage.` and `plugin.` to itself, except for `error.transient` of a
    /// [`RunError`].
    #[must_use]
    pub fn receipt(mut self, key: impl Into<String>, value: impl fmt::Display) -> Self {
        self.receipt.insert(key.into(), value.to_string());
        self
    }

    /// It was executed by another system, which reported this about it: the result has these files and times.
    ///
    /// Only a native plugin can say so: a component has no files, and is not believed about those of others.
    #[cfg(not(target_family = "wasm"))]
    #[must_use]
    pub fn delegated_run(mut self, delegated_run: DelegatedRun) -> Self {
        self.delegated_run = Some(Box::new(delegated_run));
        self
    }

    /// The exit code, if one was given.
    pub fn get_exit_code(&self) -> Option<i64> {
        self.exit_code
    }

    /// A key of the receipt.
    pub fn get_receipt(&self, key: &str) -> Option<&str> {
        self.receipt.get(key).map(String::as_str)
    }

    /// What was told of the run's execution elsewhere.
    #[cfg(not(target_family = "wasm"))]
    pub fn get_delegated_run(&self) -> Option<&DelegatedRun> {
        self.delegated_run.as_deref()
    }
}

/// How a run that did not succeed ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureStatus {
    /// Nothing was attempted: the invocation itself is unusable.
    Rejected,
    /// It was attempted and failed.
    Failed,
    /// The deadline passed.
    TimedOut,
    /// The host asked the runner to stop, and it did.
    Cancelled,
}

/// A run that did not succeed.
///
/// The kind is for machines: a stable code in snake case, which becomes `error.kind`. The summary is one
/// sentence for a person: what was wrong, where, and what to do.
///
/// ```
/// use executor_runtime_sdk::{FailureStatus, RunError};
///
/// let error = RunError::failed("http_status", "HTTP 503: try later").exit_code(503);
/// assert_eq!(error.status(), FailureStatus::Failed);
/// assert_eq!(error.to_string(), "HTTP 503: try later");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunError {
    pub(crate) status: FailureStatus,
    pub(crate) kind: String,
    pub(crate) summary: String,
    pub(crate) exit_code: Option<i64>,
    pub(crate) receipt: BTreeMap<String, String>,
    #[cfg(not(target_family = "wasm"))]
    pub(crate) delegated_run: Option<Box<DelegatedRun>>,
}

impl RunError {
    /// The invocation itself is unusable; nothing was attempted.
    pub fn rejected(kind: impl Into<String>, summary: impl Into<String>) -> Self {
        Self::new(FailureStatus::Rejected, kind, summary)
    }

    /// It was attempted and failed.
    pub fn failed(kind: impl Into<String>, summary: impl Into<String>) -> Self {
        Self::new(FailureStatus::Failed, kind, summary)
    }

    /// The deadline passed. [`Context::stopped`](crate::Context::stopped) chooses between this and
    /// [`cancelled`](Self::cancelled).
    pub fn timed_out(kind: impl Into<String>, summary: impl Into<String>) -> Self {
        Self::new(FailureStatus::TimedOut, kind, summary)
    }

    /// The host asked the runner to stop.
    pub fn cancelled(kind: impl Into<String>, summary: impl Into<String>) -> Self {
        Self::new(FailureStatus::Cancelled, kind, summary)
    }

    /// A request that failed: `http error: ` and the cause in words. Time and stop requests keep their
    /// meaning; a URL that can't be requested is the invocation's fault.
    pub fn from_http(error: &HttpError) -> Self {
        let status = match error {
            HttpError::Timeout => FailureStatus::TimedOut,
            HttpError::Stopped => FailureStatus::Cancelled,
            HttpError::InvalidRequest { .. } => FailureStatus::Rejected,
            _ => FailureStatus::Failed,
        };
        Self::new(status, error.code(), format!("http error: {error}"))
    }

    fn new(status: FailureStatus, kind: impl Into<String>, summary: impl Into<String>) -> Self {
        Self {
            status,
            kind: kind.into(),
            summary: summary.into(),
            exit_code: None,
            receipt: BTreeMap::new(),
            #[cfg(not(target_family = "wasm"))]
            delegated_run: None,
        }
    }

    /// What this kind calls an exit code.
    #[must_use]
    pub fn exit_code(mut self, code: i64) -> Self {
        self.exit_code = Some(code);
        self
    }

    /// A key for the result's metadata.
    #[must_use]
    pub fn receipt(mut self, key: impl Into<String>, value: impl fmt::Display) -> Self {
        self.receipt.insert(key.into(), value.to_string());
        self
    }

    /// Whether trying the same invocation again may help, which is what `--retries` goes by. Without this it may where the run
    /// failed or timed out, unless the host has a code of its own for that and knows better. Say `false` where another try
    /// would do something twice. It is the key `error.transient` of the receipt.
    #[must_use]
    pub fn transient(self, transient: bool) -> Self {
        self.receipt("error.transient", transient)
    }

    /// The same as [`Outcome::delegated_run`], for a run that did not succeed.
    ///
    /// Only a native plugin can say so: a component has no files, and is not believed about those of others.
    #[cfg(not(target_family = "wasm"))]
    #[must_use]
    pub fn delegated_run(mut self, delegated_run: DelegatedRun) -> Self {
        self.delegated_run = Some(Box::new(delegated_run));
        self
    }

    /// The same error, the summary preceded by what was being done: `kickoff: http error: ...`.
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.summary = format!("{doing}: {}", self.summary);
        self
    }

    /// How the run ended.
    pub fn status(&self) -> FailureStatus {
        self.status
    }

    /// The code that becomes `error.kind`.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The sentence that becomes `error_summary`.
    pub fn summary(&self) -> &str {
        &self.summary
    }

    /// The exit code, if one was given.
    pub fn get_exit_code(&self) -> Option<i64> {
        self.exit_code
    }

    /// A key of the receipt.
    pub fn get_receipt(&self, key: &str) -> Option<&str> {
        self.receipt.get(key).map(String::as_str)
    }

    /// What was told of the run's execution elsewhere.
    #[cfg(not(target_family = "wasm"))]
    pub fn get_delegated_run(&self) -> Option<&DelegatedRun> {
        self.delegated_run.as_deref()
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary)
    }
}

impl std::error::Error for RunError {}

impl From<HttpError> for RunError {
    fn from(error: HttpError) -> Self {
        Self::from_http(&error)
    }
}

/// What could not be made into a request: the builder of [`http_types`](crate::http_types) gives the error.
impl From<::http::Error> for RunError {
    fn from(error: ::http::Error) -> Self {
        Self::rejected("invalid_request", format!("the request can't be built: {error}"))
    }
}

/// Reading a response body fails with an `io::Error` that holds an [`HttpError`]; it is found again here.
impl From<io::Error> for RunError {
    fn from(error: io::Error) -> Self {
        match error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<HttpError>())
        {
            Some(http) => Self::from_http(http),
            None => Self::failed("io", error.to_string()),
        }
    }
}

impl From<crate::ArtifactError> for RunError {
    fn from(error: crate::ArtifactError) -> Self {
        Self::failed("artifact", error.to_string())
    }
}
