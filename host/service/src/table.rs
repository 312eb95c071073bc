//! The runs that have not ended, by their ids.

use crate::{
    artifacts::Artifacts,
    document::{Document, outline},
    event::{EventKind, EventRecord, Subject},
    follow::Output,
    journal::{Committed, Journal, Told, Unfinished},
    runs::Runs,
    summary::RunSummary,
};
use executor_runtime::{
    CancelToken,
    protocol::{RuntimeInvocation, RuntimeResult, Status, Timestamp},
};
use executor_runtime_run::capture::Fingerprint;
use serde_json::{Map, Value};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};
use tokio::{runtime::Handle, sync::watch, time::Instant};

/// What is known of a run that has not ended, or whose end is still being told.
pub(crate) struct Entry {
    /// What of the invocation is needed all the time.
    pub(crate) invocation: RuntimeInvocation,
    pub(crate) document: Document,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) cancel: CancelToken,
    pub(crate) output: Output,
    pub(crate) artifacts: Artifacts,
    /// Its number in the journal, once that has accepted it.
    number: OnceLock<i64>,
    state: watch::Sender<State>,
    last: Mutex<Last>,
    committed: Committed,
}

#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) summary: RunSummary,
    pub(crate) acceptance: Acceptance,
    /// Once it has ended, and the journal knows.
    pub(crate) result: Option<Arc<RuntimeResult>>,
    /// Whether this host has nothing more to do with it.
    pub(crate) has_left: bool,
}

/// Whether the journal has a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acceptance {
    /// It is being asked.
    Asked,
    /// It has.
    Accepted,
    /// It has not; the entry is gone from the table.
    Refused,
}

/// How often, at most, an event is written that takes the place of the one before. What comes in between is overtaken.
const SPACING: Duration = Duration::from_millis(50);

/// How many lines of its log are in the journal: the newest.
const MAX_LINES: usize = 200;

/// The last event, and those that wait.
struct Last {
    sequence: u64,
    /// The number of the newest event about each subject, whose place the next one takes.
    newest: BTreeMap<Subject, u64>,
    /// The numbers of the lines of the log that are in the journal.
    lines: VecDeque<u64>,
    /// When another event about a subject may be written.
    next: Instant,
    /// What is to be written then, in the order in which it happened: one about each subject at most.
    waiting: Vec<(Subject, EventKind, Map<String, Value>)>,
    /// Whether it was the last of all.
    is_over: bool,
}

impl Last {
    /// Gives an event its number, and tells whose place it takes.
    fn number(&mut self, kind: EventKind, body: Map<String, Value>) -> (EventRecord, Option<u64>) {
        self.sequence += 1;
        let replaces = match kind.subject(&body) {
            Some(subject) => self.newest.insert(subject, self.sequence),
            None if kind == EventKind::Log => {
                self.lines.push_back(self.sequence);
                (self.lines.len() > MAX_LINES)
                    .then(|| self.lines.pop_front())
                    .flatten()
            }
            None => None,
        };
        self.is_over = kind == EventKind::Ended;
        let event = EventRecord {
            sequence: self.sequence,
            time: Timestamp::now(),
            kind,
            body,
        };
        (event, replaces)
    }
}

impl Entry {
    pub(crate) fn new(invocation: RuntimeInvocation, fingerprint: Fingerprint) -> Self {
        let outline = outline(&invocation);
        Self {
            document: Document::new(invocation),
            ..Self::of(outline, fingerprint)
        }
    }

    /// One whose document is in the journal.
    fn of(invocation: RuntimeInvocation, fingerprint: Fingerprint) -> Self {
        let summary = RunSummary::pending(&invocation, Timestamp::now());
        Self {
            invocation,
            document: Document::default(),
            fingerprint,
            cancel: CancelToken::new(),
            output: Output::default(),
            artifacts: Artifacts::default(),
            number: OnceLock::new(),
            state: watch::Sender::new(State {
                summary,
                acceptance: Acceptance::Asked,
                result: None,
                has_left: false,
            }),
            last: Mutex::new(Last {
                sequence: 0,
                newest: BTreeMap::new(),
                lines: VecDeque::new(),
                next: Instant::now(),
                waiting: Vec::new(),
                is_over: false,
            }),
            committed: Arc::new(watch::Sender::new(0)),
        }
    }

    /// An entry for a run that the journal has already.
    pub(crate) fn recovered(unfinished: Unfinished) -> Self {
        let entry = Self::of(unfinished.outline, unfinished.fingerprint);
        entry.last().sequence = unfinished.last_event;
        entry.committed.send_replace(unfinished.last_event);
        entry.accept(unfinished.run, unfinished.accepted_at);
        if unfinished.is_cancelled {
            entry.cancel.cancel();
        }
        entry
    }

    pub(crate) fn id(&self) -> &str {
        &self.invocation.invocation_id
    }

    /// Its number in the journal; of a run that is not accepted yet, one that none has.
    pub(crate) fn number(&self) -> i64 {
        self.number.get().copied().unwrap_or(-1)
    }

