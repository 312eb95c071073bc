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

/// Looks until `found` finds something, which has to happen within 20 seconds.
#[track_caller]
pub fn eventually<T>(what: &str, found: impl FnMut() -> Option<T>) -> T {
    match holds(Duration::from_secs(20), found) {
        Some(found) => found,
        None => panic!("{what} did not happen within 20 seconds"),
    }
}
