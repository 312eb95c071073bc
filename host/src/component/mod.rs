//! Runs plugins that are WebAssembly components.
//!
//! A component is compiled once ([`CodeCache`]), linked once ([`Engine`]), and instantiated anew for each run
//! ([`Component`]). It is given HTTP to the hosts that its invocation names, clocks, random numbers and the
//! functions of the `host` interface, and nothing else. Whatever it does, its run ends: within its deadline
//! and grace, within its [`Limits`], and without an effect on any other run.

mod artifact;
pub(crate) mod bindings;
mod cache;
pub(crate) mod convert;
pub(crate) mod digest;
mod egress;
mod engine;
mod guest_failure;
mod host_functions;
pub(crate) mod journal;
mod limits;
pub(crate) mod output;
mod runner;
mod state;
pub(crate) mod stop;
mod ticker;

pub use cache::CodeCache;
pub use egress::{Authority, AuthorityError, Grant, HostPattern};
pub use engine::{Engine, EngineError, Mode};
pub use limits::Limits;
pub use runner::{Admitted, Component, Settings};
