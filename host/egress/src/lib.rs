//! What a run may reach on the network: one rule, whatever carries the run.
//!
//! A [`Grant`] holds it, as [authorities](Authority) that an invocation names and [patterns](HostPattern) that an operator
//! allows. Link-local and metadata addresses are [guarded](is_guarded): only their literal opens them.

mod address;
mod authority;

pub use address::is_guarded;
pub use authority::{Authority, AuthorityError, Grant, HostPattern};
