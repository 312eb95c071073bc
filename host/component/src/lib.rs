//! Runs plugins that are WebAssembly components.
//!
//! A component is compiled once ([`CodeCache`]), linked once ([`Engine`]), and instantiated anew for each run
//! ([`Component`]). It is given HTTP to the hosts that its invocation names, clocks, random numbers and the
//! functions of the `host` interface, and nothing else. Whatever it does, its run ends: within its deadline
//! and grace, within its [`Limits`](executor_runtime_plugin::Limits), and without an effect on any other run.

mod allocator;
mod artifact;
mod bindings;
mod cache;
mod convert;
mod egress;
mod engine;
mod guest_failure;
mod host_functions;
mod limits;
mod load_once;
mod loader;
mod notes;
mod output;
mod runner;
mod stack;
mod state;
mod ticker;
mod turn;

pub use allocator::Allocator;
pub use cache::CodeCache;
pub use engine::{Engine, EngineError, Mode};
pub use loader::Components;
pub use runner::{Admitted, Component};
