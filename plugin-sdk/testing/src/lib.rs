//! Test a plugin as its users will run it: the built file, under the real host.
//!
//! ```no_run
//! use executor_runtime_testing::{Answer, Loopback, PluginHost, build};
//!
//! // In tests/plugin.rs of the plugin's crate.
//! let component = build::component(env!("CARGO_MANIFEST_DIR"));
//! let host = PluginHost::new(&component);
//! let server = Loopback::answering([Answer::json(r#"{"status": "done"}"#)]);
//!
//! let result = host.run(host.invocation().metadata("http.url", server.url("/runs")));
//! assert_eq!(result.status.as_str(), "succeeded");
//! assert_eq!(server.requests()[0].method, "POST");
//!
//! // Every promise that a plugin makes by being one.
//! executor_runtime_testing::assert_conforms(&component);
//! ```
//!
//! A run can be cancelled, as an orchestrator would:
//!
//! ```no_run
//! # let host = executor_runtime_testing::PluginHost::new("plugin.so");
//! let run = host.start(host.invocation());
//! run.cancel();
//! assert_eq!(run.finish().status.as_str(), "cancelled");
//! ```
//!
//! The host is not linked but run: its executable, `executor-runtime`, has to be built or installed. [`PluginHost`] says
//! where it is looked for. So the test of a plugin compiles no engine, and this crate is Apache-2.0 as the SDK is.
//!
//! For quick unit tests of a runner, without a host, use the SDK's own `TestHost`.

#![deny(missing_docs)]

pub mod build;
mod command;
mod conformance;
mod directory;
mod executable;
mod host;
mod loopback;
mod process;

pub use conformance::{Check, Report, Verdict, assert_conforms, check};
pub use executable::EXECUTABLE_VARIABLE;
pub use executor_runtime_protocol::{RuntimeInvocation, RuntimeKind, RuntimeResult, Status};
pub use host::{Invocation, PluginHost, Run};
pub use loopback::{Answer, Loopback, Received};
