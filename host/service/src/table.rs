//! The runs that have not ended, by their ids.

use crate::{
    event::{EventKind, EventRecord},
    follow::Output,
    journal::{Committed, Journal, Told},
    summary::RunSummary,
};
use executor_runtime::{
    CancelToken,
    protocol::{RuntimeInvocation, RuntimeResult, Status, Timestamp},
};
use executor_runtime_run::capture::Fingerprint;
use serde_json::{Map, Value};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};
use tokio::sync::watch;

/// What is known of a run that has not ended, or whose end is still being told.
pub(crate) struct Entry {
    pub(crate) invocation: RuntimeInvocation,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) cancel: CancelToken,
    pub(crate) output: Output,
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

/// The last event.
struct Last {
    sequence: u64,
    /// Its type, if it is one whose like takes its place.
    replaceable: Option<EventKind>,
}

impl Entry {
    pub(crate) fn new(invocation: RuntimeInvocation, fingerprint: Fingerprint) -> Self {
        let summary = RunSummary::pending(&invocation, Timestamp::now());
        Self {
            invocation,
            fingerprint,
            cancel: CancelToken::new(),
            output: Output::default(),
            number: OnceLock::new(),
            state: watch::Sender::new(State {
                summary,
                acceptance: Acceptance::Asked,
                result: None,
            }),
            last: Mutex::new(Last {
                sequence: 0,
                replaceable: None,
            }),
            committed: Arc::new(watch::Sender::new(0)),
        }
    }

    /// An entry for a run that the journal has already, with these events.
    pub(crate) fn recovered(
        invocation: RuntimeInvocation,
        number: i64,
        accepted_at: Timestamp,
        last_event: u64,
    ) -> Self {
        let fingerprint = Fingerprint::of(&invocation);
        let entry = Self::new(invocation, fingerprint);
        entry.last().sequence = last_event;
        entry.committed.send_replace(last_event);
        entry.accept(number, accepted_at);
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

    /// Gives an event its number and hands it to `write`, with the number of one whose place it takes. Events get to the
    /// journal in the order of their numbers.
    pub(crate) fn next_event<T>(
        &self,
        kind: EventKind,
        body: Map<String, Value>,
        write: impl FnOnce(EventRecord, Option<u64>) -> T,
    ) -> T {
        let mut last = self.last();
        let replaces = (last.replaceable == Some(kind)).then_some(last.sequence);
        last.sequence += 1;
        last.replaceable = kind.replaces_its_like().then_some(kind);
        let event = EventRecord {
            sequence: last.sequence,
            time: Timestamp::now(),
            kind,
            body,
        };
        write(event, replaces)
    }

    /// Has an event written, some time soon.
    pub(crate) fn report(&self, journal: &Journal, kind: EventKind, body: Map<String, Value>) {
        self.next_event(kind, body, |event, replaces| {
            journal.writer().event(self.told(event), replaces);
        });
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

    /// The run with this id; `new` is entered if there is none.
    pub(crate) fn get_or_insert(&self, new: Entry) -> (Arc<Entry>, bool) {
        let mut entries = self.entries();
        if let Some(there) = entries.get(new.id()) {
            return (Arc::clone(there), false);
        }
        let new = Arc::new(new);
        entries.insert(new.id().to_owned(), Arc::clone(&new));
        (new, true)
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
