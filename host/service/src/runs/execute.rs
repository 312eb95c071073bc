//! What a run goes through once it is accepted: it waits for its turn, runs, and has its end recorded before it is known.

use super::{Runs, SubmitOptions, attempts::Attempting};
use crate::{
    admission::Slot,
    event::EventKind,
    journal::{Capture, End, Written},
    table::Entry,
};
use executor_runtime::{
    CancelReason, ErrorKind, Event, Events, Failure, Run,
    protocol::{RuntimeInvocation, RuntimeResult, Timestamp},
    receipt, reject,
};
use executor_runtime_run::{
    capture::{Unrecorded, answers_at_once, is_held, location, marker},
    exhaustion,
};
use serde_json::{Map, Value, json};
use std::{path::Path, sync::Arc, time::Duration};
use tokio::time::Instant;

/// How long a run that goes on waits while what is left of its host still has its directory.
const MAX_WAIT_FOR_DIRECTORY: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How long a run whose turn has come waits before it tries again to read its document.
const READ_AGAIN: Duration = Duration::from_secs(1);
/// How long runs that are to stop wait for a journal that can't be written.
const MAX_WAIT_FOR_JOURNAL: Duration = Duration::from_secs(1);

/// How a run comes to begin.
#[derive(Debug, Default)]
pub(crate) struct Beginning {
    /// It goes on from where an earlier host had it.
    pub(crate) is_resumed: bool,
    /// It had begun under an earlier host, and what is left of that may have its directory.
    pub(crate) is_again: bool,
    /// The time that it may wait has passed while there was no host: it does not begin, whatever room there is.
    pub(crate) is_late: bool,
    /// What it begins in, if the journal knows already that it has.
    pub(crate) begun_in: Option<Slot>,
}

