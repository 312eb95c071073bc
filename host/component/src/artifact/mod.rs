//! Artifacts of a component: files that it writes through streams.
//!
//! [`store`] decides where files are and what they may be called; [`stream`] writes one without blocking the
//! executor. The guest holds an [`Artifact`]: it is listed in the result once finished, and removed when it
//! is dropped before that.

mod store;
mod stream;

pub(super) use store::{ArtifactStore, CreateError, Need};
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub use stream::Artifact;
