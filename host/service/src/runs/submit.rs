//! How a run is accepted: once for each id, and in the journal before its caller is told.

use super::{
    Runs,
    execute::{Beginning, started},
};
use crate::{
    event::EventKind,
    journal::{Accepted, JournalError, NewRun, RunNumber},
    summary::RunSummary,
    table::Entry,
};
use executor_runtime::protocol::{RuntimeInvocation, RuntimeResult, Status};
use executor_runtime_run::capture::Fingerprint;
use serde_json::Map;
use std::{sync::Arc, time::Duration};

/// After which time a caller whom the queue had no place for may come again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What counts for one run.
#[derive(Clone, Copy, Debug, Default)]
pub struct SubmitOptions {
    /// How long it may wait for its turn; it ends `timed_out` then. Its own time-out begins with its turn.
    pub queue_timeout: Option<Duration>,
    /// Whether a run of this id that an earlier host has left, and that did not succeed, is forgotten in favour of this one.
    pub again: bool,
}

/// A run that is in the journal.
#[derive(Clone, Debug)]
pub struct Submitted {
    /// The run.
    pub run: RunSummary,
    /// Whether it was not there before.
    pub is_new: bool,
}

/// A run that has ended.
#[derive(Clone, Debug)]
pub struct Completed {
    /// Its number in the journal.
    pub number: RunNumber,
    /// How it ended.
    pub result: Arc<RuntimeResult>,
    /// Whether it was not there before.
    pub is_new: bool,
}

/// What became of a run that was to be accepted.
struct Entered {
    submitted: Submitted,
    /// None if it has ended.
    entry: Option<Arc<Entry>>,
    /// How it begins, if that is up to the one who has entered it.
    beginning: Option<Beginning>,
}

