//! The table of runs: finding, waiting, cancelling. How a run gets into it is in `submit`, and what it goes through then in
//! `execute`.

mod attempts;
mod execute;
mod resume;
mod submit;

pub(crate) use execute::{Beginning, Recorded};

pub use attempts::Attempts;
pub use submit::{Completed, SubmitError, SubmitOptions, Submitted};

use crate::{
    admission::Service,
    document::Room,
    journal::{Filter, Journal, JournalError, Page},
    summary::RunSummary,
    table::{Entry, Table},
};
use executor_runtime::{
    CancelReason, CancelToken,
    protocol::{RuntimeKind, RuntimeResult, Status},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, time::Instant};

/// How long a caller that cancels a run waits for the journal to know.
const MAX_WAIT_FOR_JOURNAL: Duration = Duration::from_secs(2);

/// What counts for all runs.
#[derive(Clone, Copy, Debug)]
pub struct RunsOptions {
    /// How many runs may wait for their turn.
    pub max_queued: usize,
    /// How often a run is tried again.
    pub attempts: Attempts,
}

/// What waiting for a run came to.
#[derive(Clone, Debug)]
pub enum Waited {
    /// It has ended.
    Ended(Arc<RuntimeResult>),
    /// It has not, in the time there was.
    Unfinished(Box<RunSummary>),
}

/// How many runs there are.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// That wait for their turn.
    pub queued: usize,
    /// That may wait.
    pub max_queued: usize,
    /// Under way.
    pub running: usize,
    /// That may be under way.
    pub max_running: usize,
    /// Under way, of each kind.
    pub running_by_kind: BTreeMap<RuntimeKind, usize>,
    /// That have ended since this host began, by how.
    pub ended: BTreeMap<&'static str, u64>,
}

/// The runs of a host, those that have ended included. Clones are the same.
#[derive(Clone)]
pub struct Runs(Arc<Inner>);

struct Inner {
    service: Service,
    journal: Journal,
    options: RunsOptions,
    table: Table,
    /// For the documents of runs that wait.
    room: Room,
    tally: Mutex<Tally>,
    /// How many runs are queued or under way, for those who wait until none is.
    under_way: watch::Sender<usize>,
    closing: CancelToken,
    /// Raised when what is under way is to stop.
    stopping: CancelToken,
}

#[derive(Default)]
struct Tally {
    queued: usize,
    running_by_kind: BTreeMap<RuntimeKind, usize>,
    ended: BTreeMap<&'static str, u64>,
}

impl Runs {
    /// The runs that `journal` knows, and those that are going to be. What a dead host has left of them goes on: runs that
    /// had not begun begin, runs with a checkpoint go on from it (to stop at once, if they were to stop), those that have left
    /// their result have ended so, and others have failed as `host_lost`.
    ///
    /// # Errors
    /// When the journal can't be read.
    pub async fn open(
        service: Service,
        journal: Journal,
        options: RunsOptions,
    ) -> Result<Self, JournalError> {
        let runs = Self(Arc::new(Inner {
            service,
            journal,
            options,
            table: Table::default(),
            room: Room::default(),
            tally: Mutex::default(),
            under_way: watch::Sender::new(0),
            closing: CancelToken::new(),
            stopping: CancelToken::new(),
        }));
        runs.recover().await?;
        Ok(runs)
    }

    /// What runs are started in.
    pub fn service(&self) -> &Service {
        &self.0.service
    }

    pub(crate) fn journal(&self) -> &Journal {
        &self.0.journal
    }

    pub(crate) fn table(&self) -> &Table {
        &self.0.table
    }

    /// The run with this id, if it has not ended.
    pub(crate) async fn accepted(&self, id: &str) -> Option<Arc<Entry>> {
        let entry = self.0.table.get(id)?;
        entry.is_accepted().await.then_some(entry)
    }

    /// The run with this id, if there is one.
    ///
    /// # Errors
    /// When the journal can't be read.
    pub async fn get(&self, id: &str) -> Result<Option<RunSummary>, JournalError> {
        if let Some(entry) = self.accepted(id).await {
            return Ok(Some(entry.summary()));
        }
        let recorded = self.journal().find(id).await?;
        Ok(recorded.map(|recorded| recorded.summary))
    }

