//! Signals to the host that end its runs: SIGTERM, SIGINT and SIGHUP.
//!
//! The first one cancels every run that was given the token; each gets its grace and writes its result. A
//! second one, of whichever kind, ends them at once.
//!
//! SIGINT and SIGHUP that this process was started to ignore stay ignored: `nohup` does so with SIGHUP, and a shell without
//! job control with SIGINT for a command in the background. SIGTERM is only ever sent on purpose, and always counts.

use crate::CancelToken;
use executor_runtime_run::signals::{self, HeldSignals};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Watches for signals that end the host.
#[derive(Debug)]
pub struct Termination {
    token: CancelToken,
    first: Arc<AtomicI32>,
}

impl Termination {
    /// Watches from now on, in the current tokio runtime, which needs I/O.
    ///
    /// # Errors
    /// When no handler can be installed.
    pub fn watch() -> io::Result<Self> {
        Self::watch_for(CancelToken::new())
    }

    /// The same without SIGHUP, for a host that is told something else by it.
    ///
    /// # Errors
    /// When no handler can be installed.
    pub fn watch_all_but_hangup() -> io::Result<Self> {
        let [terminate, interrupt, _] = kinds();
        Self::watch_kinds(CancelToken::new(), &[terminate, interrupt])
    }

    /// The same, for runs that have their token already.
    ///
    /// # Errors
    /// When no handler can be installed.
    pub fn watch_for(token: CancelToken) -> io::Result<Self> {
        Self::watch_kinds(token, &kinds())
    }

    fn watch_kinds(token: CancelToken, kinds: &[SignalKind]) -> io::Result<Self> {
        let first = Arc::new(AtomicI32::new(0));
        for &kind in kinds {
            if kind != SignalKind::terminate() && signals::is_ignored(kind.as_raw_value()) {
                continue;
            }
            let watched = Watched {
                signal: signal(kind)?,
                number: kind.as_raw_value(),
            };
            tokio::spawn(watched.forward(token.clone(), first.clone()));
        }
        Ok(Self { token, first })
    }

    /// Holds the signals back in this thread, in a program that has no other, until what is returned is dropped: for a run
    /// that begins before they are watched.
    pub fn hold_signals() -> HeldSignals {
        HeldSignals::hold(&kinds().map(|kind| kind.as_raw_value()))
    }

    /// Has the signals end this process again, except those that it was started to ignore.
    pub fn end_process_again() {
        for number in kinds().map(|kind| kind.as_raw_value()) {
            if !signals::is_ignored(number) {
                signals::set_default(number);
            }
        }
    }

    /// The token that the signals raise.
    pub fn token(&self) -> &CancelToken {
        &self.token
    }

    /// The signal that came first, if one came.
    pub fn signal(&self) -> Option<i32> {
        Some(self.first.load(Ordering::SeqCst)).filter(|number| *number != 0)
    }
}

/// The signals that end runs.
fn kinds() -> [SignalKind; 3] {
    [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
    ]
}

struct Watched {
    signal: Signal,
    number: i32,
}

impl Watched {
    async fn forward(mut self, token: CancelToken, first: Arc<AtomicI32>) {
        while self.signal.recv().await.is_some() {
            match first.compare_exchange(0, self.number, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => token.cancel(),
                Err(_) => token.kill(),
            }
        }
    }
}
