//! Who ran an invocation, as its receipt tells.

use super::Carrier;
use crate::{
    component::journal::Journal,
    receipt::{self, Receipt},
};

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
    pub(crate) fn sign(&self, carrier: Carrier, journal: &Journal, receipt: &mut Receipt) {
        let mut put = |key: &str, value: String| {
            receipt.insert(key.to_owned(), value);
        };
        put(receipt::PLUGIN_NAME, self.name.clone());
        put(receipt::PLUGIN_VERSION, self.version.clone());
        put(receipt::PLUGIN_SHA256, self.sha256.clone());
        put(receipt::PLUGIN_CARRIER, carrier.as_str().to_owned());
        if let Some(progress) = journal.last_progress() {
            put(receipt::PLUGIN_PROGRESS, progress);
        }
        if journal.dropped() > 0 {
            put(receipt::PLUGIN_LOG_DROPPED, journal.dropped().to_string());
        }
    }
}
