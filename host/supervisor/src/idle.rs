//! Ends what has been idle for too long.
//!
//! It is the host that decides, not the idle process, and it does so under the lock under which it would take that process
//! for a run: no run is ever handed to a process that is about to end. One thread of the host keeps the time for all that
//! may become idle for too long; it is there only while there is something of that kind.

use std::{
    io,
    sync::{Condvar, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

/// How long a process is kept that has nothing to do, unless something else is said.
pub const IDLE_TIME: Duration = Duration::from_secs(60);

/// Closing some descriptors needs little.
const STACK: usize = 128 << 10;

/// Something that may have been idle for too long.
pub trait Idle: Send + Sync {
    /// Ends what was idle for too long by `now`. When to ask again; not at all, unless [`ask_at`] is called, if None.
    /// Neither blocks nor panics.
    fn end_idle(&self, now: Instant) -> Option<Instant>;
}

/// Has [`Idle::end_idle`] called at this time, or earlier if that was asked for before. Something that is dropped meanwhile
/// is not called; it should call [`forget_dropped`].
pub fn ask_at(at: Instant, idle: Weak<dyn Idle>) {
    let mut clock = clock();
    match clock.due.iter_mut().find(|due| due.idle.ptr_eq(&idle)) {
        Some(due) => due.at = due.at.min(at),
        None => clock.due.push(Due { at, idle }),
    }
    if clock.running {
        CHANGED.notify_one();
    } else {
        // Without a thread it stays idle until another one can be had.
        clock.running = start().is_ok();
    }
}

/// Lets go of what was dropped, and of the thread if nothing else is left.
pub fn forget_dropped() {
    // Locked, because the thread looks and then waits.
    let _clock = clock();
    CHANGED.notify_one();
}

/// What is asked next, and when.
struct Clock {
    due: Vec<Due>,
    running: bool,
}

struct Due {
    at: Instant,
    idle: Weak<dyn Idle>,
}

static CLOCK: Mutex<Clock> = Mutex::new(Clock {
    due: Vec::new(),
    running: false,
});

/// Wakes the thread before its time.
static CHANGED: Condvar = Condvar::new();

fn clock() -> MutexGuard<'static, Clock> {
    CLOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start() -> io::Result<()> {
    let thread = thread::Builder::new().name("idle".to_owned()).stack_size(STACK);
    thread.spawn(keep_time).map(drop)
}

/// Asks what is due until nothing is left.
fn keep_time() {
    let mut clock = clock();
    loop {
        clock.due.retain(|due| due.idle.strong_count() > 0);
        let Some(at) = clock.due.iter().map(|due| due.at).min() else {
            clock.running = false;
            return;
        };
        let now = Instant::now();
        if now < at {
            let waited = CHANGED.wait_timeout(clock, at - now);
            clock = waited.unwrap_or_else(PoisonError::into_inner).0;
            continue;
        }
        let due: Vec<_> = clock.due.extract_if(.., |due| due.at <= now).collect();
        // They have locks of their own, under which they ask for a time.
        drop(clock);
        for Due { idle, .. } in due {
            if let Some(at) = idle.upgrade().and_then(|idle| idle.end_idle(now)) {
                ask_at(at, idle);
            }
        }
        clock = self::clock();
    }
}
