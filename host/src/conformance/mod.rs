//! What a plugin has to do to behave well, as checks on a plugin file.
//!
//! `plugin check` and an author's own tests run the same list. Each check is a promise to operators; one that
//! fails says what was found and how to mend it. The plugin is run like in production, with values made up from
//! its descriptor: every URL leads to a server on the loopback interface that the suite starts, so that nothing
//! outside is touched.

mod sample;
mod suite;

pub use suite::{Suite, check};

/// One promise, and whether it is kept.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Check {
    /// Its name, such as `respects_stop`.
    pub name: &'static str,
    /// The promise, in a sentence.
    pub promise: &'static str,
    /// Whether it is kept.
    pub verdict: Verdict,
}

/// Whether a promise is kept.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Verdict {
    /// It is.
    Passed,
    /// It is not.
    Failed {
        /// What happened instead.
        found: String,
        /// How to mend it.
        mend: &'static str,
    },
    /// It could not be tried.
    Skipped {
        /// Why not.
        why: String,
    },
}

impl Check {
    /// Whether it failed.
    pub fn is_failed(&self) -> bool {
        matches!(self.verdict, Verdict::Failed { .. })
    }
}