    /// Some of the runs, the newest first.
    ///
    /// # Errors
    /// When the journal can't be read.
    pub async fn list(&self, filter: Filter) -> Result<Page, JournalError> {
        let mut page = self.journal().list(filter).await?;
        for run in &mut page.runs {
            if let Some(entry) = self.0.table.get(&run.invocation_id) {
                run.cancel_requested = entry.summary().cancel_requested;
            }
        }
        Ok(page)
    }

    /// The result of a run, once it has ended, if that is before `until`; none if there is no such run.
    ///
    /// # Errors
    /// When the journal can't be read.
    pub async fn wait(&self, id: &str, until: Option<Instant>) -> Result<Option<Waited>, JournalError> {
        if let Some(entry) = self.accepted(id).await {
            let mut state = entry.watch();
            let ended = state.wait_for(|state| state.result.is_some());
            let result = match until {
                Some(until) => tokio::time::timeout_at(until, ended)
                    .await
                    .ok()
                    .and_then(Result::ok)
                    .and_then(|state| state.result.clone()),
                None => ended.await.ok().and_then(|state| state.result.clone()),
            };
            return Ok(Some(match result {
                Some(result) => Waited::Ended(result),
                None => Waited::Unfinished(Box::new(entry.summary())),
            }));
        }
        let recorded = self.journal().find(id).await?;
        Ok(recorded.map(|recorded| match recorded.result {
            Some(result) => Waited::Ended(Arc::new(result)),
            None => Waited::Unfinished(Box::new(recorded.summary)),
        }))
    }

    /// Tells a run to stop; none if there is no such run. One that has ended stays as it is.
    ///
    /// # Errors
    /// When the journal can't be read.
    pub async fn cancel(&self, id: &str, reason: CancelReason) -> Result<Option<RunSummary>, JournalError> {
        if let Some(entry) = self.accepted(id).await {
            entry.cancel.raise(reason);
            // If the host dies now, the next one is to know.
            let written = self.journal().writer().cancel_run(entry.number());
            let _ = tokio::time::timeout(MAX_WAIT_FOR_JOURNAL, written.wait()).await;
            return Ok(Some(entry.summary()));
        }
        self.get(id).await
    }

    /// How many runs there are.
    pub fn counts(&self) -> Counts {
        let tally = self.tally();
        Counts {
            queued: tally.queued,
            max_queued: self.0.options.max_queued,
            running: tally.running_by_kind.values().sum(),
            max_running: self.0.service.limits().max_running.get(),
            running_by_kind: tally.running_by_kind.clone(),
            ended: tally.ended.clone(),
        }
    }

    /// Why no run is accepted at the moment, if the journal can't be written.
    pub fn trouble(&self) -> Option<String> {
        self.journal()
            .writer()
            .trouble()
            .map(|trouble| trouble.to_string())
    }

    /// Whether the journal was found to be damaged: it accepts no run any more.
    pub fn is_damaged(&self) -> bool {
        self.journal().writer().is_damaged()
    }

    /// Whether runs are tried again here.
    pub(crate) fn retries(&self) -> bool {
        self.0.options.attempts.retries > 0
    }

    /// Accepts no more runs and begins none. Those that wait for their turn stay in the journal, for the next host.
    pub fn close(&self) {
        self.0.closing.cancel();
    }

    fn is_closing(&self) -> bool {
        self.0.closing.reason().is_some()
    }

    /// Tells all runs that are under way to stop.
    pub fn cancel_running(&self, reason: CancelReason) {
        // Also those that are about to begin.
        self.0.stopping.raise(reason);
        for entry in self.0.table.all() {
            if entry.summary().status == Status::Running {
                entry.cancel.raise(reason);
            }
        }
    }

    /// Tells all runs to stop, also those that wait for their turn. One that is accepted later is told when it begins.
    pub fn cancel_all(&self, reason: CancelReason) {
        self.0.stopping.raise(reason);
        for entry in self.0.table.all() {
            entry.cancel.raise(reason);
        }
    }

    /// Waits until no run is queued or under way.
    pub async fn idle(&self) {
        let mut count = self.0.under_way.subscribe();
        // The sender lives in `self`.
        let _ = count.wait_for(|count| *count == 0).await;
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.0.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Runs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runs")
            .field("journal", &self.0.journal)
            .finish_non_exhaustive()
    }
}
