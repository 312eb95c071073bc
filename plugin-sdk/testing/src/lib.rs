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
//! For quick unit tests of a runner, without a host, use the SDK's own `TestHost`.

#![deny(missing_docs)]

pub mod build;
mod conformance;
mod host;
mod loopback;
mod template;

pub use conformance::{assert_conforms, check};
pub use executor_runtime::{
    CancelToken,
    protocol::{RuntimeResult, Status},
};
pub use executor_runtime_conformance::{Check, CheckName, Report, Verdict};
pub use host::{Invocation, PluginHost};
pub use loopback::{Answer, Loopback, Received};
