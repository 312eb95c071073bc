//! The documents that cross executor-runtime's boundaries: RxP 0.1 invocations, results and artifacts, the
//! descriptor of a plugin, and the ABI of native plugins. Types and rules only; no I/O.
//!
//! Every document is read by a `from_json` that reports *all* of its problems at once, each with a JSON
//! pointer, what was found and what is expected:
//!
//! ```
//! use executor_runtime_protocol::RuntimeInvocation;
//!
//! let invalid = RuntimeInvocation::from_json(
//!     br#"{
//!         "invocation_id": "inv-1",
//!         "runtime_name": "local",
//!         "runtime_kind": "subprocess",
//!         "working_directory": "",
//!         "comand": ["true"]
//!     }"#,
//! )
//! .unwrap_err();
//! assert_eq!(
//!     invalid.to_string(),
//!     r#"not a valid RuntimeInvocation: 3 problems
//!   /working_directory: found "", expected a non-empty string
//!   /command: found nothing, expected a non-empty array of strings, such as ["program", "argument"]
//!   /comand: found an unknown field, expected a field of a RuntimeInvocation; did you mean "command"?"#
//! );
//! ```

mod artifact;
mod descriptor;
mod document;
mod fields;
mod invocation;
mod kind;
#[cfg(feature = "native")]
pub mod native;
mod path;
mod printable;
mod problem;
mod result;
mod rules;
#[cfg(feature = "schema")]
pub mod schema;
mod secret_name;
mod status;
mod suggest;
mod timestamp;
mod tree;
mod units;

pub use artifact::ArtifactDescriptor;
pub use descriptor::{
    COMPONENT_INTERFACE_VERSION, COMPONENT_SECTION, ELF_SECTION, HOST_NAMESPACES, INTERFACE_VERSION,
    InterfaceVersion, MAX_DESCRIPTOR_BYTES, MetadataKey, MetadataProblem, PluginDescriptor, ValueType,
};
pub use document::{DocumentKind, MAX_DOCUMENT_BYTES};
pub use invocation::RuntimeInvocation;
pub use kind::RuntimeKind;
pub use printable::{is_printable, printable};
pub use problem::{InvalidDocument, MAX_PROBLEMS, Problem};
pub use result::RuntimeResult;
pub use secret_name::holds_secret;
pub use status::Status;
pub use suggest::{closest, misspelt};
pub use timestamp::{InvalidTimestamp, Timestamp};
pub use units::{parse_bytes, parse_duration};

/// The version of RxP that these types speak.
pub const SCHEMA_VERSION: &str = "0.1";
