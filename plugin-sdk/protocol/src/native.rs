//! The ABI of native plugins: what crosses between the host and a shared library.
//!
//! A plugin exports one `abi_stable` root module, [`PluginRef`], whose `invoke` takes an invocation as JSON
//! bytes and the host's functions, [`HostRef`], and returns a [`Reply`] as JSON bytes. Only bytes, text,
//! numbers and descriptors cross, and no panic does: both sides catch theirs.
//!
//! This is interface 1.1, which is 1.0 with [`Host::last_will`] added. Both are frozen: a host of any 1.x loads what was
//! built with them. Both modules are prefix types, so a later minor version may add fields after those that are here,
//! without moving `last_prefix_field`; what is here does not change. Nor does what `abi_stable` compares beside the layout: the names, the name of this package, and
//! the major versions of this package and of `abi_stable`.
//!
//! Every invocation has a process of its own, so neither side passes a handle for "this run": the host's
//! functions speak about the one run of the process they are called in.
//!
//! The functions may be called from any thread. Authors use the SDK and never see this module.

use crate::{ArtifactDescriptor, Timestamp};
use abi_stable::{
    StableAbi,
    abi_stability::abi_checking::check_layout_compatibility,
    library::RootModule,
    package_version_strings,
    sabi_types::VersionStrings,
    std_types::{ROption, RResult, RSlice, RStr, RString, RVec},
    type_layout::TypeLayout,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub use abi_stable;

/// Whether this version of the ABI has all that a plugin was built with, whose root module has this layout.
///
/// `abi_stable`'s own check is made for libraries that are newer than what loads them: it refuses one that knows fewer
/// functions of the host. So this asks the other way round.
pub fn offers(built_with: &'static TypeLayout) -> bool {
    check_layout_compatibility(built_with, PluginRef::LAYOUT).is_ok()
}

/// Whether a plugin whose root module has this layout was built with a later version of the ABI, which has all of this one.
pub fn is_later(built_with: &'static TypeLayout) -> bool {
    check_layout_compatibility(PluginRef::LAYOUT, built_with).is_ok()
}

/// What a native plugin exports.
#[repr(C)]
#[derive(Clone, Copy, StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginRef, prefix_fields = PluginPrefix)))]
#[sabi(missing_field(panic))]
pub struct Plugin {
    /// Runs one invocation (a RuntimeInvocation as JSON) to its end; returns a [`Reply`] as JSON.
    #[sabi(last_prefix_field)]
    pub invoke: extern "C" fn(invocation: RSlice<'_, u8>, host: HostRef) -> RVec<u8>,
}

impl RootModule for PluginRef {
    abi_stable::declare_root_module_statics! {PluginRef}
    const BASE_NAME: &'static str = "executor_runtime_plugin";
    const NAME: &'static str = "executor_runtime_plugin";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}

/// What the host offers a run. Times are nanoseconds.
#[repr(C)]
#[derive(Clone, Copy, StableAbi)]
#[sabi(kind(Prefix(prefix_ref = HostRef, prefix_fields = HostPrefix)))]
#[sabi(missing_field(panic))]
pub struct Host {
    /// Writes a log line; the level is 0 (trace) to 4 (error).
    pub log: extern "C" fn(level: u8, message: RStr<'_>),
    /// Tells how far the run is; NaN where no fraction is known.
    pub progress: extern "C" fn(fraction: f64, message: RStr<'_>),
    /// Whether the host has asked the run to stop.
    pub stop_requested: extern "C" fn() -> bool,
    /// Waits for the request to stop, at most so long; whether it came.
    pub wait_stop: extern "C" fn(nanoseconds: u64) -> bool,
    /// A descriptor that `poll` finds ready once the run is asked to stop. Not to be read or closed.
    pub stop_descriptor: extern "C" fn() -> i32,
    /// Time until the deadline; [`NO_DEADLINE`] without one.
    pub remaining: extern "C" fn() -> u64,
    /// Time between the request to stop and the forced end of the run.
    pub grace: extern "C" fn() -> u64,
    /// A value of the plugin's `config` map.
    pub config: extern "C" fn(key: RStr<'_>) -> ROption<RString>,
    /// A new descriptor of the input payload, at its start, which the caller closes; -1 if there is none.
    pub open_input: extern "C" fn() -> RResult<i32, RString>,
    /// Creates an artifact and returns its handle.
    pub create_artifact:
        extern "C" fn(name: RStr<'_>, kind: RStr<'_>, description: RStr<'_>) -> RResult<u64, CreateFailure>,
    /// Writes all bytes, or as many as the limit for an artifact allows: 0 at the limit.
    pub write_artifact: extern "C" fn(artifact: u64, bytes: RSlice<'_, u8>) -> RResult<u64, RString>,
    /// Keeps an artifact; returns its length.
    pub finish_artifact: extern "C" fn(artifact: u64) -> RResult<u64, RString>,
    /// Removes an artifact that is not finished.
    pub drop_artifact: extern "C" fn(artifact: u64),
    /// Keeps state for a later run of the same invocation.
    pub checkpoint: extern "C" fn(state: RSlice<'_, u8>) -> RResult<(), RString>,
    /// The last checkpoint of an earlier, interrupted run.
    pub resumed: extern "C" fn() -> ROption<RVec<u8>>,
    /// Goes on with an artifact that an earlier, interrupted run had begun and not finished: keeps its first `length`
    /// bytes, and returns its handle. Writing continues after them.
    #[sabi(last_prefix_field)]
    pub reopen_artifact: extern "C" fn(
        name: RStr<'_>,
        kind: RStr<'_>,
        description: RStr<'_>,
        length: u64,
    ) -> RResult<u64, CreateFailure>,
    /// Since 1.1. Leaves a command, the program first, that is run once this process has ended, by whatever cause. It takes
    /// the place of the one before; none at all withdraws it.
    pub last_will: extern "C" fn(command: RSlice<'_, RStr<'_>>) -> RResult<(), RString>,
}

/// [`Host::remaining`]: the run has no deadline.
pub const NO_DEADLINE: u64 = u64::MAX;

/// Why an artifact can't be created or reopened: which of the `CREATE_` reasons, and the limit or a sentence to it.
#[repr(C)]
#[derive(Clone, Debug, StableAbi)]
pub struct CreateFailure {
    /// One of the `CREATE_` constants.
    pub reason: u8,
    /// The limit that was reached.
    pub limit: u32,
    /// A sentence for a person.
    pub text: RString,
}

/// The name can't be used.
pub const CREATE_INVALID_NAME: u8 = 0;
/// The name was used before in this run.
pub const CREATE_DUPLICATE_NAME: u8 = 1;
/// The run has as many artifacts as it may.
pub const CREATE_TOO_MANY: u8 = 2;
/// The file can't be created.
pub const CREATE_UNWRITABLE: u8 = 3;
/// There is no such artifact to go on with.
pub const CREATE_NOT_RESUMABLE: u8 = 4;

/// What another system reports about a run that the plugin did not execute itself but handed on: files that are
/// not this run's own, and the times that were measured there.
///
/// With it the receipt may have keys that only the host writes otherwise (`usage.*`, `stdout_truncated`),
/// because they are about the run that was executed elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelegatedRun {
    /// When the run began.
    pub started_at: Timestamp,
    /// When it was over.
    pub finished_at: Timestamp,
    /// The file with its captured standard output.
    pub stdout_path: Option<String>,
    /// The file with its captured standard error.
    pub stderr_path: Option<String>,
    /// The files that it left. They are listed as reported, without checking that they exist.
    pub artifacts: Vec<ArtifactDescriptor>,
}

/// How a run ended. A field that a plugin was built without is absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// It succeeded.
    Outcome {
        /// The kind's exit code.
        exit_code: Option<i64>,
        /// Keys for the result's metadata.
        receipt: BTreeMap<String, String>,
        /// Who else executed it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        delegated_run: Option<Box<DelegatedRun>>,
    },
    /// It did not.
    Failure {
        /// Any status but `succeeded`.
        status: crate::Status,
        /// The code for `error.kind`.
        kind: String,
        /// A sentence for a person.
        summary: String,
        /// The kind's exit code.
        exit_code: Option<i64>,
        /// Keys for the result's metadata.
        receipt: BTreeMap<String, String>,
        /// Who else executed it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        delegated_run: Option<Box<DelegatedRun>>,
    },
    /// The plugin's code panicked.
    Panicked {
        /// What it said.
        message: String,
    },
}

#[cfg(test)]
mod tests;
