//! What an invocation's metadata may set for a subprocess, and what the operator allows.
//!
//! | key | unit | without it |
//! |---|---|---|
//! | `subprocess.grace_seconds` | seconds, fractions allowed | 2 |
//! | `subprocess.max_output_bytes` | bytes of each stream | 256 MiB |
//! | `limits.memory_bytes` | bytes of address space of each process | no limit |
//! | `limits.cpu_seconds` | seconds of CPU time of each process | no limit |
//! | `limits.open_files` | descriptors of each process | the host's own |
//! | `limits.processes` | processes of the run at a time | no limit |
//!
//! A duration or size may have a unit: `1.5m`, `64MiB`.
//!
//! An invocation may tighten what the operator allows and never widen it: the smaller value counts. What the operator
//! allows is also what an invocation gets that does not ask.

use executor_runtime_protocol::{closest, parse_bytes, parse_duration};
use executor_runtime_run::{ErrorKind, Failure};
use executor_runtime_supervisor::Limits;
use std::{collections::BTreeMap, time::Duration};

const DEFAULT_GRACE: Duration = Duration::from_secs(2);
const DEFAULT_MAX_OUTPUT_BYTES: u64 = 256 << 20;

const GRACE_SECONDS: &str = "subprocess.grace_seconds";
const MAX_OUTPUT_BYTES: &str = "subprocess.max_output_bytes";
const MEMORY_BYTES: &str = "limits.memory_bytes";
const CPU_SECONDS: &str = "limits.cpu_seconds";
const OPEN_FILES: &str = "limits.open_files";
const PROCESSES: &str = "limits.processes";

/// Every metadata key that the subprocess runner reads.
pub(crate) const KEYS: &[&str] = &[
    GRACE_SECONDS,
    MAX_OUTPUT_BYTES,
    MEMORY_BYTES,
    CPU_SECONDS,
    OPEN_FILES,
    PROCESSES,
];

/// At most this many unknown keys are named; the rest are counted.
const MAX_UNKNOWN: usize = 20;

/// The most that an operator allows a subprocess. `None`: as much as the invocation asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubprocessPolicy {
    /// Time between TERM and KILL.
    pub max_grace: Option<Duration>,
    /// Bytes to keep of each output stream.
    pub max_output_bytes: Option<u64>,
    /// Address space of each process, in bytes.
    pub memory_bytes: Option<u64>,
    /// CPU time of each process, in seconds.
    pub cpu_seconds: Option<u64>,
    /// Open descriptors of each process.
    pub open_files: Option<u64>,
    /// Processes of a run at a time.
    pub processes: Option<u64>,
}

impl SubprocessPolicy {
    /// What would count for an invocation with this metadata, by the names of the keys.
    ///
    /// # Errors
    /// What in the metadata can't be used.
    pub fn terms(&self, metadata: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Failure> {
        let Settings {
            grace,
            max_output_bytes,
            limits,
        } = Settings::read(metadata, self)?;
        let mut terms = BTreeMap::from([
            (GRACE_SECONDS.to_owned(), grace.as_secs_f64().to_string()),
            (MAX_OUTPUT_BYTES.to_owned(), max_output_bytes.to_string()),
        ]);
        let limits = [
            (MEMORY_BYTES, limits.memory_bytes),
            (CPU_SECONDS, limits.cpu_seconds),
            (OPEN_FILES, limits.open_files),
            (PROCESSES, limits.processes),
        ];
        terms.extend(
            limits
                .into_iter()
                .filter_map(|(key, limit)| Some((key.to_owned(), limit?.to_string()))),
        );
        Ok(terms)
    }
}

/// What counts for one run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) grace: Duration,
    pub(crate) max_output_bytes: u64,
    pub(crate) limits: Limits,
}

