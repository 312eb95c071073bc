//! `wasi:http` for components, by the host's own way to the network ([`executor_runtime_egress`]).
//!
//! The [handler] is what a guest calls to make a request; [`EgressHooks`] hand it over to the run's egress, which asks its
//! grant; an `Exchange` is the answer to come. A guest follows a redirect by another request, so every hop is asked for.

mod error_code;
mod exchange;
pub(super) mod handler;
mod hooks;
mod request;
mod traced;

pub(super) use hooks::EgressHooks;
pub(super) use request::OutgoingBody;
