//! The process's own clocks.

use std::{
    sync::LazyLock,
    time::{Duration, Instant, SystemTime},
};

/// Time on the monotonic clock, which begins when it is first asked.
pub(crate) fn monotonic_time() -> Duration {
    static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);
    BEGINNING.elapsed()
}

pub(crate) fn system_time() -> SystemTime {
    SystemTime::now()
}