impl Runs {
    /// Takes a run that a dead host has left into the queue, where there is always room for it.
    pub(crate) fn readmit(&self, entry: &Arc<Entry>, options: SubmitOptions, beginning: Beginning) {
        self.tally().queued += 1;
        self.0.under_way.send_modify(|count| *count += 1);
        let (runs, entry) = (self.clone(), Arc::clone(entry));
        tokio::spawn(async move { runs.drive(&entry, options, beginning).await });
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
    pub(super) async fn drive(&self, entry: &Arc<Entry>, options: SubmitOptions, mut beginning: Beginning) {
        let mut unrecorded = Unrecorded::default();
        let begun_in = beginning.begun_in.take();
        let is_begun = begun_in.is_some();
        let turn = match begun_in {
            Some(slot) => {
                self.leave_queue_to_run(entry);
                self.come_at_once(entry, slot).await
            }
            None if beginning.is_late && entry.cancel.reason().is_none() => Turn::Ended(out_of_patience()),
            None => self.turn(entry, options, beginning.is_resumed).await,
        };
        let result = match turn {
            Turn::Come(slot, invocation) if is_begun || !self.is_closing() => {
                if !is_begun {
                    self.leave_queue_to_run(entry);
                }
                match is_begun || self.begin(entry, &beginning).await {
                    true => {
                        let result;
                        (result, unrecorded) = self.execute(entry, slot, *invocation, &beginning).await;
                        if let Err(error) = unrecorded.keep(entry.fingerprint, &result).await {
                            tracing::warn!(
                                "the result of '{}' is not kept until it is recorded: {error}",
                                entry.id()
                            );
                        }
                        Some(result)
                    }
                    false => None,
                }
            }
            Turn::Come(..) | Turn::Closing => {
                // It stays in the journal, for the next host.
                self.0.table.remove(entry.id());
                entry.leave();
                return self.leave_queue();
            }
            Turn::Ended(failure) => {
                if !is_begun {
                    self.tally().queued -= 1;
                }
                let invocation = entry.invocation.clone();
                exhaustion::run_blocking(move || reject(&invocation, failure))
                    .await
                    .ok()
            }
        };
        let result = match result {
            Some(result) => match self.end(entry, &result).await {
                Recorded::Yes => {
                    unrecorded.forget().await;
                    Some(result)
                }
                Recorded::GivenUp => Some(result),
                Recorded::No => None,
            },
            // This process ends, and the next host finds out.
            None => None,
        };
        self.leave(entry, result);
    }

    /// Waits for its turn.
    async fn turn(&self, entry: &Entry, options: SubmitOptions, is_resumed: bool) -> Turn {
        let patience = async {
            match options.queue_timeout {
                Some(Duration::ZERO) => {}
                Some(timeout) => tokio::time::sleep(timeout).await,
                None => std::future::pending().await,
            }
        };
        let come = async {
            let slot = self.0.service.slot(Some(&entry.invocation.runtime_kind)).await;
            self.come(entry, slot).await
        };
        let come_to_stop = async {
            let slot = self.0.service.slot_to_stop().await;
            self.come(entry, slot).await
        };
        tokio::select! {
            biased;
            () = entry.cancel.raised(CancelReason::Requested) => match is_resumed {
                // It stops what it has started elsewhere.
                true => tokio::select! {
                    biased;
                    () = self.0.closing.raised(CancelReason::Requested) => Turn::Closing,
                    turn = come_to_stop => turn,
                },
                false => Turn::Ended(Failure::new(ErrorKind::Cancelled, "cancelled before its turn came")),
            },
            () = self.0.closing.raised(CancelReason::Requested) => Turn::Closing,
            // Before its patience: without any, it begins if there is room now.
            turn = come => turn,
            () = patience => Turn::Ended(out_of_patience()),
        }
    }

    /// Its turn has come, in this slot.
    async fn come(&self, entry: &Entry, slot: Slot) -> Turn {
        match self.document(entry).await {
            Ok(invocation) => Turn::Come(slot, Box::new(invocation)),
            Err(failure) => Turn::Ended(failure),
        }
    }

    /// The same of a run that the journal has begun.
    async fn come_at_once(&self, entry: &Entry, slot: Slot) -> Turn {
        tokio::select! {
            biased;
            turn = self.come(entry, slot) => turn,
            () = entry.cancel.raised(CancelReason::Requested) => Turn::Ended(cancelled_at_once()),
            () = self.0.stopping.raised(CancelReason::Requested) => Turn::Ended(cancelled_at_once()),
        }
    }

    /// What the run is asked for. Where the journal can't be read, it is waited for.
    async fn document(&self, entry: &Entry) -> Result<RuntimeInvocation, Failure> {
        if let Some(invocation) = entry.document.take() {
            return Ok(invocation);
        }
        let unreadable = |reason: String| {
            let text = format!("what it asks for can't be read from the journal: {reason}");
            Failure::new(ErrorKind::InvalidInvocation, text)
        };
        loop {
            match self.journal().document(entry.number()).await {
                Ok(Some(read)) => return read.map_err(unreadable),
                Ok(None) => return Err(unreadable("it is not there any more".to_owned())),
                // It would have its slot for ever.
                Err(error) if self.is_damaged() => return Err(unreadable(error.to_string())),
                Err(error) => tracing::warn!("'{}' can't begin yet: {error}", entry.id()),
            }
            tokio::time::sleep(READ_AGAIN).await;
        }
    }

    fn leave_queue_to_run(&self, entry: &Entry) {
        let mut tally = self.tally();
        tally.queued -= 1;
        let kind = entry.invocation.runtime_kind.clone();
        *tally.running_by_kind.entry(kind).or_default() += 1;
    }

    /// Has the journal note that a run begins; false if it can't, because this process ends.
    async fn begin(&self, entry: &Entry, beginning: &Beginning) -> bool {
        let body = started(beginning.is_resumed);
        let begun = entry.write(self.journal(), EventKind::Started, body, |started| {
            let at = started.time.clone();
            (at, self.journal().writer().start_run(entry.told(started)))
        });
        let Some((at, written)) = begun else {
            return false;
        };
        let is_known = self.recorded(written).await == Recorded::Yes;
        if is_known {
            entry.start(&at);
        }
        is_known
    }

    /// Runs it, as often as it takes. Also what it leaves until its end is recorded.
    async fn execute(
        &self,
        entry: &Arc<Entry>,
        slot: Slot,
        invocation: RuntimeInvocation,
        beginning: &Beginning,
    ) -> (RuntimeResult, Unrecorded) {
        if let Some(reason) = self.0.stopping.reason() {
            entry.cancel.raise(reason);
        }
        if beginning.is_resumed || beginning.is_again {
            self.wait_for_directory(&entry.invocation).await;
        }
        let summary = entry.summary();
        let waited = summary
            .started_at
            .as_ref()
            .map(|started_at| queued(&summary.accepted_at, started_at));
        let mut attempting = Attempting::new(self.0.options.attempts);
        let mut is_resumed = beginning.is_resumed;
        loop {
            let unrecorded = Unrecorded::held();
            let mut run = Run::new(invocation.clone());
            run.cancel = entry.cancel.clone();
            run.queued = waited;
            run.unrecorded = unrecorded.clone();
            if self.journal().keeps_all() {
                run.events = self.listener(entry);
            }
            // Another attempt begins anew.
            let mut result = match std::mem::take(&mut is_resumed) {
                true => self.resume(slot.clone(), run).await,
                false => self.0.service.start(slot.clone(), run).wait().await,
            };
            attempting.mark(&mut result);
            if entry.cancel.reason().is_some() {
                return (result, unrecorded);
            }
            let Some(pause) = attempting.pause_after(&result) else {
                return (result, unrecorded);
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = entry.cancel.raised(CancelReason::Requested) => return (result, unrecorded),
            }
            // The next attempt does not go on from this one.
            unrecorded.forget().await;
        }
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
            Event::Log(line) => {
                let body = object([
                    ("line", json!(line.number)),
                    ("level", json!(line.level)),
                    ("message", json!(line.message)),
                    ("left_out", json!(line.left_out)),
                ]);
                entry.report(&runs, EventKind::Log, body);
            }
            Event::Checkpoint { bytes } => {
                entry.report(&runs, EventKind::Checkpoint, object([("bytes", json!(bytes))]));
            }
            // The event of its start says so.
            Event::Called | Event::Resumed => {}
            Event::Artifact(artifact) => runs.tell_artifact(&entry, &artifact),
            Event::Stopping { grace } => {
                let body = object([("grace_seconds", json!(grace.as_secs_f64()))]);
                entry.report(&runs, EventKind::Stopping, body);
            }
        })
    }

    /// Has the journal note how a run ended.
    pub(crate) async fn end(&self, entry: &Arc<Entry>, result: &RuntimeResult) -> Recorded {
        self.tell_last_output(entry);
        self.tell_last_artifacts(entry, result);
        let body = object([
            ("status", json!(result.status)),
            ("exit_code", json!(result.exit_code)),
            ("error_kind", json!(result.metadata.get(receipt::ERROR_KIND))),
            ("error_summary", json!(result.error_summary)),
        ]);
        let end = End {
            status: result.status,
            result: serde_json::to_string(result).unwrap_or_default(),
            capture: match self.journal().keeps_all() {
                true => capture_of(&entry.invocation, result).await,
                false => None,
            },
        };
        let written = entry.write(self.journal(), EventKind::Ended, body, |ended| {
            self.journal().writer().end_run(entry.told(ended), end)
        });
        match written {
            Some(written) => self.recorded(written).await,
            None => Recorded::No,
        }
    }

    /// Waits until the journal has something, or is given up.
    async fn recorded(&self, written: Written) -> Recorded {
        tokio::select! {
            biased;
            is_written = written.wait() => match is_written {
                true => Recorded::Yes,
                false => Recorded::No,
            },
            () = self.journal_is_given_up() => Recorded::GivenUp,
        }
    }

    /// A journal of results alone is not waited for where runs are to stop: who waits for the results has them then.
    async fn journal_is_given_up(&self) {
        if self.journal().keeps_all() {
            return std::future::pending().await;
        }
        self.0.stopping.raised(CancelReason::Requested).await;
        loop {
            tokio::time::sleep(MAX_WAIT_FOR_JOURNAL).await;
            if self.trouble().is_some() {
                return;
            }
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
        entry.leave();
    }
}

