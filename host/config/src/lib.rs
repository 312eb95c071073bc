//! The operator's configuration file, `executor-runtime.toml`.
//!
//! ```toml
//! [subprocess]
//! grace_seconds = 5
//! max_output_bytes = 1_000_000_000
//!
//! [limits]                       # of subprocesses
//! memory_bytes = 2_000_000_000
//! cpu_seconds = 600
//! open_files = 1024
//! processes = 100
//!
//! [plugins.http]
//! enabled = true
//! sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
//! allow_hosts = ["api.example.com", "*.internal:*"]
//! idle_seconds = 300
//! limits = { memory_bytes = 67_108_864, grace_seconds = 0.5 }
//! config = { region = "eu" }     # what the plugin reads with Context::config
//! ```
//!
//! Every limit is the most that an invocation can have. Nothing is required; a key that does not exist is an
//! error, because a limit that is silently not applied is worse than none.

pub mod trust;

use executor_runtime_authority::HostPattern;
use executor_runtime_protocol::{RuntimeKind, closest, parse_bytes, parse_duration};
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Deserializer, de};
use std::{
    collections::BTreeMap,
    io::Read,
    path::{Path, PathBuf},
    sync::LazyLock,
    time::Duration,
};
use trust::{FileError, open_named_file};

/// The file's usual name.
pub const FILE_NAME: &str = "executor-runtime.toml";

/// The longest file that is read.
const MAX_BYTES: u64 = 1 << 20;

/// What the operator allows.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(description = "The operator's configuration: executor-runtime.toml.")]
pub struct Config {
    /// Subprocesses.
    subprocess: SubprocessConfig,
    /// Limits of subprocesses.
    limits: LimitsConfig,
    /// Plugins, by the name in their descriptor.
    plugins: BTreeMap<String, PluginConfig>,
    /// A host that serves many runs.
    serve: ServeConfig,
    /// What it keeps of runs that have ended.
    journal: JournalConfig,
}

/// How many runs a host that serves has.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServeConfig {
    /// Runs under way at a time, of all kinds. Default 256.
    pub max_running: Option<Positive>,
    /// Runs that wait for their turn; more are refused. Default 10,000.
    pub max_queued: Option<Positive>,
    /// Runs under way at a time of single kinds. Default none.
    #[serde(deserialize_with = "by_kind")]
    #[schemars(with = "BTreeMap<String, Positive>")]
    pub max_running_by_kind: BTreeMap<RuntimeKind, Positive>,
}

/// What a host that serves keeps of runs that have ended.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JournalConfig {
    /// How long, in seconds. Default 7 days.
    pub keep: Option<Seconds>,
    /// Of how many at most; the oldest go first. Default 100,000.
    pub max_runs: Option<Positive>,
}

/// What the operator allows a subprocess.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct SubprocessConfig {
    /// The longest time between TERM and KILL, in seconds.
    grace_seconds: Option<Seconds>,
    /// The most bytes that are kept of each output stream.
    max_output_bytes: Option<Bytes>,
}

/// The limits that the operator sets for subprocesses.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct LimitsConfig {
    /// Bytes of address space of each process.
    memory_bytes: Option<Bytes>,
    /// Seconds of CPU time of each process.
    cpu_seconds: Option<Positive>,
    /// Open descriptors of each process.
    open_files: Option<Positive>,
    /// Processes of a run at a time.
    processes: Option<Positive>,
}

/// The most that the operator allows a subprocess. None: as much as the invocation asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubprocessLimits {
    /// Time between TERM and KILL.
    pub grace: Option<Duration>,
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

/// What the operator says about one plugin.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PluginConfig {
    /// Whether it may be used.
    pub enabled: bool,
    /// The SHA-256 that its file must have, in hex.
    #[serde(deserialize_with = "sha256")]
    #[schemars(regex(pattern = "^[0-9a-fA-F]{64}$"))]
    pub sha256: Option<String>,
    /// Hosts that every run may reach, beside those that its invocation names: `host`, `host:port`,
    /// `*.domain`.
    #[serde(deserialize_with = "host_patterns")]
    #[schemars(with = "Vec<String>")]
    pub allow_hosts: Vec<HostPattern>,
    /// Seconds for which the processes of a native plugin are kept without a run. Default 60.
    pub idle_seconds: Option<Seconds>,
    /// What one run may use.
    pub limits: PluginLimits,
    /// Settings that the plugin reads.
    pub config: BTreeMap<String, String>,
}

