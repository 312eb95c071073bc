//! What the official kinds share: a request made of an invocation's metadata, what is read of an answer, and what it leaves
//! in the receipt or in an error.
//!
//! It exports no runner, so that each plugin that depends on it has only its own.

#![deny(missing_docs)]

mod answer;
mod artifact;
mod body;
mod call;
mod ending;
mod keys;
mod origin;
mod path;
mod receipt;
mod request;
mod response;
mod template;

pub use answer::{Answer, ExchangeError, answer, exchange, text_at, unexpected_code, unusable, words_at};
pub use artifact::keep_artifact;
pub use call::{Call, call_receipt};
pub use ending::{
    ReadFailure, http_error, interrupted, may_have_arrived, may_have_started, may_pass, read_failure, refused,
};
pub use keys::{
    KICKOFF_CODES, MIN_INTERVAL, codes, count, expected_kickoff, invalid, kickoff_codes, path, sendable,
    states,
};
pub use origin::same_origin_location;
pub use path::{Found, Paths};
pub use receipt::answer_receipt;
pub use request::{add_headers, kickoff_request, method, method_or, url};
pub use response::{beginning, preview};
pub use template::{Template, Values};
