//! Names of hosts on the network: plain data, for those who write them down and those who keep to them.
//!
//! An [`Authority`] is what a URL leads to, a [`HostPattern`] what an operator allows. Link-local and metadata addresses
//! are [guarded](is_guarded): only their literal opens them.

mod address;
mod authority;

pub use address::is_guarded;
pub use authority::{Authority, AuthorityError, HostPattern};
