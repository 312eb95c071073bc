//! ArtifactDescriptor: a file that a run left behind.

use crate::{
    InvalidDocument, SCHEMA_VERSION,
    document::{self, Document, DocumentKind},
    fields::Fields,
    rules::{self, Value},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeStruct as _};
use std::collections::BTreeMap;

pub(crate) const CONTRACT_KIND: &str = "artifact_descriptor";

/// One file that a run produced: an RxP 0.1 ArtifactDescriptor.
///
/// It serializes with every field, `schema_version` and `contract_kind` first, and all of them are
/// required in a document that is read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(
    feature = "schema",
    schemars(
        description = "A file that a run left: an RxP 0.1 ArtifactDescriptor.",
        deny_unknown_fields,
        transform = crate::schema::with_required_envelope(CONTRACT_KIND)
    )
)]
pub struct ArtifactDescriptor {
    /// Unique within the result; never empty.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub artifact_id: String,
    /// Where the file is; never empty.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub path: String,
    /// What it is, such as `log_excerpt`; never empty.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub kind: String,
    /// One line that describes it.
    pub description: String,
    /// Further facts, such as `size_bytes` and `sha256`.
    pub metadata: BTreeMap<String, String>,
}

impl ArtifactDescriptor {
    /// Reads a descriptor from JSON text of at most [`MAX_DOCUMENT_BYTES`](crate::MAX_DOCUMENT_BYTES).
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, at once.
    pub fn from_json(json: &[u8]) -> Result<Self, InvalidDocument> {
        document::from_json(json)
    }
}

impl Document for ArtifactDescriptor {
    const KIND: DocumentKind = DocumentKind::ArtifactDescriptor;

    fn check(value: Value<'_, '_>) -> Option<Self> {
        let mut fields = Fields::open(value, Self::KIND.with_article())?;
        fields.required("schema_version", rules::constant(SCHEMA_VERSION));
        fields.required("contract_kind", rules::constant(CONTRACT_KIND));
        let artifact_id = fields.required("artifact_id", rules::non_empty_string);
        let path = fields.required("path", rules::non_empty_string);
        let kind = fields.required("kind", rules::non_empty_string);
        let description = fields.required("description", rules::string);
        let metadata = fields.required("metadata", rules::string_map);
        fields.close();
        Some(Self {
            artifact_id: artifact_id?,
            path: path?,
            kind: kind?,
            description: description?,
            metadata: metadata?,
        })
    }
}

impl<'de> Deserialize<'de> for ArtifactDescriptor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        document::deserialize(deserializer)
    }
}

impl Serialize for ArtifactDescriptor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("ArtifactDescriptor", 7)?;
        out.serialize_field("schema_version", SCHEMA_VERSION)?;
        out.serialize_field("contract_kind", CONTRACT_KIND)?;
        out.serialize_field("artifact_id", &self.artifact_id)?;
        out.serialize_field("path", &self.path)?;
        out.serialize_field("kind", &self.kind)?;
        out.serialize_field("description", &self.description)?;
        out.serialize_field("metadata", &self.metadata)?;
        out.end()
    }
}
