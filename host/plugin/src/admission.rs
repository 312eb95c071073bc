//! What one invocation of a plugin may do, decided before anything of the plugin runs.
//!
//! The metadata is checked against the descriptor, so that a plugin gets what it declared. These keys are the
//! host's own; an invocation may tighten what the operator allows and never widen it:
//!
//! | key | unit | without it |
//! |---|---|---|
//! | `plugin.grace_seconds` | seconds between the request to stop and the forced end, fractions allowed | 2 |
//! | `limits.memory_bytes` | bytes of memory | 256 MiB |

use crate::{Carrier, Limits};
use executor_runtime_config::PluginConfig;
use executor_runtime_protocol::{PluginDescriptor, parse_bytes, parse_duration};
use executor_runtime_run::{ErrorKind, Failure, RunPermissions};
use std::{collections::BTreeMap, fmt::Write as _};

const GRACE_SECONDS: &str = "plugin.grace_seconds";
const MEMORY_BYTES: &str = "limits.memory_bytes";
const KEYS: [&str; 2] = [GRACE_SECONDS, MEMORY_BYTES];

/// Limits of a subprocess that a component can't break: it has no files and no processes. They do not apply to a
/// native plugin, which could, and an invocation that asks for them is told so.
const MEANINGLESS: [&str; 2] = ["limits.open_files", "limits.processes"];

/// What counts for one run of a plugin, whatever its carrier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The invocation's metadata, with the descriptor's defaults filled in.
    pub metadata: BTreeMap<String, String>,
    /// What the run may use.
    pub limits: Limits,
}

impl Admission {
    /// The limits under the names of their metadata keys, and the hosts that may be reached. `with_memory`: whether the
    /// limit on memory applies, which for a native plugin it does only if it was asked for.
    pub fn terms(&self, with_memory: bool, grants: impl IntoIterator<Item = String>) -> RunPermissions {
        let Limits {
            memory_bytes,
            artifact_bytes,
            artifacts,
            grace,
        } = &self.limits;
        let mut limits = BTreeMap::from([
            (GRACE_SECONDS.to_owned(), grace.as_secs_f64().to_string()),
            ("artifacts".to_owned(), artifacts.to_string()),
            ("artifact_bytes".to_owned(), artifact_bytes.to_string()),
        ]);
        if with_memory {
            limits.insert(MEMORY_BYTES.to_owned(), memory_bytes.to_string());
        }
        let mut grants: Vec<_> = grants.into_iter().collect();
        grants.sort();
        grants.dedup();
        RunPermissions { limits, grants }
    }
}