impl Entered {
    /// It was there before.
    fn known(run: RunSummary, entry: Option<Arc<Entry>>) -> Self {
        Self {
            submitted: Submitted { run, is_new: false },
            entry,
            beginning: None,
        }
    }
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
    #[error(
        "the queue is full ({} waiting); try again in {} s",
        counted(*max_queued),
        retry_after.as_secs()
    )]
    QueueFull {
        /// How many may wait.
        max_queued: usize,
        /// When to try again.
        retry_after: Duration,
    },
    /// The documents of the runs that wait are as long as they may be.
    #[error(
        "the queue is full (the ids and paths of the runs in it take as much memory as they may); try again in {} s",
        retry_after.as_secs()
    )]
    QueueTooLarge {
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

fn counted(runs: usize) -> String {
    match runs {
        1 => "1 run is".to_owned(),
        runs => format!("{runs} runs are"),
    }
}

impl Runs {
    /// Accepts a run, which then begins when its turn comes. The same invocation again (but for its time-out and where its
    /// result goes) is the same run. Of one that begins at once, the journal notes both in one transaction.
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
        let accepting = tokio::spawn(async move {
            let entered = runs.accept(invocation, options).await?;
            if let (Some(entry), Some(beginning)) = (entered.entry, entered.beginning) {
                tokio::spawn(async move { runs.drive(&entry, options, beginning).await });
            }
            Ok(entered.submitted)
        });
        accepting.await.unwrap_or(Err(SubmitError::Closing))
    }

    /// Accepts a run as [`Runs::submit`] does, and waits for its end. It has to be waited for: where the caller goes away, the
    /// run is given up.
    ///
    /// # Errors
    /// When it is not accepted, or is left to the next host.
    pub async fn complete(
        &self,
        invocation: RuntimeInvocation,
        options: SubmitOptions,
    ) -> Result<Completed, SubmitError> {
        let id = invocation.invocation_id.clone();
        let entered = self.accept(invocation, options).await?;
        let is_new = entered.submitted.is_new;
        let Some(entry) = entered.entry else {
            let recorded = self.journal().find(&id).await?.ok_or(SubmitError::Closing)?;
            return Ok(Completed {
                number: RunNumber(recorded.run),
                result: Arc::new(recorded.result.ok_or(SubmitError::Closing)?),
                is_new,
            });
        };
        if let Some(beginning) = entered.beginning {
            self.drive(&entry, options, beginning).await;
        }
        Ok(Completed {
            number: RunNumber(entry.number()),
            result: entry.end_of().await.ok_or(SubmitError::Closing)?,
            is_new,
        })
    }

    async fn accept(
        &self,
        invocation: RuntimeInvocation,
        options: SubmitOptions,
    ) -> Result<Entered, SubmitError> {
        let fingerprint = Fingerprint::of(&invocation);
        let entry = Arc::new(Entry::new(invocation, fingerprint));
        while let Err(there) = self.0.table.insert(&entry) {
            if options.again && self.is_of_earlier_host(&there) {
                let result = there.end_of().await.ok_or(SubmitError::Closing)?;
                if result.status != Status::Succeeded {
                    // It is about to leave the table.
                    tokio::task::yield_now().await;
                    continue;
                }
            }
            // It may be another caller's that is about to be refused: then this one tries.
            if !there.is_accepted().await {
                continue;
            }
            if there.fingerprint != fingerprint {
                let id = entry.id().to_owned();
                return Err(SubmitError::Conflict { id });
            }
            return Ok(Entered::known(there.summary(), Some(there)));
        }
        let accepted = self.enter(&entry, options).await;
        if accepted.is_err() || entry.number() < 0 {
            self.0.table.remove(entry.id());
            entry.refuse();
        }
        accepted
    }

    /// Whether it is a run that an earlier host has left.
    fn is_of_earlier_host(&self, entry: &Entry) -> bool {
        (0..=self.journal().newest_of_earlier_hosts()).contains(&entry.number())
    }

    /// Enters a run in the journal, unless it is there.
    async fn enter(&self, entry: &Arc<Entry>, options: SubmitOptions) -> Result<Entered, SubmitError> {
        let place = self.take_place();
        if place.is_err() {
            // A run that has ended needs none.
            return self
                .ended_before(entry)
                .await?
                .map_or_else(|| place.map(|()| unreachable!()), Ok);
        }
        let accepted = self.enter_in_place(entry, options).await;
        if !matches!(&accepted, Ok(entered) if entered.submitted.is_new) {
            self.leave_queue();
        }
        accepted
    }

    async fn enter_in_place(
        &self,
        entry: &Arc<Entry>,
        options: SubmitOptions,
    ) -> Result<Entered, SubmitError> {
        let (invocation, room) = (&entry.invocation, &self.0.room);
        if !entry.document.take_room_for(invocation, room) {
            return Err(SubmitError::QueueTooLarge {
                retry_after: RETRY_AFTER,
            });
        }
        let accepted = entry.write(self.journal(), EventKind::Accepted, Map::new(), |event| event);
        let Some(accepted) = accepted else {
            return Err(SubmitError::Closing);
        };
        let at = accepted.time.clone();
        // It begins at once, if it is new and there is room.
        let slot = match self.is_closing() {
            true => None,
            false => self.0.service.try_slot(&invocation.runtime_kind),
        };
        let started = slot
            .as_ref()
            .and_then(|_| entry.write(self.journal(), EventKind::Started, started(false), |event| event));
        let started_at = started.as_ref().map(|started| started.time.clone());
        let document = entry.document.text();
        let bytes = document.len();
        let run = NewRun {
            started,
            again_up_to: options.again.then(|| self.journal().newest_of_earlier_hosts()),
            queue_until: options.queue_timeout.map(|timeout| {
                let timeout = i64::try_from(timeout.as_micros()).unwrap_or(i64::MAX);
                at.unix_micros().saturating_add(timeout)
            }),
            id: invocation.invocation_id.clone(),
            name: invocation.runtime_name.clone(),
            kind: invocation.runtime_kind.to_string(),
            fingerprint: entry.fingerprint.as_bytes().to_vec(),
            invocation: document,
            accepted,
        };
        match self.journal().writer().accept(run).await? {
            Accepted::New { number, is_again } => {
                entry.document.stay(bytes, room);
                entry.accept(number, at);
                if let Some(at) = &started_at {
                    entry.start(at);
                }
                Ok(Entered {
                    submitted: Submitted {
                        run: entry.summary(),
                        is_new: true,
                    },
                    entry: Some(Arc::clone(entry)),
                    beginning: Some(Beginning {
                        is_again,
                        begun_in: slot,
                        ..Beginning::default()
                    }),
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
    async fn ended_before(&self, entry: &Entry) -> Result<Option<Entered>, SubmitError> {
        let id = entry.id();
        let Some(recorded) = self.journal().find(id).await? else {
            return Ok(None);
        };
        if recorded.fingerprint != entry.fingerprint.as_bytes() {
            return Err(SubmitError::Conflict { id: id.to_owned() });
        }
        Ok(Some(Entered::known(recorded.summary, None)))
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
    pub(super) fn leave_queue(&self) {
        self.tally().queued -= 1;
        self.0.under_way.send_modify(|count| *count -= 1);
    }
}
