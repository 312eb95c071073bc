//! The documents that cross executor-runtime's boundaries: RxP 0.1 invocations, results and artifacts, the
//! descriptor of a plugin, and the ABI of native plugins. Types and rules only; no I/O.

mod artifact;
mod invocation;
mod kind;
mod result;
mod timestamp;

pub use artifact::ArtifactDescriptor;
pub use invocation::RuntimeInvocation;
pub use kind::RuntimeKind;
pub use result::{RuntimeResult, Status};
pub use timestamp::Timestamp;

/// The version of RxP that these types speak.
pub const SCHEMA_VERSION: &str = "0.1";