/// What one run of a plugin may use.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PluginLimits {
    /// Bytes of memory. Default 256 MiB for a component, none for a native plugin.
    pub memory_bytes: Option<Bytes>,
    /// Seconds between the request to stop and the forced end. Default 2.
    pub grace_seconds: Option<Seconds>,
    /// Bytes of one artifact. Default 256 MiB.
    #[serde(deserialize_with = "any_bytes")]
    #[schemars(extend("type" = ["integer", "string", "null"]))]
    pub artifact_bytes: Option<u64>,
    /// Number of artifacts. Default 1000.
    pub artifacts: Option<u32>,
}

impl Default for PluginConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            sha256: None,
            allow_hosts: Vec::new(),
            idle_seconds: None,
            limits: PluginLimits::default(),
            config: BTreeMap::new(),
        }
    }
}

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read, or others could have written it.
    #[error("configuration '{}' {reason}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: FileError,
    },
    /// The file is longer than a configuration can be.
    #[error("configuration '{}' is too long; the limit is {MAX_BYTES} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// The file breaks the rules.
    #[error("{path}:{line}: {message}")]
    Invalid {
        /// The file.
        path: String,
        /// Counted from 1.
        line: usize,
        /// What is wrong, and what was probably meant.
        message: String,
    },
}

impl Config {
    /// Reads a configuration file. It has to be a regular file that only root and this user can change or put there,
    /// as for a plugin file.
    ///
    /// # Errors
    /// When it can't be read, others could have written it, or it is invalid; with file, line and what was probably
    /// meant.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let unusable = |reason| ConfigError::Unusable {
            path: path.to_owned(),
            reason,
        };
        let file = open_named_file(path).map_err(unusable)?;
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| unusable(error.into()))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(ConfigError::TooLong {
                path: path.to_owned(),
            });
        }
        let text = String::from_utf8(bytes)
            .map_err(|_| unusable(FileError::Unreadable("it is not UTF-8 text".to_owned())))?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Reads the text of a configuration file that is called `path` in errors.
    ///
    /// # Errors
    /// When it is invalid.
    pub fn parse(text: &str, path: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start.min(text.len()));
            ConfigError::Invalid {
                path: path.to_owned(),
                line: text.as_bytes()[..at]
                    .iter()
                    .filter(|&&byte| byte == b'\n')
                    .count()
                    + 1,
                message: explain(error.message()),
            }
        })
    }

    /// What subprocesses may use.
    pub fn subprocess(&self) -> SubprocessLimits {
        let value = |positive: Option<Positive>| positive.map(|Positive(value)| value);
        let bytes = |bytes: Option<Bytes>| bytes.map(u64::from);
        SubprocessLimits {
            grace: self.subprocess.grace_seconds.map(Into::into),
            max_output_bytes: bytes(self.subprocess.max_output_bytes),
            memory_bytes: bytes(self.limits.memory_bytes),
            cpu_seconds: value(self.limits.cpu_seconds),
            open_files: value(self.limits.open_files),
            processes: value(self.limits.processes),
        }
    }

    /// How many runs a host that serves has.
    pub fn serve(&self) -> &ServeConfig {
        &self.serve
    }

    /// What a host that serves keeps of runs that have ended.
    pub fn journal(&self) -> &JournalConfig {
        &self.journal
    }

    /// The plugins that something is said about.
    pub fn plugin_names(&self) -> impl Iterator<Item = &str> {
        self.plugins.keys().map(String::as_str)
    }

    /// What is said about the plugin `name`; the defaults if nothing is.
    pub fn plugin(&self, name: &str) -> &PluginConfig {
        self.plugins.get(name).unwrap_or(&DEFAULT)
    }

    /// The JSON Schema of the file.
    pub fn schema() -> Schema {
        schemars::schema_for!(Self)
    }
}

static DEFAULT: LazyLock<PluginConfig> = LazyLock::new(PluginConfig::default);