/// An invocation's metadata, with the descriptor's defaults.
///
/// # Errors
/// What in it can't be used.
pub(crate) fn checked(
    descriptor: &PluginDescriptor,
    metadata: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Failure> {
    descriptor.check_metadata(metadata).map_err(|problems| {
        let mut summary = String::new();
        for problem in &problems {
            // Writing to a string can't fail.
            let _ = write!(summary, "{}{problem}", if summary.is_empty() { "" } else { "; " });
        }
        invalid(summary)
    })
}

/// Checks an invocation's metadata and reads its settings.
///
/// # Errors
/// What in the metadata can't be used.
pub fn admit(
    descriptor: &PluginDescriptor,
    config: &PluginConfig,
    carrier: Carrier,
    metadata: &BTreeMap<String, String>,
) -> Result<Admission, Failure> {
    let filled = checked(descriptor, metadata)?;
    let ours = |key: &str| key.starts_with("plugin.") || key.starts_with("limits.");
    let kept = |key: &str| carrier == Carrier::Component && MEANINGLESS.contains(&key);
    if let Some(key) = metadata
        .keys()
        .find(|key| ours(key) && !KEYS.contains(&key.as_str()) && !kept(key))
    {
        return Err(invalid(format!(
            "{key}: does not apply to a {} plugin; the keys are {}",
            carrier.as_str(),
            KEYS.join(", ")
        )));
    }
    let asked_grace = read(
        metadata,
        GRACE_SECONDS,
        "a duration in seconds, or with a unit such as 1.5m",
        parse_duration,
    )?;
    let asked_memory = read(
        metadata,
        MEMORY_BYTES,
        "a number of bytes above 0, such as 64MiB",
        |text| parse_bytes(text).filter(|&bytes| bytes > 0),
    )?;
    let allowed = Limits::configured(&config.limits);
    Ok(Admission {
        metadata: filled,
        limits: Limits {
            grace: asked_grace.map_or(allowed.grace, |asked| asked.min(allowed.grace)),
            memory_bytes: asked_memory.map_or(allowed.memory_bytes, |asked| asked.min(allowed.memory_bytes)),
            ..allowed
        },
    })
}

fn read<T>(
    metadata: &BTreeMap<String, String>,
    key: &str,
    expected: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, Failure> {
    let Some(text) = metadata.get(key) else {
        return Ok(None);
    };
    match parse(text) {
        Some(value) => Ok(Some(value)),
        None => Err(invalid(format!("{key}: found {text:?}, expected {expected}"))),
    }
}

pub(crate) fn invalid(summary: String) -> Failure {
    Failure::new(ErrorKind::InvalidMetadata, format!("invalid metadata: {summary}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use executor_runtime_config::Config;
    use std::time::Duration;

    fn descriptor() -> PluginDescriptor {
        PluginDescriptor::from_json(
            br#"{"name": "http", "version": "1.0.0", "kinds": ["http"], "interface": "1.0", "summary": "s",
                 "metadata": {"http.url": {"type": "url", "required": true, "help": "h"},
                              "http.method": {"type": "string", "default": "POST", "help": "h"}}}"#,
        )
        .unwrap()
    }

    fn admit_with(config: &str, metadata: &[(&str, &str)]) -> Result<Admission, Failure> {
        let config = Config::parse(config, "c.toml").unwrap();
        let metadata = metadata
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        admit(
            &descriptor(),
            config.plugin("http"),
            Carrier::Component,
            &metadata,
        )
    }

    #[test]
    fn defaults_are_filled_in() {
        let admission = admit_with("", &[("http.url", "http://a/")]).unwrap();
        assert_eq!(admission.metadata["http.method"], "POST");
        assert_eq!(admission.limits, Limits::default());
    }

    #[test]
    fn an_invocation_tightens_and_never_widens() {
        let config = "plugins.http.limits = { grace_seconds = 0.5, memory_bytes = 1000 }";
        let url = ("http.url", "http://a/");
        let tight = admit_with(
            config,
            &[
                url,
                ("plugin.grace_seconds", "0.25"),
                ("limits.memory_bytes", "10"),
            ],
        )
        .unwrap();
        assert_eq!(
            (tight.limits.grace, tight.limits.memory_bytes),
            (Duration::from_millis(250), 10)
        );
        let wide = admit_with(
            config,
            &[
                url,
                ("plugin.grace_seconds", "9"),
                ("limits.memory_bytes", "9999"),
            ],
        )
        .unwrap();
        assert_eq!(
            (wide.limits.grace, wide.limits.memory_bytes),
            (Duration::from_millis(500), 1000)
        );
    }

    #[test]
    fn what_does_not_fit_is_rejected_by_name() {
        for (metadata, words) in [
            (&[][..], "http.url: found nothing"),
            (&[("http.url", "http://a/"), ("http.metod", "GET")], "http.metod"),
            (
                &[("http.url", "http://a/"), ("plugin.grace_seconds", "-1")],
                "plugin.grace_seconds",
            ),
            (
                &[("http.url", "http://a/"), ("limits.cpu_seconds", "1")],
                "limits.cpu_seconds",
            ),
        ] {
            let failure = admit_with("", metadata).unwrap_err();
            assert_eq!(failure.kind, ErrorKind::InvalidMetadata);
            assert!(failure.summary.contains(words), "{}", failure.summary);
        }
    }

    #[test]
    fn a_limit_that_would_not_be_kept_is_refused() {
        let metadata = BTreeMap::from([
            ("http.url".to_owned(), "http://a/".to_owned()),
            ("limits.processes".to_owned(), "1".to_owned()),
        ]);
        let config = PluginConfig::default();
        let admit = |carrier| admit(&descriptor(), &config, carrier, &metadata);
        assert!(admit(Carrier::Component).is_ok(), "a component has no processes");
        let failure = admit(Carrier::Native).unwrap_err();
        assert!(
            failure.summary.contains("limits.processes"),
            "{}",
            failure.summary
        );
    }
}
