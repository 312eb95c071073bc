//! The spans that are over and not sent yet, and the thread that sends them.

use crate::{
    encode::Encoder,
    settings::{Batching, Settings},
    transport::{Patience, Transport},
};
use executor_runtime_run::trace::FinishedSpan;
use nix::sys::signal::{SigSet, SigmaskHow};
use std::{
    collections::VecDeque,
    io,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

#[derive(Debug)]
pub(crate) struct Queue {
    batching: Batching,
    /// Where spans go, for messages.
    destination: String,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    spans: VecDeque<FinishedSpan>,
    /// When the first of them came.
    since: Option<Instant>,
    /// How many are being sent.
    under_way: usize,
    /// Someone waits until all is sent.
    is_flushed: bool,
    /// How many found no room.
    dropped: u64,
}

impl Queue {
    pub(crate) fn start(settings: Settings) -> io::Result<Arc<Self>> {
        let queue = Arc::new(Self {
            batching: settings.batching,
            destination: settings.destination(),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let sending = Arc::clone(&queue);
        let encoder = Encoder::new(settings.protocol, &settings.resource);
        let transport = Transport::new(settings)?;
        without_signals(|| {
            thread::Builder::new()
                .name("spans".to_owned())
                .spawn(move || sending.send_all(&encoder, &transport))
        })?;
        Ok(queue)
    }

    /// Takes a span, if there is room. Never blocks for long.
    pub(crate) fn push(&self, span: FinishedSpan) {
        let mut state = self.state();
        if state.spans.len() >= self.batching.max_queued {
            state.dropped += 1;
            if state.dropped == 1 {
                drop(state);
                tracing::warn!(
                    "spans are dropped: {} wait to be sent to {}, which is as many as may; the rest is counted, and told at \
                     the end",
                    self.batching.max_queued,
                    self.destination
                );
            }
            return;
        }
        state.spans.push_back(span);
        let is_first = state.since.is_none();
        state.since.get_or_insert_with(Instant::now);
        if is_first || state.spans.len() == self.batching.max_batch {
            self.changed.notify_all();
        }
    }

    /// Waits until everything is sent, at most for `time`.
    pub(crate) fn flush(&self, time: Duration) {
        let mut state = self.state();
        let is_sent = |state: &State| state.spans.is_empty() && state.under_way == 0;
        if !is_sent(&state) {
            state.is_flushed = true;
            self.changed.notify_all();
            let waited = self
                .changed
                .wait_timeout_while(state, time, |state| !is_sent(state));
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        let (left, dropped) = (state.spans.len() + state.under_way, state.dropped);
        drop(state);
        if left > 0 {
            tracing::warn!(
                "{left} spans are lost: {} has not taken them within {} s",
                self.destination,
                time.as_secs_f64()
            );
        }
        if dropped > 0 {
            tracing::warn!("{dropped} spans were dropped because too many waited to be sent");
        }
    }

    fn send_all(&self, encoder: &Encoder, transport: &Transport) {
        let mut trouble = Trouble::default();
        loop {
            let (batch, is_flushed) = self.next_batch();
            let patience = match is_flushed {
                true => Patience::OneAttempt,
                false => Patience::SomeAttempts,
            };
            // A process that is out of threads, for one, can't look up a name. The next batch may find it otherwise.
            let sending = || transport.send(encoder.encode(&batch), patience);
            let sent = panic::catch_unwind(AssertUnwindSafe(sending))
                .unwrap_or_else(|_| Err("the sender panicked".to_owned()));
            trouble.tell(sent, batch.len(), &self.destination);
            let mut state = self.state();
            state.under_way = 0;
            if state.spans.is_empty() {
                state.is_flushed = false;
            }
            self.changed.notify_all();
        }
    }

    /// Waits until there are enough spans, or some that have waited for long enough.
    fn next_batch(&self) -> (Vec<FinishedSpan>, bool) {
        let mut state = self.state();
        loop {
            let wait = match state.since {
                Some(_) if state.is_flushed || state.spans.len() >= self.batching.max_batch => Duration::ZERO,
                Some(since) => self.batching.delay.saturating_sub(since.elapsed()),
                None => Duration::MAX,
            };
            if wait.is_zero() {
                break;
            }
            state = match state.since {
                Some(_) => {
                    let waited = self.changed.wait_timeout(state, wait);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
        let length = state.spans.len().min(self.batching.max_batch);
        let batch: Vec<_> = state.spans.drain(..length).collect();
        state.since = (!state.spans.is_empty()).then(Instant::now);
        state.under_way = batch.len();
        (batch, state.is_flushed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What went wrong is logged when it begins and when it is over, and not each time.
#[derive(Default)]
struct Trouble {
    lost: Option<usize>,
}

impl Trouble {
    fn tell(&mut self, sent: Result<(), String>, spans: usize, destination: &str) {
        match (sent, &mut self.lost) {
            (Ok(()), None) => {}
            (Ok(()), Some(lost)) => {
                tracing::info!("spans can be sent to {destination} again; {lost} were lost");
                self.lost = None;
            }
            (Err(reason), None) => {
                tracing::warn!("spans can't be sent to {destination}, and are lost: {reason}");
                self.lost = Some(spans);
            }
            (Err(_), Some(lost)) => *lost += spans,
        }
    }
}

/// Starts a thread that no signal is delivered to: what this process does about one is for its other threads.
fn without_signals<T>(start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let started = start();
    before.thread_set_mask()?;
    started
}
