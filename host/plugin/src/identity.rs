//! Who ran an invocation, as its receipt tells.

use crate::{Carrier, session::RunLog};
use executor_runtime_run::receipt::{self, Receipt};

/// Which plugin it is; in every receipt and every message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The descriptor's name.
    pub name: String,
    /// The descriptor's version.
    pub version: String,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
}

impl Identity {
    /// Puts in a run's receipt what the host knows about the plugin and the run.
    pub fn sign(&self, carrier: Carrier, log: &RunLog, receipt: &mut Receipt) {
        let mut put = |key: &str, value: String| {
            receipt.insert(key.to_owned(), value);
        };
        put(receipt::PLUGIN_NAME, self.name.clone());
        put(receipt::PLUGIN_VERSION, self.version.clone());
        put(receipt::PLUGIN_SHA256, self.sha256.clone());
        put(receipt::PLUGIN_CARRIER, carrier.as_str().to_owned());
        if let Some(progress) = log.last_progress() {
            put(receipt::PLUGIN_PROGRESS, progress);
        }
        if log.dropped() > 0 {
            put(receipt::PLUGIN_LOG_DROPPED, log.dropped().to_string());
        }
    }
}
