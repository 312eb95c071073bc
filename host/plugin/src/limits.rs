//! What one run of a plugin may use.

use executor_runtime_config::PluginLimits;
use std::time::Duration;

/// What one run may use, on any carrier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Memory, in bytes: all linear memories of a component together. Default 256 MiB.
    pub memory_bytes: u64,
    /// Size of one artifact, in bytes. Default 256 MiB.
    pub artifact_bytes: u64,
    /// Number of artifacts. Default 1000.
    pub artifacts: u32,
    /// Time between the request to stop and the forced end. Default 2 s.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 256 << 20,
            artifact_bytes: 256 << 20,
            artifacts: 1000,
            grace: Duration::from_secs(2),
        }
    }
}

impl Limits {
    /// What the operator allows; the defaults where the configuration says nothing.
    pub fn configured(limits: &PluginLimits) -> Self {
        let default = Self::default();
        Self {
            memory_bytes: limits.memory_bytes.map_or(default.memory_bytes, Into::into),
            artifact_bytes: limits.artifact_bytes.unwrap_or(default.artifact_bytes),
            artifacts: limits.artifacts.unwrap_or(default.artifacts),
            grace: limits.grace_seconds.map_or(default.grace, Into::into),
        }
    }
}
