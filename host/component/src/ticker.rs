//! The clock that interrupts guests which never call the host.
//!
//! One thread of the process raises the engine's epoch every 10 ms; a guest that notices yields to the
//! executor and continues in the next epoch, so that a spinning guest shares its thread with all others and
//! can be stopped. The thread starts with the first run and ends with the engine.

use executor_runtime_run::exhaustion;
use std::{
    io,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};
use wasmtime::{Engine, EngineWeak};

/// Time between two epochs: what a spinning guest may delay another run by, and the precision with which it
/// is stopped.
const TICK: Duration = Duration::from_millis(10);

pub(super) struct Ticker {
    engine: Engine,
    running: AtomicBool,
    starting: Mutex<()>,
}

impl Ticker {
    pub(super) fn new(engine: Engine) -> Self {
        Self {
            engine,
            running: AtomicBool::new(false),
            starting: Mutex::new(()),
        }
    }

    /// Makes sure that the clock runs.
    ///
    /// # Errors
    /// When the process can't have another thread. A guest must not run then: it could not be stopped.
    pub(super) fn start(&self) -> io::Result<()> {
        if self.running.load(Ordering::Acquire) {
            return Ok(());
        }
        let _one_starts = self.starting.lock();
        if !self.running.load(Ordering::Acquire) {
            let engine = self.engine.weak();
            exhaustion::spawn(move || tick(&engine))?;
            self.running.store(true, Ordering::Release);
        }
        Ok(())
    }
}

fn tick(engine: &EngineWeak) {
    while let Some(engine) = engine.upgrade() {
        engine.increment_epoch();
        drop(engine);
        thread::sleep(TICK);
    }
}
