//! PluginDescriptor: what a plugin is and what it takes, as data, so that a host can list, document and
//! check a plugin without running any of its code.

mod interface;
mod metadata;
mod parse;
mod url;
mod value;

pub use interface::{COMPONENT_INTERFACE_VERSION, INTERFACE_VERSION, InterfaceVersion};
pub use metadata::MetadataProblem;

use crate::{InvalidDocument, RuntimeKind, document, suggest};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// The custom section of a component that holds its descriptor, as the bytes of the JSON document.
pub const COMPONENT_SECTION: &str = "executor-runtime.plugin";

/// The section of a native plugin (ELF) that holds its descriptor, as the bytes of the JSON document.
pub const ELF_SECTION: &str = ".executor_runtime_plugin";

/// The longest descriptor that is read, in bytes (256 KiB).
pub const MAX_DESCRIPTOR_BYTES: usize = 256 << 10;

/// The namespaces of metadata keys (the part before the first dot) that belong to the host: no descriptor
/// declares keys in them.
pub const HOST_NAMESPACES: [&str; 3] = ["limits", "plugin", "subprocess"];

/// <https://semver.org>'s own pattern.
#[cfg(feature = "schema")]
const SEMANTIC_VERSION: &str = "^(0|[1-9]\\d*)\\.(0|[1-9]\\d*)\\.(0|[1-9]\\d*)\
    (?:-((?:0|[1-9]\\d*|\\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\\.(?:0|[1-9]\\d*|\\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?\
    (?:\\+([0-9a-zA-Z-]+(?:\\.[0-9a-zA-Z-]+)*))?$";

/// Dotted lower-case words, the last of which may be a star.
#[cfg(feature = "schema")]
const KEY: &str = "^[a-z][a-z0-9_-]*(\\.[a-z][a-z0-9_-]*)*\\.([a-z][a-z0-9_-]*|\\*)$";

/// What a plugin is and what it takes: the JSON document `plugin.json`, which is embedded in the plugin's
/// file, in [`COMPONENT_SECTION`] or [`ELF_SECTION`].
///
/// Read it with [`PluginDescriptor::from_json`], which upholds what the fields promise.
///
/// ```
/// use executor_runtime_protocol::PluginDescriptor;
/// use std::collections::BTreeMap;
///
/// let descriptor = PluginDescriptor::from_json(
///     br#"{
///         "name": "http",
///         "version": "0.1.0",
///         "kinds": ["http"],
///         "interface": "1.0",
///         "summary": "Sends one HTTP request",
///         "metadata": {
///             "http.url": {"type": "url", "required": true, "help": "Where the request goes"},
///             "http.method": {"type": "string", "default": "POST", "help": "The method"},
///             "http.header.*": {"type": "string", "help": "A header of the request"}
///         }
///     }"#,
/// )
/// .unwrap();
///
/// let mut given = BTreeMap::from([("http.url".into(), "https://api.example/runs".into())]);
/// let metadata = descriptor.check_metadata(&given).unwrap();
/// assert_eq!(metadata["http.method"], "POST");
/// let (key, url) = descriptor.urls(&metadata).next().unwrap();
/// assert_eq!((key, url.host()), ("http.url", Some("api.example")));
///
/// given.insert("http.mehtod".into(), "GET".into());
/// let problems = descriptor.check_metadata(&given).unwrap_err();
/// assert_eq!(
///     problems[0].to_string(),
///     "http.mehtod: found an unknown key, expected a key of plugin http; did you mean \"http.method\"?"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(
    feature = "schema",
    schemars(
        description = "A plugin's name, kinds and metadata keys: plugin.json.",
        deny_unknown_fields,
        transform = crate::schema::with_schema_reference
    )
)]
pub struct PluginDescriptor {
    /// The plugin's name: `[a-z][a-z0-9-]{0,63}`.
    #[cfg_attr(feature = "schema", schemars(regex(pattern = "^[a-z][a-z0-9-]{0,63}$")))]
    pub name: String,
    /// The plugin's own version.
    #[cfg_attr(feature = "schema", schemars(with = "String", regex(pattern = SEMANTIC_VERSION)))]
    pub version: semver::Version,
    /// The kinds that it runs: at least one, each once, never `subprocess`.
    #[cfg_attr(feature = "schema", schemars(length(min = 1), extend("uniqueItems" = true)))]
    pub kinds: Vec<RuntimeKind>,
    /// The plugin interface that it was built for.
    pub interface: InterfaceVersion,
    /// One line that describes what it does.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 200)))]
    pub summary: String,
    /// The metadata keys that it reads. Keys have at least two dotted parts (`http.url`), the first of
    /// which does not belong to the host (`limits`, `plugin`, `subprocess`); one that ends in `.*` stands for every key that begins with
    /// what is before the star.
    #[cfg_attr(feature = "schema", schemars(default, extend("propertyNames" = {"pattern": KEY})))]
    pub metadata: BTreeMap<String, MetadataKey>,
}

