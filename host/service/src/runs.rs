//! The table of runs: accepting, finding, waiting, cancelling.

use crate::{
    admission::{Service, Slot},
    event::EventKind,
    journal::{Accepted, CaptureMark, End, Filter, Journal, JournalError, NewRun, Page},
    summary::RunSummary,
    table::{Entry, Table},
};
use executor_runtime::{
    CancelReason, CancelToken, ErrorKind, Event, Events, Failure, Run,
    protocol::{RuntimeInvocation, RuntimeKind, RuntimeResult, Status},
    receipt, reject,
};
use executor_runtime_run::{
    capture::{Fingerprint, is_held, location, marker},
    exhaustion,
};
use serde_json::{Map, Value, json};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, time::Instant};

/// After which time a caller whom the queue had no place for may come again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long a run that goes on waits while what is left of its host still has its directory.
const MAX_WAIT_FOR_DIRECTORY: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How long who cancels a run waits for the journal to know.
const MAX_WAIT_FOR_JOURNAL: Duration = Duration::from_secs(2);

/// What counts for all runs.
#[derive(Clone, Copy, Debug)]
pub struct RunsOptions {
    /// How many runs may wait for their turn.
    pub max_queued: usize,
}

/// What counts for one run.
#[derive(Clone, Copy, Debug, Default)]
pub struct SubmitOptions {
    /// How long it may wait for its turn; it ends `timed_out` then. Its own time-out begins with its turn.
    pub queue_timeout: Option<Duration>,
}

/// A run that is in the journal.
#[derive(Clone, Debug)]
pub struct Submitted {
    /// The run.
    pub run: RunSummary,
    /// Whether it was not there before.
    pub is_new: bool,
}