impl Settings {
    /// Reads an invocation's metadata. A key of ours that is misspelt or can't be read is a failure, since
    /// a limit that is silently not applied is worse than none.
    pub(crate) fn read(
        metadata: &BTreeMap<String, String>,
        policy: &SubprocessPolicy,
    ) -> Result<Self, Failure> {
        let unknown: Vec<_> = metadata
            .keys()
            .filter(|key| is_ours(key) && !is_known(key))
            .collect();
        if !unknown.is_empty() {
            return Err(unknown_keys(&unknown));
        }
        let number = |key| positive_integer(metadata, key);
        let size = |key| bytes(metadata, key);
        Ok(Self {
            grace: tighter(seconds(metadata, GRACE_SECONDS)?, policy.max_grace).unwrap_or(DEFAULT_GRACE),
            max_output_bytes: tighter(size(MAX_OUTPUT_BYTES)?, policy.max_output_bytes)
                .unwrap_or(DEFAULT_MAX_OUTPUT_BYTES),
            limits: Limits {
                memory_bytes: tighter(size(MEMORY_BYTES)?, policy.memory_bytes),
                cpu_seconds: tighter(number(CPU_SECONDS)?, policy.cpu_seconds),
                open_files: tighter(number(OPEN_FILES)?, policy.open_files),
                processes: tighter(number(PROCESSES)?, policy.processes),
            },
        })
    }
}

fn is_ours(key: &str) -> bool {
    key.starts_with("subprocess.") || key.starts_with("limits.")
}

fn is_known(key: &str) -> bool {
    KEYS.contains(&key)
}

/// Names every key that is not one of ours, each with the one that was most likely meant.
fn unknown_keys(keys: &[&String]) -> Failure {
    let named: Vec<_> = keys
        .iter()
        .take(MAX_UNKNOWN)
        .map(|key| match closest(key, KEYS.iter().copied()) {
            Some(known) => format!("'{key}' (did you mean '{known}'?)"),
            None => format!("'{key}'"),
        })
        .collect();
    let (noun, verb) = match keys {
        [_] => ("key", "is"),
        _ => ("keys", "are"),
    };
    let more = match keys.len().saturating_sub(MAX_UNKNOWN) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    invalid(format!(
        "metadata {noun} {}{more} {verb} unknown; the keys are {}",
        named.join(", "),
        KEYS.join(", ")
    ))
}

fn tighter<T: Ord>(asked: Option<T>, allowed: Option<T>) -> Option<T> {
    match (asked, allowed) {
        (Some(asked), Some(allowed)) => Some(asked.min(allowed)),
        (one, other) => one.or(other),
    }
}

fn positive_integer(metadata: &BTreeMap<String, String>, key: &str) -> Result<Option<u64>, Failure> {
    positive(metadata, key, "an integer above 0", |text| text.parse().ok())
}

fn bytes(metadata: &BTreeMap<String, String>, key: &str) -> Result<Option<u64>, Failure> {
    positive(
        metadata,
        key,
        "a number of bytes above 0, such as 64MiB",
        parse_bytes,
    )
}

fn positive(
    metadata: &BTreeMap<String, String>,
    key: &str,
    expected: &str,
    parse: impl Fn(&str) -> Option<u64>,
) -> Result<Option<u64>, Failure> {
    let Some(text) = metadata.get(key) else {
        return Ok(None);
    };
    match parse(text) {
        Some(value) if value > 0 => Ok(Some(value)),
        _ => Err(invalid(format!(
            "metadata key '{key}' is '{text}'; expected {expected}"
        ))),
    }
}

fn seconds(metadata: &BTreeMap<String, String>, key: &str) -> Result<Option<Duration>, Failure> {
    let Some(text) = metadata.get(key) else {
        return Ok(None);
    };
    let parsed = parse_duration(text);
    match parsed {
        Some(duration) => Ok(Some(duration)),
        None => Err(invalid(format!(
            "metadata key '{key}' is '{text}'; expected a duration in seconds, or with a unit such as 1.5m"
        ))),
    }
}

