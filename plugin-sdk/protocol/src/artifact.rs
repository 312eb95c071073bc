//! ArtifactDescriptor: a file that a run left behind.

use std::collections::BTreeMap;

/// One file that a run produced.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ArtifactDescriptor {
    /// Unique within the result; never empty.
    pub artifact_id: String,
    /// Where the file is; never empty.
    pub path: String,
    /// What it is, such as `log_excerpt`; never empty.
    pub kind: String,
    /// One line for a person.
    pub description: String,
    /// Further facts, such as `size_bytes` and `sha256`.
    pub metadata: BTreeMap<String, String>,
}
