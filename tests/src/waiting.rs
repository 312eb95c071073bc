//! Waiting for a condition.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Looks until `found` finds something; none if it has not after `limit`.
pub fn holds<T>(limit: Duration, mut found: impl FnMut() -> Option<T>) -> Option<T> {
    let until = Instant::now() + limit;
    loop {
        if let Some(found) = found() {
            return Some(found);
        }
        if Instant::now() >= until {
            return None;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// How long a test waits for what has to happen: also on a busy machine, where a component is compiled meanwhile.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Looks until `found` finds something, which has to happen within a minute.
#[track_caller]
pub fn eventually<T>(what: &str, found: impl FnMut() -> Option<T>) -> T {
    match holds(LIMIT, found) {
        Some(found) => found,
        None => panic!("{what} did not happen within {LIMIT:?}"),
    }
}
