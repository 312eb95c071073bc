//! The clocks of WASI: std has none in a component for `wasm32-unknown-unknown`.

use super::bindings::wasi::clocks::{monotonic_clock, wall_clock};
use std::time::{Duration, SystemTime};

pub(crate) fn monotonic_time() -> Duration {
    Duration::from_nanos(monotonic_clock::now())
}

pub(crate) fn system_time() -> SystemTime {
    let now = wall_clock::now();
    SystemTime::UNIX_EPOCH + Duration::new(now.seconds, now.nanoseconds)
}
