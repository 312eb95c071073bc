//! Forgetting runs by age and number while a host serves. What they have left on the disk is the caller's, and stays.

use crate::{prune::Prune, runs::Runs};
use executor_runtime::config::Config;
use std::time::Duration;

/// How often it is looked whether there are some to forget.
const PERIOD: Duration = Duration::from_secs(60);

/// Which of the runs that have ended stay in the journal.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Those that ended less long ago than this,
    pub keep: Duration,
    /// and of these, the newest: so many.
    pub max_runs: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            keep: Duration::from_secs(7 * 24 * 60 * 60),
            max_runs: 100_000,
        }
    }
}

impl Retention {
    /// What the operator has configured.
    pub fn of(config: &Config) -> Self {
        let (journal, default) = (config.journal(), Self::default());
        Self {
            keep: journal.keep.map_or(default.keep, Into::into),
            max_runs: journal.max_runs.map_or(default.max_runs, Into::into),
        }
    }
}

impl Runs {
    /// Forgets runs when they are due, for as long as it is polled.
    pub async fn retain(&self, retention: Retention) {
        loop {
            let due = Prune {
                older_than: Some(retention.keep),
                keep: Some(retention.max_runs),
                captures: false,
            };
            // It is tried again.
            if let Err(error) = self.prune(due).await {
                tracing::warn!("old runs can't be forgotten: {error}");
            }
            tokio::time::sleep(PERIOD).await;
        }
    }
}