/// What one metadata key means to a plugin.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(
    feature = "schema",
    schemars(deny_unknown_fields, transform = crate::schema::without_nulls)
)]
pub struct MetadataKey {
    /// The type of its value.
    #[serde(rename = "type")]
    pub value_type: ValueType,
    /// Whether an invocation has to give it. A required key has no default.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub required: bool,
    /// The value where an invocation gives none. A `url` has no default: it grants access, which only an
    /// invocation can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// The values it can take (each item, for a list); empty if any will do. For `string` and `list`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(default, length(min = 1), extend("uniqueItems" = true)))]
    pub one_of: Vec<String>,
    /// The smallest value. For `integer`, `number` and `duration`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The largest value. For `integer`, `number` and `duration`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// The names that may stand in braces in the path and query of a URL template, such as `run_id`. For
    /// `url`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(default, length(min = 1), inner(regex(pattern = "^[a-z][a-z0-9_]*$")), extend("uniqueItems" = true)))]
    pub placeholders: Vec<String>,
    /// One line that describes it.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 200)))]
    pub help: String,
}

/// The type of a metadata value, which is text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ValueType {
    /// Any text.
    String,
    /// An absolute http or https URL without user name and password. An invocation that names it lets the
    /// plugin reach its host.
    Url,
    /// A whole number of 64 bits.
    Integer,
    /// A decimal number.
    Number,
    /// A number of seconds, such as `2.0`; never negative.
    Duration,
    /// `true` or `false`.
    Boolean,
    /// JSON text.
    Json,
    /// Items separated by commas. Space around an item does not count, nor do empty items; at least one is
    /// left.
    List,
}

impl ValueType {
    /// Every type.
    pub const ALL: [Self; 8] = [
        Self::String,
        Self::Url,
        Self::Integer,
        Self::Number,
        Self::Duration,
        Self::Boolean,
        Self::Json,
        Self::List,
    ];

    /// Its name in a descriptor, such as `duration`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Url => "url",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Duration => "duration",
            Self::Boolean => "boolean",
            Self::Json => "json",
            Self::List => "list",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|value_type| value_type.as_str() == name)
    }

    /// The type that an unknown name most likely stands for: a misspelling, or what other languages call it.
    fn meant_by(name: &str) -> Option<Self> {
        const OTHER_NAMES: [(&str, ValueType); 6] = [
            ("array", ValueType::List),
            ("enum", ValueType::String),
            ("float", ValueType::Number),
            ("object", ValueType::Json),
            ("seconds", ValueType::Duration),
            ("text", ValueType::String),
        ];
        let own_names = Self::ALL.map(|value_type| (value_type.as_str(), value_type));
        let known = || own_names.iter().chain(&OTHER_NAMES);
        let close = suggest::closest(name, known().map(|(known, _)| *known))?;
        known()
            .find(|(known, _)| *known == close)
            .map(|(_, value_type)| *value_type)
    }
}

impl PluginDescriptor {
    /// Reads a descriptor from JSON text of at most [`MAX_DESCRIPTOR_BYTES`].
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, at once.
    pub fn from_json(json: &[u8]) -> Result<Self, InvalidDocument> {
        document::from_json(json)
    }
}

impl<'de> Deserialize<'de> for PluginDescriptor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        document::deserialize(deserializer)
    }
}