    pub(crate) fn accept(&self, number: i64, at: Timestamp) {
        let _ = self.number.set(number);
        self.state.send_modify(|state| {
            state.acceptance = Acceptance::Accepted;
            state.summary.accepted_at = at;
        });
    }

    pub(crate) fn refuse(&self) {
        self.state
            .send_modify(|state| state.acceptance = Acceptance::Refused);
    }

    pub(crate) fn start(&self, at: &Timestamp) {
        self.state.send_modify(|state| {
            state.summary.status = Status::Running;
            state.summary.started_at = Some(at.clone());
        });
    }

    pub(crate) fn end(&self, result: RuntimeResult, at: &Timestamp) {
        self.state.send_modify(|state| {
            state.summary.end(&result);
            state.summary.finished_at = Some(at.clone());
            state.result = Some(Arc::new(result));
        });
    }

    pub(crate) fn leave(&self) {
        self.state.send_modify(|state| state.has_left = true);
    }

    /// Its result, once it has ended; none if it is left to the next host.
    pub(crate) async fn end_of(&self) -> Option<Arc<RuntimeResult>> {
        let mut state = self.state.subscribe();
        // The sender lives in `self`.
        let over = state
            .wait_for(|state| state.has_left || state.result.is_some())
            .await;
        over.ok()?.result.clone()
    }

    pub(crate) fn summary(&self) -> RunSummary {
        let mut summary = self.state.borrow().summary.clone();
        summary.cancel_requested = self.cancel.reason().is_some() && self.state.borrow().result.is_none();
        summary
    }

    pub(crate) fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Whether the journal has it, once that is known.
    pub(crate) async fn is_accepted(&self) -> bool {
        let mut state = self.state.subscribe();
        // The sender lives in `self`.
        let known = state
            .wait_for(|state| state.acceptance != Acceptance::Asked)
            .await;
        known.is_ok_and(|state| state.acceptance == Acceptance::Accepted)
    }

    /// The number of the last event that the journal has.
    pub(crate) fn committed(&self) -> &Committed {
        &self.committed
    }

    /// Gives an event its number and hands it to `write`. Events get to the journal in the order of their numbers if `write`
    /// sends them there. None after the last of all.
    pub(crate) fn write<T>(
        &self,
        journal: &Journal,
        kind: EventKind,
        body: Map<String, Value>,
        write: impl FnOnce(EventRecord) -> T,
    ) -> Option<T> {
        let mut last = self.last();
        if last.is_over {
            return None;
        }
        self.flush(&mut last, journal);
        let (event, _) = last.number(kind, body);
        Some(write(event))
    }

    /// Has an event written, some time soon. Of those that take each other's place some are left out.
    pub(crate) fn report(self: &Arc<Self>, runs: &Runs, kind: EventKind, body: Map<String, Value>) {
        let mut last = self.last();
        if last.is_over {
            return;
        }
        let Some(subject) = kind.subject(&body) else {
            self.flush(&mut last, runs.journal());
            let (event, replaces) = last.number(kind, body);
            return runs.journal().writer().event(self.told(event), replaces);
        };
        let is_first = last.waiting.is_empty();
        last.waiting.retain(|(waiting, ..)| *waiting != subject);
        last.waiting.push((subject, kind, body));
        let now = Instant::now();
        if now >= last.next {
            last.next = now + SPACING;
            self.flush(&mut last, runs.journal());
        } else if is_first && let Ok(runtime) = Handle::try_current() {
            let (entry, runs, next) = (Arc::clone(self), runs.clone(), last.next);
            runtime.spawn(async move {
                tokio::time::sleep_until(next).await;
                let mut last = entry.last();
                last.next = Instant::now() + SPACING;
                entry.flush(&mut last, runs.journal());
            });
        }
    }

    /// Writes what waits.
    fn flush(&self, last: &mut Last, journal: &Journal) {
        for (_, kind, body) in std::mem::take(&mut last.waiting) {
            if !last.is_over {
                let (event, replaces) = last.number(kind, body);
                journal.writer().event(self.told(event), replaces);
            }
        }
    }

    pub(crate) fn told(&self, event: EventRecord) -> Told {
        Told {
            run: self.number(),
            event,
            committed: Arc::clone(&self.committed),
        }
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The runs that have not ended.
#[derive(Default)]
pub(crate) struct Table(Mutex<HashMap<String, Arc<Entry>>>);

impl Table {
    /// The run with this id.
    pub(crate) fn get(&self, id: &str) -> Option<Arc<Entry>> {
        self.entries().get(id).cloned()
    }

    /// Enters `new`, unless there is a run with its id, which is returned.
    pub(crate) fn insert(&self, new: &Arc<Entry>) -> Result<(), Arc<Entry>> {
        let mut entries = self.entries();
        if let Some(there) = entries.get(new.id()) {
            return Err(Arc::clone(there));
        }
        entries.insert(new.id().to_owned(), Arc::clone(new));
        Ok(())
    }

    pub(crate) fn remove(&self, id: &str) {
        self.entries().remove(id);
    }

    pub(crate) fn all(&self) -> Vec<Arc<Entry>> {
        self.entries().values().cloned().collect()
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<String, Arc<Entry>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
