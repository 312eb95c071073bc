//! The only way from a run to the network: the host's HTTP client, behind a grant. One rule, whatever carries the run.
//!
//! 1. A [`Grant`] holds what one run may reach, as authorities that its invocation names and patterns that an operator
//!    allows. It is asked for every request; who follows a redirect makes another request, so every hop is asked for.
//! 2. [`RunEgress`] decides about the requests of one run. One without a grant never leaves the process;
//!    the [`RequestFailures`] remember it, so that the result of the run can name the host.
//! 3. [`EgressClient`] sends what is granted, over pooled connections that all runs share.
//! 4. The resolver looks at the addresses that a name has, after DNS and before the connection, and drops
//!    [guarded](is_guarded) ones: a name can't be a detour to a metadata service.
//!
//! The names themselves are a crate of their own, below this one, because who only reads them (the configuration) has no
//! use for a client.

mod client;
mod error;
mod grant;
mod request_failures;
mod resolver;
mod response_body;
mod run;

pub use client::{Dispatched, EgressClient, RequestBody, Timeouts};
pub use error::{RequestBodyError, RequestError};
pub use executor_runtime_authority::{Authority, AuthorityError, HostPattern, is_guarded};
pub use grant::Grant;
pub use request_failures::{Cause, Denial, RequestFailures};
pub use response_body::ResponseBody;
pub use run::{AdmittedRequest, RunEgress};