/// Of a run that has waited for its turn as long as it may.
fn out_of_patience() -> Failure {
    Failure::new(ErrorKind::Timeout, "timed out before its turn came")
}

/// Of a run whose start is in the journal, and that has done nothing yet.
fn cancelled_at_once() -> Failure {
    Failure::new(ErrorKind::Cancelled, "cancelled as it was about to begin")
}

/// What the event of a start says.
pub(super) fn started(is_resumed: bool) -> Map<String, Value> {
    object([("resumed", json!(is_resumed))])
}

/// How long a run has waited, by a clock that may have been set back meanwhile.
fn queued(accepted_at: &Timestamp, started_at: &Timestamp) -> Duration {
    let micros = started_at.unix_micros().saturating_sub(accepted_at.unix_micros());
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

/// Whether the journal has something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recorded {
    Yes,
    /// It can't be written, and is not waited for any more. Who waits for the result has it.
    GivenUp,
    /// It can't, because this process ends: the next host finds out.
    No,
}

/// What waiting for its turn came to.
enum Turn {
    Come(Slot, Box<RuntimeInvocation>),
    /// It ended before.
    Ended(Failure),
    /// The host is about to end.
    Closing,
}

/// The directory that a run has left its output or artifacts in, if it has.
async fn capture_of(invocation: &RuntimeInvocation, result: &RuntimeResult) -> Option<Capture> {
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
    let mark = move || {
        let marker = marker(&path).ok()?;
        let path = path.into_os_string().into_string().ok()?;
        Some(Capture { path, marker })
    };
    if answers_at_once(invocation) {
        return mark();
    }
    exhaustion::run_blocking(mark).await.ok().flatten()
}

fn object<const N: usize>(members: [(&str, Value); N]) -> Map<String, Value> {
    members
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}
