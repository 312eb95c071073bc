//! Forgetting runs that have ended.

use crate::{
    journal::{JournalError, RunNumber},
    runs::Runs,
};
use executor_runtime::{CancelToken, protocol::Timestamp};
use executor_runtime_run::{
    capture::{CaptureMark, ReadDeadline, Removal, remove_marked},
    exhaustion,
};
use std::time::Duration;

/// Runs that are forgotten in one transaction.
const AT_A_TIME: usize = 500;

/// Which runs to forget. Those that have not ended stay.
#[derive(Clone, Copy, Debug, Default)]
pub struct Prune {
    /// Those that ended so long ago.
    pub older_than: Option<Duration>,
    /// Those beyond this many of the newest.
    pub keep: Option<u64>,
    /// Whether what they have left on the disk goes too: their capture directories, as far as these are still the ones
    /// that the runs had. What was added to them or changed later stays.
    pub captures: bool,
}

/// What was forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Runs.
    pub runs: u64,
    /// Capture directories that were removed.
    pub captures: u64,
    /// Capture directories that are there, or something in their place, and were not removed, or not all of them.
    pub captures_kept: u64,
}

impl Runs {
    /// Forgets runs that have ended.
    ///
    /// # Errors
    /// When the journal can't be read or written; what was forgotten before stays so.
    pub async fn prune(&self, prune: Prune) -> Result<Pruned, JournalError> {
        let cutoff = prune.older_than.map(|age| {
            let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
            Timestamp::from_unix_micros(Timestamp::now().unix_micros().saturating_sub(age))
        });
        let mut pruned = Pruned::default();
        loop {
            let expired = self
                .journal()
                .expired(cutoff.clone(), prune.keep, AT_A_TIME)
                .await?;
            if expired.is_empty() {
                return Ok(pruned);
            }
            if prune.captures {
                let captures: Vec<_> = expired.iter().filter_map(|run| run.capture.clone()).collect();
                let removed = exhaustion::run_blocking(move || remove(&captures)).await;
                let (removed, kept) = removed.unwrap_or_default();
                pruned.captures += removed;
                pruned.captures_kept += kept;
            }
            let runs: Vec<_> = expired.iter().map(|run| run.run).collect();
            pruned.runs += runs.len() as u64;
            self.journal().writer().forget(runs).await?;
        }
    }
}

impl Runs {
    /// Forgets these runs, as far as they have ended.
    ///
    /// # Errors
    /// When the journal can't be written.
    pub async fn forget(&self, runs: &[RunNumber]) -> Result<(), JournalError> {
        let runs = runs.iter().map(|run| run.0).collect();
        self.journal().writer().forget(runs).await
    }
}

/// How many were removed, and how many are still there, or a part of them.
fn remove(captures: &[CaptureMark]) -> (u64, u64) {
    let time = ReadDeadline::new(None, &CancelToken::new());
    let (mut removed, mut kept) = (0, 0);
    for capture in captures {
        match remove_marked(capture, &time) {
            Ok(Removal::Removed) => removed += 1,
            Ok(Removal::Gone) => {}
            Ok(Removal::NotRemoved) => kept += 1,
            Ok(Removal::InPart) => {
                tracing::warn!(
                    "'{}' is left with what the host did not put there",
                    capture.path.display()
                );
                kept += 1;
            }
            Err(error) => {
                tracing::warn!("'{}' can't be removed: {error}", capture.path.display());
                kept += 1;
            }
        }
    }
    (removed, kept)
}
