//! The only way from a component to the network: the host's HTTP client, behind a grant.
//!
//! 1. [`Grant`](executor_runtime_egress::Grant) holds what one invocation may reach. It is asked for every request; a guest follows a redirect
//!    by another request, so every hop is asked for.
//! 2. The [handler] is what a guest calls to make a request, and [`EgressHooks`] decides about it. A request
//!    without a grant never leaves the process; the [`RequestFailures`] remembers it, so that the result of the run can
//!    name the host.
//! 3. [`EgressClient`] sends what is granted, over pooled connections that all runs share.
//! 4. The resolver looks at the addresses that a name has, after DNS and before the connection, and drops
//!    [guarded](executor_runtime_egress::is_guarded) ones: a name can't be a detour to a metadata service.

mod body;
mod client;
mod error;
mod exchange;
pub(super) mod handler;
mod hooks;
mod request;
mod request_failures;
mod resolver;

pub(super) use client::EgressClient;
pub(super) use hooks::EgressHooks;
pub(super) use request_failures::RequestFailures;
