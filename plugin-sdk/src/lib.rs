//! Write a runtime kind for executor-runtime, once, and ship it as a sandboxed WebAssembly component or as a
//! native library.
//!
//! A kind is a type that implements [`Runner`], exported by one line:
//!
//! ```
//! use executor_runtime_sdk::{Context, Invocation, Outcome, RunError, Runner};
//!
//! struct Greet;
//!
//! impl Runner for Greet {
//!     fn run(&self, invocation: &Invocation, ctx: &mut Context) -> Result<Outcome, RunError> {
//!         let name = invocation.required("greet.name")?;
//!         Ok(Outcome::succeeded().receipt("greet.text", format!("Hello, {name}!")))
//!     }
//! }
//!
//! # #[cfg(any())]
//! executor_runtime_sdk::export_runner!(Greet);
//! # let outcome = executor_runtime_sdk::TestHost::new()
//! #     .run(&Greet, &Invocation::new("greet").with("greet.name", "Ada"))
//! #     .unwrap();
//! # assert_eq!(outcome.get_receipt("greet.text"), Some("Hello, Ada!"));
//! ```
//!
//! `plugin.json` beside `Cargo.toml` says what it is and which metadata keys it reads:
//!
//! ```json
//! {
//!   "name": "greet",
//!   "version": "0.1.0",
//!   "kinds": ["greet"],
//!   "interface": "1.1",
//!   "summary": "Greets a person",
//!   "metadata": {
//!     "greet.name": {"type": "string", "required": true, "help": "Who is greeted"}
//!   }
//! }
//! ```
//!
//! `cargo build --target wasm32-wasip2` makes the component, `cargo build` the native library.
//!
//! A core module for `wasm32-unknown-unknown` that is wrapped (`wasm-tools component new`) is a component too.
//! There std has no clock, no stdout and no randomness: take the time from [`Context::now`] and
//! [`Context::system_time`], and write with [`Context::log`], which is the better way everywhere. The message of a
//! panic still reaches the host. Hash maps have the same seeds in each run, so that an attacker who chooses their
//! keys can make them slow, which the deadline bounds.
//!
//! What a run may do is in [`Context`]; how it ends, in [`Outcome`] and [`RunError`]. A run blocks where it
//! waits; everything that waits ends at once when the host asks the run to stop:
//!
//! ```
//! use executor_runtime_sdk::{Context, Invocation, Outcome, RunError, TestHost};
//! use std::time::Duration;
//!
//! fn run(_: &Invocation, ctx: &mut Context) -> Result<Outcome, RunError> {
//!     if ctx.sleep(Duration::from_secs(3600)).is_stopped() {
//!         return Err(ctx.stopped("the long sleep"));
//!     }
//!     Ok(Outcome::succeeded())
//! }
//!
//! let host = TestHost::new();
//! host.stop_after(Duration::from_millis(10));
//! let error = host.run(&run, &Invocation::new("sleep")).unwrap_err();
//! assert_eq!(error.summary(), "cancelled in the long sleep");
//! ```

#![deny(missing_docs)]

#[cfg(target_family = "wasm")]
#[path = "component/mod.rs"]
mod carrier;
#[cfg(not(target_family = "wasm"))]
#[path = "native/mod.rs"]
mod carrier;

mod artifact;
mod context;
mod descriptor;
mod export;
pub mod http;
mod invocation;
mod outcome;
mod runner;
mod time;

pub use ::http as http_types;
pub use artifact::{ArtifactError, ArtifactWriter, Copied};
#[cfg(not(target_family = "wasm"))]
pub use carrier::{HostDeath, TestHost};
pub use context::{Context, Input, Level, Slept};
pub use executor_runtime_protocol as protocol;
#[cfg(not(target_family = "wasm"))]
pub use executor_runtime_protocol::native::DelegatedRun;
pub use http::{Body, BodyReader, Client, HttpError, Retry};
pub use invocation::Invocation;
pub use outcome::{FailureStatus, Outcome, RunError};
pub use runner::Runner;
pub use time::Instant;

/// What the export macro expands to; no part of the interface.
#[doc(hidden)]
pub mod __private {
    #[cfg(not(target_family = "wasm"))]
    pub use crate::carrier::export::*;
    #[cfg(target_family = "wasm")]
    pub use crate::carrier::{bindings, bindings::executor_runtime::plugin::runner_types, run};
    pub use crate::descriptor::{check as check_descriptor, embed, test as test_descriptor};
}