/// Adds to an error about an unknown key what was probably meant, and says `key` where serde says `field`, and
/// what a type is where it has Rust's name for it.
fn explain(message: &str) -> String {
    let message = match message.rsplit_once("expected ") {
        Some((found, "f64")) => format!("{found}expected a number"),
        Some((found, "i64")) => format!("{found}expected an integer"),
        Some((found, "u32" | "u64")) => format!("{found}expected an integer, 0 or more"),
        _ => message.replace("unknown field", "unknown key"),
    };
    let mut quoted = message.split('`').skip(1).step_by(2);
    let meant = match quoted.next() {
        Some(unknown) if message.starts_with("unknown key") => closest(unknown, quoted),
        _ => None,
    };
    match meant {
        Some(meant) => format!("{message}; did you mean `{meant}`?"),
        None => message,
    }
}

/// A number of seconds, 0 or more, or text with a unit, such as `"1.5m"`.
#[derive(Clone, Copy, Debug, PartialEq, JsonSchema)]
#[schemars(extend("type" = ["number", "string"]))]
pub struct Seconds(#[schemars(with = "f64", range(min = 0))] Duration);

impl From<Seconds> for Duration {
    fn from(Seconds(duration): Seconds) -> Self {
        duration
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = deserializer.deserialize_any(Quantity("a number of seconds, or text such as \"1.5m\""))?;
        parse_duration(&text)
            .map(Self)
            .ok_or_else(|| de::Error::custom(format!("{text} is not a duration: write 90, or \"1.5m\"")))
    }
}

/// A number of bytes above 0, or text with a unit, such as `"64MiB"`.
#[derive(Clone, Copy, Debug, PartialEq, JsonSchema)]
#[schemars(extend("type" = ["integer", "string"]))]
pub struct Bytes(#[schemars(range(min = 1))] u64);

impl From<Bytes> for u64 {
    fn from(Bytes(bytes): Bytes) -> Self {
        bytes
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = deserializer.deserialize_any(Quantity("a number of bytes, or text such as \"64MiB\""))?;
        match parse_bytes(&text) {
            Some(bytes) if bytes > 0 => Ok(Self(bytes)),
            _ => Err(de::Error::custom(format!(
                "{text} is not a number of bytes above 0: write 67108864, or \"64MiB\""
            ))),
        }
    }
}

/// Numbers by kinds.
fn by_kind<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<RuntimeKind, Positive>, D::Error> {
    let named = BTreeMap::<String, Positive>::deserialize(deserializer)?;
    let kinds = named.into_iter().map(|(name, number)| {
        let kind = RuntimeKind::new(&name);
        kind.map(|kind| (kind, number))
            .ok_or_else(|| de::Error::custom(no_kind(&name)))
    });
    kinds.collect()
}

fn no_kind(name: &str) -> String {
    let meant = RuntimeKind::new(&name.replace('-', "_"));
    let hint = meant.map_or_else(String::new, |meant| format!("; did you mean \"{meant}\"?"));
    format!("{name:?} is not a valid kind{hint}")
}

/// A number of bytes that may be 0.
fn any_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let text = deserializer.deserialize_any(Quantity("a number of bytes, or text such as \"64MiB\""))?;
    match parse_bytes(&text) {
        Some(bytes) => Ok(Some(bytes)),
        None => Err(de::Error::custom(format!(
            "{text} is not a number of bytes: write 67108864, or \"64MiB\""
        ))),
    }
}

/// Reads a number or a text, as text; holds what is expected.
struct Quantity(&'static str);

impl de::Visitor<'_> for Quantity {
    type Value = String;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }

    fn visit_i64<E>(self, value: i64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_u64<E>(self, value: u64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_f64<E>(self, value: f64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_str<E>(self, value: &str) -> Result<String, E> {
        Ok(value.to_owned())
    }
}

/// An integer above 0.
#[derive(Clone, Copy, Debug, PartialEq, JsonSchema)]
pub struct Positive(#[schemars(range(min = 1))] u64);

impl From<Positive> for u64 {
    fn from(Positive(number): Positive) -> Self {
        number
    }
}

impl<'de> Deserialize<'de> for Positive {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match i64::deserialize(deserializer)? {
            value if value > 0 => Ok(Self(value.unsigned_abs())),
            value => Err(de::Error::custom(format!("{value} is not an integer above 0"))),
        }
    }
}

fn sha256<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(Some(text.to_ascii_lowercase()))
    } else {
        Err(de::Error::custom(format!(
            "{text:?} is not a SHA-256: 64 hex digits"
        )))
    }
}

fn host_patterns<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<HostPattern>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let parse = |text: String| {
        HostPattern::parse(&text).map_err(|error| {
            de::Error::custom(format!(
                "{text:?} is not a valid host pattern: {error}; write host, host:port or *.domain"
            ))
        })
    };
    texts.into_iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r#"
        [subprocess]
        grace_seconds = 5
        max_output_bytes = 1_000
        [limits]
        memory_bytes = 2_000
        cpu_seconds = 600
        open_files = 1024
        processes = 100
        [plugins.http]
        enabled = false
        sha256 = "9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08"
        allow_hosts = ["api.example.com", "*.internal:*"]
        idle_seconds = "5m"
        limits = { memory_bytes = 67_108_864, grace_seconds = 0.5 }
        config = { region = "eu" }
    "#;

    #[test]
    fn everything_can_be_set() {
        let config = Config::parse(FULL, "c.toml").unwrap();
        assert_eq!(config.subprocess().grace, Some(Duration::from_secs(5)));
        assert_eq!(config.subprocess().processes, Some(100));
        let http = config.plugin("http");
        assert!(!http.enabled);
        assert!(
            http.sha256
                .as_deref()
                .is_some_and(|digest| digest.starts_with("9f86"))
        );
        assert_eq!(http.allow_hosts.len(), 2);
        assert_eq!(http.idle_seconds.map(Into::into), Some(Duration::from_secs(300)));
        assert_eq!(http.config["region"], "eu");
    }

    #[test]
    fn durations_and_sizes_may_have_units() {
        let text = "[subprocess]\ngrace_seconds = \"1.5m\"\nmax_output_bytes = \"64MiB\"";
        let policy = Config::parse(text, "c.toml").unwrap().subprocess();
        assert_eq!(policy.grace, Some(Duration::from_secs(90)));
        assert_eq!(policy.max_output_bytes, Some(64 << 20));
    }

    #[test]
    fn nothing_has_to_be_set() {
        let config = Config::parse("", "c.toml").unwrap();
        assert_eq!(config.subprocess(), SubprocessLimits::default());
        assert_eq!(*config.plugin("http"), PluginConfig::default());
    }

    #[test]
    fn mistakes_are_told_with_their_line_and_what_was_meant() {
        for (text, expected) in [
            (
                "\n[plugins.http]\nallow_host = []",
                "c.toml:3: unknown key `allow_host`, expected one of `enabled`, `sha256`, `allow_hosts`, \
                 `idle_seconds`, `limits`, `config`; did you mean `allow_hosts`?",
            ),
            (
                "[limit]",
                "c.toml:1: unknown key `limit`, expected one of `subprocess`, `limits`, `plugins`, `serve`, `journal`; \
                 did you mean `limits`?",
            ),
            ("[limits]\nprocesses = 0", "c.toml:2: 0 is not an integer above 0"),
            (
                "[subprocess]\ngrace_seconds = -1.0",
                "c.toml:2: -1 is not a duration: write 90, or \"1.5m\"",
            ),
            (
                "[plugins.x]\nallow_hosts = [\"a.com\", \"http://b\"]",
                "c.toml:2: \"http://b\" is not a valid host pattern: '//b' is not a valid port; write host, host:port or *.domain",
            ),
            (
                "[subprocess]\ngrace_seconds = true",
                "c.toml:2: invalid type: boolean `true`, expected a number of seconds, or text such as \"1.5m\"",
            ),
            (
                "[limits]\nmemory_bytes = \"64M\"",
                "c.toml:2: 64M is not a number of bytes above 0: write 67108864, or \"64MiB\"",
            ),
            (
                "[limits]\nprocesses = true",
                "c.toml:2: invalid type: boolean `true`, expected an integer",
            ),
            (
                "[plugins.x.limits]\nartifacts = -1",
                "c.toml:2: invalid value: integer `-1`, expected an integer, 0 or more",
            ),
            (
                "[plugins.x]\nsha256 = \"12\"",
                "c.toml:2: \"12\" is not a SHA-256: 64 hex digits",
            ),
        ] {
            assert_eq!(Config::parse(text, "c.toml").unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn the_schema_knows_every_table() {
        let schema = serde_json::to_value(Config::schema()).unwrap();
        for table in ["subprocess", "limits", "plugins"] {
            assert!(schema["properties"].get(table).is_some(), "{schema}");
        }
    }
}