/// Why a run was not accepted.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SubmitError {
    /// The id is another invocation's.
    #[error("another invocation has the id '{id}'; give this one an id of its own")]
    Conflict {
        /// The id.
        id: String,
    },
    /// As many runs wait as may.
    #[error("{max_queued} runs wait for their turn, which is as many as may; try again later")]
    QueueFull {
        /// How many may wait.
        max_queued: usize,
        /// When to try again.
        retry_after: Duration,
    },
    /// The host is about to end.
    #[error("this host is shutting down; send the invocation to the next one")]
    Closing,
    /// The journal can't be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
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
    /// had not begun begin, runs with a checkpoint go on from it, others have failed as `host_lost`.
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

    /// Accepts a run, which then begins when its turn comes. The same invocation again (but for its time-out and where its
    /// result goes) is the same run.
    ///
    /// # Errors
    /// When it is not accepted; nothing is kept of it then.
    pub async fn submit(
        &self,
        invocation: RuntimeInvocation,
        options: SubmitOptions,
    ) -> Result<Submitted, SubmitError> {
        let runs = self.clone();
        // A caller that goes away does not leave it half accepted.
        let accepting = tokio::spawn(async move { runs.accept(invocation, options).await });
        accepting.await.unwrap_or(Err(SubmitError::Closing))
    }

    async fn accept(
        &self,
        invocation: RuntimeInvocation,
        options: SubmitOptions,
    ) -> Result<Submitted, SubmitError> {
        let fingerprint = Fingerprint::of(&invocation);
        let id = invocation.invocation_id.clone();
        loop {
            let new = Entry::new(invocation.clone(), fingerprint);
            let (entry, is_new) = self.0.table.get_or_insert(new);
            if is_new {
                let accepted = self.enter(&entry, options).await;
                if accepted.is_err() || entry.number() < 0 {
                    self.0.table.remove(&id);
                    entry.refuse();
                }
                return accepted;
            }
            if entry.fingerprint != fingerprint {
                return Err(SubmitError::Conflict { id });
            }
            // It may be another caller's that is about to be refused: then this one tries.
            if entry.is_accepted().await {
                let run = entry.summary();
                return Ok(Submitted { run, is_new: false });
            }
        }
    }

    /// Enters a run in the journal, unless it is there.
    async fn enter(&self, entry: &Arc<Entry>, options: SubmitOptions) -> Result<Submitted, SubmitError> {
        let place = self.take_place();
        if place.is_err() {
            // A run that has ended needs none.
            return self
                .ended_before(entry)
                .await?
                .map_or_else(|| place.map(|()| unreachable!()), Ok);
        }
        let accepted = self.enter_in_place(entry, options).await;
        match &accepted {
            Ok(submitted) if submitted.is_new => {
                let (runs, entry) = (self.clone(), Arc::clone(entry));
                tokio::spawn(async move { runs.drive(&entry, options, false).await });
            }
            _ => self.leave_queue(),
        }
        accepted
    }

    async fn enter_in_place(
        &self,
        entry: &Arc<Entry>,
        options: SubmitOptions,
    ) -> Result<Submitted, SubmitError> {
        let invocation = &entry.invocation;
        let accepted = entry.write(self.journal(), EventKind::Accepted, Map::new(), |event| event);
        let Some(accepted) = accepted else {
            return Err(SubmitError::Closing);
        };
        let at = accepted.time.clone();
        let run = NewRun {
            queue_until: options.queue_timeout.map(|timeout| {
                let timeout = i64::try_from(timeout.as_micros()).unwrap_or(i64::MAX);
                at.unix_micros().saturating_add(timeout)
            }),
            id: invocation.invocation_id.clone(),
            name: invocation.runtime_name.clone(),
            kind: invocation.runtime_kind.to_string(),
            fingerprint: entry.fingerprint.as_bytes().to_vec(),
            invocation: serde_json::to_string(invocation).unwrap_or_default(),
            accepted,
        };
        match self.journal().writer().accept(run).await? {
            Accepted::New(number) => {
                entry.accept(number, at);
                Ok(Submitted {
                    run: entry.summary(),
                    is_new: true,
                })
            }
            Accepted::Same | Accepted::Conflict => {
                let there = self.ended_before(entry).await?;
                // It can have been forgotten in between.
                there.ok_or(SubmitError::Closing)
            }
        }
    }

    /// The same run, if the journal has it; an error if that has another of this id.
    async fn ended_before(&self, entry: &Entry) -> Result<Option<Submitted>, SubmitError> {
        let id = entry.id();
        let Some(recorded) = self.journal().find(id).await? else {
            return Ok(None);
        };
        if recorded.fingerprint != entry.fingerprint.as_bytes() {
            return Err(SubmitError::Conflict { id: id.to_owned() });
        }
        Ok(Some(Submitted {
            run: recorded.summary,
            is_new: false,
        }))
    }

    fn take_place(&self) -> Result<(), SubmitError> {
        if self.is_closing() {
            return Err(SubmitError::Closing);
        }
        let max_queued = self.0.options.max_queued;
        let mut tally = self.tally();
        // Those for which there is room do not wait.
        let free = self.0.service.limits().max_running.get();
        let running: usize = tally.running_by_kind.values().sum();
        if tally.queued >= max_queued.saturating_add(free.saturating_sub(running)) {
            return Err(SubmitError::QueueFull {
                max_queued,
                retry_after: RETRY_AFTER,
            });
        }
        tally.queued += 1;
        drop(tally);
        self.0.under_way.send_modify(|count| *count += 1);
        Ok(())
    }

    /// A run that was queued is no more, and has not begun.
    fn leave_queue(&self) {
        self.tally().queued -= 1;
        self.0.under_way.send_modify(|count| *count -= 1);
    }

    /// Takes a run that a dead host has left into the queue, where there is always room for it.
    pub(crate) fn readmit(&self, entry: &Arc<Entry>, options: SubmitOptions, is_resumed: bool) {
        self.tally().queued += 1;
        self.0.under_way.send_modify(|count| *count += 1);
        let (runs, entry) = (self.clone(), Arc::clone(entry));
        tokio::spawn(async move { runs.drive(&entry, options, is_resumed).await });
    }

    /// Does something with a run that is neither queued nor under way. [`Runs::idle`] waits for it.
    pub(crate) fn settle(&self, settling: impl Future<Output = ()> + Send + 'static) {
        self.0.under_way.send_modify(|count| *count += 1);
        let runs = self.clone();
        tokio::spawn(async move {
            settling.await;
            runs.0.under_way.send_modify(|count| *count -= 1);
        });
    }

    /// Waits for its turn, runs it, and notes how it ended.
    async fn drive(&self, entry: &Arc<Entry>, options: SubmitOptions, is_resumed: bool) {
        let result = match self.turn(entry, options).await {
            Turn::Come(slot) if !self.is_closing() => self.execute(entry, slot, is_resumed).await,
            Turn::Come(_) | Turn::Closing => {
                // It stays in the journal, for the next host.
                self.0.table.remove(entry.id());
                return self.leave_queue();
            }
            Turn::Ended(failure) => {
                self.tally().queued -= 1;
                let invocation = entry.invocation.clone();
                exhaustion::run_blocking(move || reject(&invocation, failure))
                    .await
                    .ok()
            }
        };
        let result = match result {
            Some(result) if self.end(entry, &result).await => Some(result),
            // This process ends, and the next host finds out.
            _ => None,
        };
        self.leave(entry, result);
    }

    async fn turn(&self, entry: &Entry, options: SubmitOptions) -> Turn {
        let patience = async {
            match options.queue_timeout {
                Some(Duration::ZERO) => {}
                Some(timeout) => tokio::time::sleep(timeout).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = entry.cancel.raised(CancelReason::Requested) => Turn::Ended(Failure::new(
                ErrorKind::Cancelled,
                "cancelled before its turn came",
            )),
            () = self.0.closing.raised(CancelReason::Requested) => Turn::Closing,
            () = patience => Turn::Ended(Failure::new(
                ErrorKind::Timeout,
                "timed out before its turn came",
            )),
            slot = self.0.service.slot(Some(&entry.invocation.runtime_kind)) => Turn::Come(slot),
        }
    }

    /// None if the journal can't know that it begins, because this process ends.
    async fn execute(&self, entry: &Arc<Entry>, slot: Slot, is_resumed: bool) -> Option<RuntimeResult> {
        {
            let mut tally = self.tally();
            tally.queued -= 1;
            let kind = entry.invocation.runtime_kind.clone();
            *tally.running_by_kind.entry(kind).or_default() += 1;
        }
        let body = object([("resumed", json!(is_resumed))]);
        let (at, written) = entry.write(self.journal(), EventKind::Started, body, |started| {
            let at = started.time.clone();
            (at, self.journal().writer().start_run(entry.told(started)))
        })?;
        if !written.wait().await {
            return None;
        }
        entry.start(&at);
        if let Some(reason) = self.0.stopping.reason() {
            entry.cancel.raise(reason);
        }
        if is_resumed {
            self.wait_for_directory(&entry.invocation).await;
        }
        let mut run = Run::new(entry.invocation.clone());
        run.cancel = entry.cancel.clone();
        run.events = self.listener(entry);
        Some(self.0.service.start(slot, run).wait().await)
    }

    /// What is left of a dead host may have the directory of a run for a moment.
    async fn wait_for_directory(&self, invocation: &RuntimeInvocation) {
        let until = Instant::now() + MAX_WAIT_FOR_DIRECTORY;
        loop {
            let invocation = invocation.clone();
            let is_held = exhaustion::run_blocking(move || is_held(&invocation)).await;
            if !is_held.unwrap_or(false) || Instant::now() >= until {
                return;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Makes events for followers of what a run reports.
    fn listener(&self, entry: &Arc<Entry>) -> Events {
        let (runs, entry) = (self.clone(), Arc::clone(entry));
        Events::to(move |event| match event {
            Event::Output(feed) => runs.watch_output(&entry, feed),
            Event::Progress { fraction, message } => {
                let body = object([("fraction", json!(fraction)), ("message", json!(message))]);
                entry.report(&runs, EventKind::Progress, body);
            }
            Event::Stopping { grace } => {
                let body = object([("grace_seconds", json!(grace.as_secs_f64()))]);
                entry.report(&runs, EventKind::Stopping, body);
            }
        })
    }

    /// Has the journal note how a run ended; false if it can't, because this process ends.
    pub(crate) async fn end(&self, entry: &Arc<Entry>, result: &RuntimeResult) -> bool {
        self.tell_last_output(entry);
        let body = object([
            ("status", json!(result.status)),
            ("exit_code", json!(result.exit_code)),
            ("error_kind", json!(result.metadata.get(receipt::ERROR_KIND))),
            ("error_summary", json!(result.error_summary)),
        ]);
        let end = End {
            status: result.status,
            result: serde_json::to_string(result).unwrap_or_default(),
            capture: capture_of(&entry.invocation, result).await,
        };
        let written = entry.write(self.journal(), EventKind::Ended, body, |ended| {
            self.journal().writer().end_run(entry.told(ended), end)
        });
        match written {
            Some(written) => written.wait().await,
            None => false,
        }
    }

    /// A run is no longer under way; its result is known now.
    pub(crate) fn leave(&self, entry: &Entry, result: Option<RuntimeResult>) {
        self.let_be_known(entry, result);
        self.0.under_way.send_modify(|count| *count -= 1);
    }

    /// The same of a run that is not counted.
    pub(crate) fn let_be_known(&self, entry: &Entry, result: Option<RuntimeResult>) {
        let mut tally = self.tally();
        let kind = &entry.invocation.runtime_kind;
        if entry.summary().started_at.is_some()
            && let Some(running) = tally.running_by_kind.get_mut(kind)
        {
            *running -= 1;
            if *running == 0 {
                tally.running_by_kind.remove(kind);
            }
        }
        if let Some(result) = &result {
            *tally.ended.entry(result.status.as_str()).or_default() += 1;
        }
        drop(tally);
        if let Some(result) = result {
            let at = result.finished_at.clone();
            entry.end(result, &at);
        }
        self.0.table.remove(entry.id());
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

/// What waiting for its turn came to.
enum Turn {
    Come(Slot),
    /// It ended before.
    Ended(Failure),
    /// The host is about to end.
    Closing,
}

/// The directory that a run has left its output or artifacts in, if it has.
async fn capture_of(invocation: &RuntimeInvocation, result: &RuntimeResult) -> Option<CaptureMark> {
    let path = location(invocation);
    let artifacts = result.artifacts.iter().map(|artifact| &artifact.path);
    let mut left = result
        .stdout_path
        .iter()
        .chain(&result.stderr_path)
        .chain(artifacts);
    if !left.any(|file| Path::new(file).starts_with(&path)) {
        return None;
    }
    let mark = exhaustion::run_blocking(move || {
        let marker = marker(&path).ok()?;
        let path = path.into_os_string().into_string().ok()?;
        Some(CaptureMark { path, marker })
    });
    mark.await.ok().flatten()
}

fn object<const N: usize>(members: [(&str, Value); N]) -> Map<String, Value> {
    members
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}
