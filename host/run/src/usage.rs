//! What the processes of a run used, and what became of them.

use crate::receipt::{self, Receipt};
use std::time::Duration;

/// What all processes of a run used together, as a supervisor has counted it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessUsage {
    /// Peak resident memory of the largest one, in bytes.
    pub max_rss_bytes: u64,
    /// CPU time in user mode.
    pub user: Duration,
    /// CPU time in the kernel.
    pub system: Duration,
    /// How many outlived the main process and had to be ended.
    pub leaked: u32,
    /// How many could not be ended.
    pub unkillable: u32,
    /// Whether the main process dumped core.
    pub core_dumped: bool,
}

impl ProcessUsage {
    /// Adds it to a receipt.
    pub fn record(&self, receipt: &mut Receipt) {
        let mut put = |key: &str, value: String| receipt.insert(key.to_owned(), value);
        put(receipt::USAGE_MAX_RSS_BYTES, self.max_rss_bytes.to_string());
        put(receipt::USAGE_USER_SECONDS, receipt::seconds(self.user));
        put(receipt::USAGE_SYSTEM_SECONDS, receipt::seconds(self.system));
        if self.leaked > 0 {
            put(receipt::LEAKED_DESCENDANTS, self.leaked.to_string());
        }
        if self.unkillable > 0 {
            put(receipt::UNKILLABLE_DESCENDANTS, self.unkillable.to_string());
        }
        if self.core_dumped {
            put(receipt::CORE_DUMPED, "true".to_owned());
        }
    }
}
