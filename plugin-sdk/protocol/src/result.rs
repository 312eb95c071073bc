//! RuntimeResult: what happened.

use crate::{
    ArtifactDescriptor, InvalidDocument, RuntimeKind, SCHEMA_VERSION, Status, Timestamp,
    document::{self, Document, DocumentKind},
    fields::Fields,
    rules::{self, Value},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeStruct as _};
use std::collections::BTreeMap;

pub(crate) const CONTRACT_KIND: &str = "runtime_result";

/// An RxP 0.1 RuntimeResult.
///
/// It serializes with every field, `schema_version` and `contract_kind` first, and all of them are
/// required in a document that is read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(
    feature = "schema",
    schemars(
        description = "What happened: an RxP 0.1 RuntimeResult.",
        deny_unknown_fields,
        transform = crate::schema::with_required_envelope(CONTRACT_KIND)
    )
)]
pub struct RuntimeResult {
    /// The invocation's; never empty.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub invocation_id: String,
    /// The invocation's; never empty.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub runtime_name: String,
    /// The invocation's.
    pub runtime_kind: RuntimeKind,
    /// How it ended.
    pub status: Status,
    /// The process's exit code, `-N` for death by signal N, or what the kind calls an exit code.
    #[cfg_attr(feature = "schema", schemars(schema_with = "crate::schema::integer_or_null"))]
    pub exit_code: Option<i64>,
    /// When the run began.
    pub started_at: Timestamp,
    /// When it was over.
    pub finished_at: Timestamp,
    /// The file with the captured standard output.
    pub stdout_path: Option<String>,
    /// The file with the captured standard error.
    pub stderr_path: Option<String>,
    /// Files that the run left.
    pub artifacts: Vec<ArtifactDescriptor>,
    /// One sentence for a person, if the run did not succeed.
    pub error_summary: Option<String>,
    /// The receipt.
    pub metadata: BTreeMap<String, String>,
}

impl RuntimeResult {
    /// Reads a result from JSON text of at most [`MAX_DOCUMENT_BYTES`](crate::MAX_DOCUMENT_BYTES).
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, at once.
    pub fn from_json(json: &[u8]) -> Result<Self, InvalidDocument> {
        document::from_json(json)
    }
}

impl Document for RuntimeResult {
    const KIND: DocumentKind = DocumentKind::RuntimeResult;

    fn check(value: Value<'_, '_>) -> Option<Self> {
        let mut fields = Fields::open(value, Self::KIND.with_article())?;
        fields.required("schema_version", rules::constant(SCHEMA_VERSION));
        fields.required("contract_kind", rules::constant(CONTRACT_KIND));
        let invocation_id = fields.required("invocation_id", rules::non_empty_string);
        let runtime_name = fields.required("runtime_name", rules::non_empty_string);
        let runtime_kind = fields.required("runtime_kind", rules::runtime_kind);
        let status = fields.required("status", rules::status);
        let exit_code = fields.required("exit_code", rules::exit_code);
        let started_at = fields.required("started_at", rules::timestamp);
        let finished_at = fields.required("finished_at", rules::timestamp);
        let stdout_path = fields.required("stdout_path", rules::string_or_null);
        let stderr_path = fields.required("stderr_path", rules::string_or_null);
        let artifacts = fields.required("artifacts", |value| {
            rules::array(
                value,
                0,
                "an array of ArtifactDescriptors",
                ArtifactDescriptor::check,
            )
        });
        let error_summary = fields.required("error_summary", rules::string_or_null);
        let metadata = fields.required("metadata", rules::string_map);
        fields.close();
        Some(Self {
            invocation_id: invocation_id?,
            runtime_name: runtime_name?,
            runtime_kind: runtime_kind?,
            status: status?,
            exit_code: exit_code?,
            started_at: started_at?,
            finished_at: finished_at?,
            stdout_path: stdout_path?,
            stderr_path: stderr_path?,
            artifacts: artifacts?,
            error_summary: error_summary?,
            metadata: metadata?,
        })
    }
}

impl<'de> Deserialize<'de> for RuntimeResult {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        document::deserialize(deserializer)
    }
}

impl Serialize for RuntimeResult {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("RuntimeResult", 14)?;
        out.serialize_field("schema_version", SCHEMA_VERSION)?;
        out.serialize_field("contract_kind", CONTRACT_KIND)?;
        out.serialize_field("invocation_id", &self.invocation_id)?;
        out.serialize_field("runtime_name", &self.runtime_name)?;
        out.serialize_field("runtime_kind", &self.runtime_kind)?;
        out.serialize_field("status", &self.status)?;
        out.serialize_field("exit_code", &self.exit_code)?;
        out.serialize_field("started_at", &self.started_at)?;
        out.serialize_field("finished_at", &self.finished_at)?;
        out.serialize_field("stdout_path", &self.stdout_path)?;
        out.serialize_field("stderr_path", &self.stderr_path)?;
        out.serialize_field("artifacts", &self.artifacts)?;
        out.serialize_field("error_summary", &self.error_summary)?;
        out.serialize_field("metadata", &self.metadata)?;
        out.end()
    }
}
