//! HTTP in terms of the [`http`] crate, the same on both carriers.
//!
//! A component's requests go out through the host (WASI HTTP), which lets them reach the hosts that the
//! invocation names and those that the operator allows. A native plugin makes its own connections.
//! Redirects, bodies and errors are handled here, so they behave the same.

mod body;
mod client;
mod error;
mod redirect;
mod retry;
mod url;

pub use body::{Body, BodyReader};
pub use client::Client;
pub use error::HttpError;
pub use retry::{Retry, retry_after};
pub use url::with_query;

pub(crate) use body::Payload;
pub(crate) use client::WaitLimits;
