//! What the official kinds share: a request made of an invocation's metadata, and what an answer leaves in
//! the receipt or in an error.
//!
//! It exports no runner, so that each plugin that depends on it has only its own.

#![deny(missing_docs)]

mod artifact;
mod body;
mod ending;
mod receipt;
mod request;
mod response;

pub use artifact::keep_artifact;
pub use ending::{ReadFailure, http_error, interrupted, read_failure};
pub use receipt::answer_receipt;
pub use request::{add_headers, kickoff_request, method, url};
pub use response::{beginning, preview};