fn invalid(summary: String) -> Failure {
    Failure::new(ErrorKind::InvalidArgument, summary)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn defaults_apply_without_settings() {
        let settings = Settings::read(&metadata(&[("team", "x")]), &SubprocessPolicy::default()).unwrap();
        assert_eq!(settings.grace, DEFAULT_GRACE);
        assert_eq!(settings.max_output_bytes, DEFAULT_MAX_OUTPUT_BYTES);
        assert_eq!(settings.limits, Limits::default());
    }

    #[test]
    fn an_invocation_tightens_and_never_widens() {
        let policy = SubprocessPolicy {
            max_grace: Some(Duration::from_secs(1)),
            processes: Some(10),
            ..SubprocessPolicy::default()
        };
        let read = |pairs| Settings::read(&metadata(pairs), &policy).unwrap();
        assert_eq!(read(&[("limits.processes", "3")]).limits.processes, Some(3));
        assert_eq!(read(&[("limits.processes", "30")]).limits.processes, Some(10));
        assert_eq!(read(&[]).limits.processes, Some(10));
        assert_eq!(read(&[]).grace, Duration::from_secs(1));
        assert_eq!(
            read(&[("subprocess.grace_seconds", "0.25")]).grace,
            Duration::from_millis(250)
        );
        assert_eq!(
            read(&[("subprocess.grace_seconds", "9")]).grace,
            Duration::from_secs(1)
        );
    }

    #[test]
    fn durations_and_sizes_may_have_units() {
        let pairs = [
            ("subprocess.grace_seconds", "1.5m"),
            ("subprocess.max_output_bytes", "1.5 kB"),
            ("limits.memory_bytes", "64MiB"),
        ];
        let settings = Settings::read(&metadata(&pairs), &SubprocessPolicy::default()).unwrap();
        assert_eq!(settings.grace, Duration::from_secs(90));
        assert_eq!(settings.max_output_bytes, 1500);
        assert_eq!(settings.limits.memory_bytes, Some(64 << 20));
    }

    #[test]
    fn every_unknown_key_is_reported_with_the_one_that_was_meant() {
        let read = |pairs: &[(&str, &str)]| Settings::read(&metadata(pairs), &SubprocessPolicy::default());
        let summary = read(&[
            ("limits.colour", "1"),
            ("limits.process", "1"),
            ("limits.processes", "1"),
            ("subprocess.max_outputbytes", "1"),
        ])
        .unwrap_err()
        .summary;
        let expected = "metadata keys 'limits.colour', 'limits.process' (did you mean 'limits.processes'?), \
                        'subprocess.max_outputbytes' (did you mean 'subprocess.max_output_bytes'?) are unknown; \
                        the keys are ";
        assert!(summary.starts_with(expected), "{summary}");
        let many: Vec<_> = (0..25).map(|number| format!("limits.{number}")).collect();
        let pairs: Vec<_> = many.iter().map(|key| (key.as_str(), "1")).collect();
        let summary = read(&pairs).unwrap_err().summary;
        assert!(summary.contains(", and 5 more are unknown"), "{summary}");
    }

    #[test]
    fn unusable_settings_are_named() {
        for (key, value, expected) in [
            (
                "limits.processes",
                "0",
                "metadata key 'limits.processes' is '0'; expected an integer above 0",
            ),
            (
                "limits.processes",
                "many",
                "metadata key 'limits.processes' is 'many'; expected an integer above 0",
            ),
            (
                "subprocess.grace_seconds",
                "-1",
                "metadata key 'subprocess.grace_seconds' is '-1'; expected a duration in seconds, or with a unit such as 1.5m",
            ),
            (
                "limits.memory",
                "1",
                "metadata key 'limits.memory' (did you mean 'limits.memory_bytes'?) is unknown; the keys are subprocess.grace_seconds, \
                 subprocess.max_output_bytes, limits.memory_bytes, limits.cpu_seconds, limits.open_files, \
                 limits.processes",
            ),
        ] {
            let failure =
                Settings::read(&metadata(&[(key, value)]), &SubprocessPolicy::default()).unwrap_err();
            assert_eq!(failure.kind, ErrorKind::InvalidArgument);
            assert_eq!(failure.summary, expected);
        }
    }
}
