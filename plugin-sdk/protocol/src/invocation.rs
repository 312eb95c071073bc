//! RuntimeInvocation: what a caller asks for.

use crate::{
    InvalidDocument, RuntimeKind, SCHEMA_VERSION,
    document::{self, Document, DocumentKind},
    fields::Fields,
    rules::{self, Value},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeStruct as _};
use std::{collections::BTreeMap, num::NonZeroU64};

pub(crate) const CONTRACT_KIND: &str = "runtime_invocation";

/// A valid RxP 0.1 RuntimeInvocation.
///
/// It serializes with every field, `schema_version` and `contract_kind` first. In a document that is read,
/// these two may be absent, and so may `environment` and `metadata` (empty), `timeout_seconds` and the
/// three paths (null).
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(
    feature = "schema",
    schemars(
        description = "A request to run something: an RxP 0.1 RuntimeInvocation.",
        deny_unknown_fields,
        transform = crate::schema::with_optional_envelope(CONTRACT_KIND)
    )
)]
pub struct RuntimeInvocation {
    /// Unique for the caller; never empty.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub invocation_id: String,
    /// Which of the caller's runtimes this is for; never empty.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub runtime_name: String,
    /// Which runner executes it.
    pub runtime_kind: RuntimeKind,
    /// The directory to run in; never empty.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub working_directory: String,
    /// Program and arguments; at least one element.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub command: Vec<String>,
    /// Environment variables, added to the host's environment or replacing its values.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub environment: BTreeMap<String, String>,
    /// The limit for the whole run, in seconds; no limit if there is none.
    #[cfg_attr(
        feature = "schema",
        schemars(default, schema_with = "crate::schema::positive_integer_or_null")
    )]
    pub timeout_seconds: Option<NonZeroU64>,
    /// A file with the run's input.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub input_payload_path: Option<String>,
    /// Where the result document is to be written.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub output_result_path: Option<String>,
    /// Where captured output and artifacts go instead of the working directory.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub artifact_directory: Option<String>,
    /// Settings for the runner, and data of the caller's own.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub metadata: BTreeMap<String, String>,
}

impl RuntimeInvocation {
    /// Reads an invocation from JSON text of at most [`MAX_DOCUMENT_BYTES`](crate::MAX_DOCUMENT_BYTES).
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, at once.
    pub fn from_json(json: &[u8]) -> Result<Self, InvalidDocument> {
        document::from_json(json)
    }
}

impl Document for RuntimeInvocation {
    const KIND: DocumentKind = DocumentKind::RuntimeInvocation;
    const TOO_LONG_HINT: &str = "; pass large input as a file, through input_payload_path";

    fn check(value: Value<'_, '_>) -> Option<Self> {
        let mut fields = Fields::open(value, Self::KIND.with_article())?;
        fields.optional("schema_version", rules::constant(SCHEMA_VERSION));
        fields.optional("contract_kind", rules::constant(CONTRACT_KIND));
        let invocation_id = fields.required("invocation_id", rules::non_empty_string);
        let runtime_name = fields.required("runtime_name", rules::non_empty_string);
        let runtime_kind = fields.required("runtime_kind", rules::runtime_kind);
        let working_directory = fields.required("working_directory", rules::non_empty_string);
        let command = fields.required("command", rules::command);
        let environment = fields.optional("environment", rules::string_map);
        let timeout_seconds = fields.optional("timeout_seconds", rules::timeout);
        let input_payload_path = fields.optional("input_payload_path", rules::string_or_null);
        let output_result_path = fields.optional("output_result_path", rules::string_or_null);
        let artifact_directory = fields.optional("artifact_directory", rules::string_or_null);
        let metadata = fields.optional("metadata", rules::string_map);
        fields.close();
        Some(Self {
            invocation_id: invocation_id?,
            runtime_name: runtime_name?,
            runtime_kind: runtime_kind?,
            working_directory: working_directory?,
            command: command?,
            environment: environment?,
            timeout_seconds: timeout_seconds?,
            input_payload_path: input_payload_path?,
            output_result_path: output_result_path?,
            artifact_directory: artifact_directory?,
            metadata: metadata?,
        })
    }
}

impl<'de> Deserialize<'de> for RuntimeInvocation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        document::deserialize(deserializer)
    }
}

impl Serialize for RuntimeInvocation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("RuntimeInvocation", 13)?;
        out.serialize_field("schema_version", SCHEMA_VERSION)?;
        out.serialize_field("contract_kind", CONTRACT_KIND)?;
        out.serialize_field("invocation_id", &self.invocation_id)?;
        out.serialize_field("runtime_name", &self.runtime_name)?;
        out.serialize_field("runtime_kind", &self.runtime_kind)?;
        out.serialize_field("working_directory", &self.working_directory)?;
        out.serialize_field("command", &self.command)?;
        out.serialize_field("environment", &self.environment)?;
        out.serialize_field("timeout_seconds", &self.timeout_seconds)?;
        out.serialize_field("input_payload_path", &self.input_payload_path)?;
        out.serialize_field("output_result_path", &self.output_result_path)?;
        out.serialize_field("artifact_directory", &self.artifact_directory)?;
        out.serialize_field("metadata", &self.metadata)?;
        out.end()
    }
}
