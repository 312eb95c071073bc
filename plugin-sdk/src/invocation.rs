//! What the caller asked for.

use crate::RunError;
use executor_runtime_protocol::{RuntimeInvocation, RuntimeKind, parse_duration};
use std::{collections::BTreeMap, ops::Deref, time::Duration};

/// One RxP 0.1 RuntimeInvocation, with typed access to its metadata.
///
/// It dereferences to the document itself: `invocation.runtime_kind`, `invocation.command` and so on. The
/// methods read metadata keys. The host has checked them against the types that `plugin.json` declares, so
/// the errors here occur only for keys that are not declared there, or with another type.
///
/// ```
/// use executor_runtime_sdk::Invocation;
/// use std::time::Duration;
///
/// let invocation = Invocation::new("poll")
///     .with("poll.states", "done, failed")
///     .with("poll.every", "0.5")
///     .with("poll.verbose", "true");
/// assert_eq!(invocation.list("poll.states"), ["done", "failed"]);
/// assert_eq!(invocation.duration("poll.every")?, Some(Duration::from_millis(500)));
/// assert_eq!(invocation.boolean("poll.verbose")?, Some(true));
/// assert_eq!(invocation.text("poll.url"), None);
/// assert_eq!(
///     invocation.required("poll.url").unwrap_err().to_string(),
///     "metadata key 'poll.url' is missing"
/// );
/// # Ok::<(), executor_runtime_sdk::RunError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation(RuntimeInvocation);

impl Invocation {
    /// An invocation for a test: of this kind, everything else made up.
    ///
    /// # Panics
    /// If `kind` is not a valid runtime kind.
    pub fn new(kind: &str) -> Self {
        #[allow(clippy::expect_used, reason = "documented")]
        let runtime_kind = RuntimeKind::new(kind).expect("a runtime kind: a-z, then a-z, 0-9 and _");
        Self(RuntimeInvocation {
            invocation_id: "test".to_owned(),
            runtime_name: kind.to_owned(),
            runtime_kind,
            working_directory: "/".to_owned(),
            command: vec![kind.to_owned()],
            environment: BTreeMap::new(),
            timeout_seconds: None,
            input_payload_path: None,
            output_result_path: None,
            artifact_directory: None,
            metadata: BTreeMap::new(),
        })
    }

    /// The same with one more metadata key.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.metadata.insert(key.into(), value.into());
        self
    }

    /// The value of a metadata key.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.metadata.get(key).map(String::as_str)
    }

    /// The value of a metadata key that has to be there.
    ///
    /// # Errors
    /// `rejected`, `invalid_metadata`.
    pub fn required(&self, key: &str) -> Result<&str, RunError> {
        self.text(key)
            .ok_or_else(|| invalid(format!("metadata key '{key}' is missing")))
    }

    /// A whole number.
    ///
    /// # Errors
    /// `rejected`, `invalid_metadata`.
    pub fn integer(&self, key: &str) -> Result<Option<i64>, RunError> {
        self.parse(key, "a whole number", |text| text.parse().ok())
    }

    /// A number.
    ///
    /// # Errors
    /// `rejected`, `invalid_metadata`.
    pub fn number(&self, key: &str) -> Result<Option<f64>, RunError> {
        self.parse(key, "a number", |text| {
            text.parse().ok().filter(|n: &f64| n.is_finite())
        })
    }

    /// A duration: a number of seconds, or one with a unit, such as `250ms`, `30s` or `1.5m`.
    ///
    /// # Errors
    /// `rejected`, `invalid_metadata`.
    pub fn duration(&self, key: &str) -> Result<Option<Duration>, RunError> {
        self.parse(key, "a number of seconds, at least 0", parse_duration)
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// `rejected`, `invalid_metadata`.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>, RunError> {
        self.parse(key, "true or false", |text| text.parse().ok())
    }

    /// The items of a comma-separated list, without the space around them; empty without the key.
    pub fn list(&self, key: &str) -> Vec<&str> {
        let items = self.text(key).unwrap_or_default().split(',').map(str::trim);
        items.filter(|item| !item.is_empty()).collect()
    }

    /// JSON text, parsed.
    ///
    /// # Errors
    /// `rejected`, `invalid_metadata`, saying where the text is no JSON.
    pub fn json(&self, key: &str) -> Result<Option<serde_json::Value>, RunError> {
        let Some(text) = self.text(key) else {
            return Ok(None);
        };
        match serde_json::from_str(text) {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(invalid(format!("metadata key '{key}' is not JSON: {error}"))),
        }
    }

    /// The keys that begin with `prefix`, each without it, and their values: `with_prefix("http.header.")`.
    pub fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let keys = self.0.metadata.iter();
        keys.filter_map(move |(key, value)| Some((key.strip_prefix(prefix)?, value.as_str())))
    }

    fn parse<T>(
        &self,
        key: &str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, RunError> {
        let Some(text) = self.text(key) else {
            return Ok(None);
        };
        match parse(text.trim()) {
            Some(value) => Ok(Some(value)),
            None => Err(invalid(format!(
                "metadata key '{key}' is '{}', expected {expected}",
                text.escape_debug()
            ))),
        }
    }
}

fn invalid(summary: String) -> RunError {
    RunError::rejected("invalid_metadata", summary)
}

impl Deref for Invocation {
    type Target = RuntimeInvocation;

    fn deref(&self) -> &RuntimeInvocation {
        &self.0
    }
}

impl From<RuntimeInvocation> for Invocation {
    fn from(document: RuntimeInvocation) -> Self {
        Self(document)
    }
}

impl From<Invocation> for RuntimeInvocation {
    fn from(invocation: Invocation) -> Self {
        invocation.0
    }
}
