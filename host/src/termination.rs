//! Signals to the host that end its runs: SIGTERM, SIGINT and SIGHUP.
//!
//! The first one cancels every run that was given the token; each gets its grace and writes its result. A
//! second one, of whichever kind, ends them at once.

use crate::CancelToken;
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
    pub fn watch() -> io::Result<Self> {
        let token = CancelToken::new();
        let first = Arc::new(AtomicI32::new(0));
        let signals = [
            SignalKind::terminate(),
            SignalKind::interrupt(),
            SignalKind::hangup(),
        ];
        for kind in signals {
            let watched = Watched {
                signal: signal(kind)?,
                number: kind.as_raw_value(),
            };
            tokio::spawn(watched.forward(token.clone(), first.clone()));
        }
        Ok(Self { token, first })
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
