//! The clock of a run.
//!
//! std's own clocks panic in a component for `wasm32-unknown-unknown`, which std knows nothing about. A
//! [`Context`](crate::Context) has a clock on every carrier and target.

use crate::carrier;
use std::{ops::Add, time::Duration};

/// A point on the monotonic clock, from [`Context::now`](crate::Context::now).
///
/// Used like `std::time::Instant`. The clock neither jumps nor goes back; it says nothing about the time of
/// day, and instants of two runs have nothing to do with each other.
///
/// ```
/// use executor_runtime_sdk::{Context, Invocation, Outcome, RunError, TestHost};
/// use std::time::Duration;
///
/// fn run(_: &Invocation, ctx: &mut Context) -> Result<Outcome, RunError> {
///     let begun = ctx.now();
///     if ctx.sleep(Duration::from_millis(10)).is_stopped() {
///         return Err(ctx.stopped("the nap"));
///     }
///     let took = ctx.now().duration_since(begun);
///     Ok(Outcome::succeeded().receipt("nap.milliseconds", took.as_millis()))
/// }
///
/// let outcome = TestHost::new().run(&run, &Invocation::new("nap")).unwrap();
/// let took: u32 = outcome.get_receipt("nap.milliseconds").unwrap().parse().unwrap();
/// assert!(took >= 10);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(Duration);

impl Instant {
    /// Where the clock begins: an instant for tests of code that reckons with instants.
    pub const ZERO: Self = Self(Duration::ZERO);

    pub(crate) fn now() -> Self {
        Self(carrier::monotonic_time())
    }

    /// Time from `earlier` to this instant; zero if `earlier` is later.
    pub fn duration_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The instant so long after this one; None if the clock does not reach so far.
    pub fn checked_add(self, time: Duration) -> Option<Self> {
        self.0.checked_add(time).map(Self)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// # Panics
    /// If the clock does not reach so far: after some hundred billion years.
    fn add(self, time: Duration) -> Self {
        Self(self.0 + time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_reckoned_with() {
        let second = Duration::from_secs(1);
        let later = Instant::ZERO + second;
        assert_eq!(later.duration_since(Instant::ZERO), second);
        assert_eq!(Instant::ZERO.duration_since(later), Duration::ZERO);
        assert_eq!(Instant::ZERO.checked_add(second), Some(later));
        assert_eq!(later.checked_add(Duration::MAX), None);
        assert!(later > Instant::ZERO);
    }

    #[test]
    fn the_clock_goes_forward() {
        let before = Instant::now();
        std::thread::sleep(Duration::from_millis(1));
        assert!(Instant::now().duration_since(before) >= Duration::from_millis(1));
    }
}
