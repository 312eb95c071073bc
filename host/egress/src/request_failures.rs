//! What went wrong with a run's requests, in words.
//!
//! Who asked is told by a code, mostly without a text. This keeps what the code leaves out, so that the result of a run
//! that fails can name the host that was denied, or the check that a certificate failed.

use executor_runtime_authority::Authority;
use std::{
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// A request that was not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// Neither the invocation nor the operator opened this authority.
    NoGrant(Authority),
    /// The name leads to an address that has to be named literally.
    Guarded(Authority, IpAddr),
}

/// What happened to the requests of one run.
#[derive(Debug, Default)]
pub struct RequestFailures {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    denial: Option<Denial>,
    cause: Option<Cause>,
}

/// Why a request failed, in words.
#[derive(Clone, Debug)]
pub struct Cause {
    authority: Authority,
    words: String,
}

impl Cause {
    pub(super) fn new(authority: Authority, words: String) -> Self {
        Self { authority, words }
    }

    /// What of it a plugin's own sentence does not say already.
    pub fn beyond(&self, summary: &str) -> Option<String> {
        if summary.contains(&self.words) {
            None
        } else if summary.contains(&self.authority.pattern()) {
            Some(self.words.clone())
        } else {
            Some(format!("{}: {}", self.authority, self.words))
        }
    }
}

impl RequestFailures {
    /// Remembers the first denial.
    pub(super) fn deny(&self, denial: Denial) {
        self.state().denial.get_or_insert(denial);
    }

    /// Remembers why the last request failed; None if it went well.
    pub(super) fn set_cause(&self, cause: Option<Cause>) {
        self.state().cause = cause;
    }

    /// The first request that was denied, if any was.
    pub fn denial(&self) -> Option<Denial> {
        self.state().denial.clone()
    }

    /// Why the last request failed, where the plugin was told less.
    pub fn cause(&self) -> Option<Cause> {
        self.state().cause.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Denial {
    /// A sentence that names the host and says what to do.
    pub fn describe(&self, plugin: &str) -> String {
        match self {
            Self::NoGrant(authority) => format!(
                "plugin '{plugin}' may not reach '{authority}': no URL of this invocation names it; \
                 to allow it, add \"{}\" to allow_hosts of [plugins.{plugin}] in executor-runtime.toml",
                authority.pattern()
            ),
            Self::Guarded(authority, ip) => format!(
                "plugin '{plugin}' may not reach '{authority}': the name resolves to {ip}, a link-local or \
                 metadata address, which must be named literally in a URL or in allow_hosts"
            ),
        }
    }
}
