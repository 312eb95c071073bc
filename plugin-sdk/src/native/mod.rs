//! The carrier of native plugins, and of tests.

mod clock;
#[allow(unreachable_pub, reason = "the export macro reaches it")]
pub mod export;
mod host;
mod http;
mod http_error;
mod linked;
mod secure;
mod socket;
mod test_host;

pub(crate) use clock::{monotonic_time, system_time};
pub(crate) use host::{ArtifactSink, Host, InputStream};
pub(crate) use http::{BodyStream, Transport};
pub use test_host::{HostDeath, TestHost};
