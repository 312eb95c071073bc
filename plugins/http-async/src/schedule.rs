//! When the next poll is due.
//!
//! Polls lie on a grid that begins with the first one, so that the time an answer takes does not add up. A
//! poll that takes longer than the interval skips the points it missed. A backend that says `Retry-After` is
//! not asked before, and the grid begins anew there. Where the invocation asks for it, each interval is longer than the
//! one before, up to a limit.

use crate::plan::Intervals;
use executor_runtime_sdk::Instant;
use std::time::Duration;

/// Longer than any run, and short enough to be added to any time.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    interval: Duration,
    intervals: Intervals,
    due: Instant,
}

impl Schedule {
    /// The first poll is due now, or when the backend says.
    pub(crate) fn new(intervals: Intervals, now: Instant, retry_after: Option<Duration>) -> Self {
        Self {
            interval: intervals.first.min(FOREVER),
            intervals,
            due: now + retry_after.unwrap_or_default().min(FOREVER),
        }
    }

    /// How long to wait for the poll that is due.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        self.due.duration_since(now)
    }

    /// The poll that was due has been answered.
    pub(crate) fn advance(&mut self, now: Instant, retry_after: Option<Duration>) {
        let late = now.duration_since(self.due).as_nanos();
        let missed = late.checked_div(self.interval.as_nanos());
        self.due = match missed {
            // No interval: at once.
            None => now,
            Some(0) => self.due + self.interval,
            Some(_) => {
                let since_grid = u64::try_from(late % self.interval.as_nanos()).unwrap_or_default();
                now + (self.interval - Duration::from_nanos(since_grid))
            }
        };
        if let Some(time) = retry_after {
            self.due = self.due.max(now + time.min(FOREVER));
        }
        if self.intervals.factor > 1.0 {
            let longest = self.intervals.longest.min(FOREVER);
            let next = self.interval.as_secs_f64() * self.intervals.factor;
            self.interval = Duration::try_from_secs_f64(next).map_or(longest, |next| next.min(longest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn every(interval: Duration) -> Intervals {
        Intervals {
            first: interval,
            factor: 1.0,
            longest: interval,
        }
    }

    #[test]
    fn intervals_grow_to_their_limit() {
        let start = Instant::ZERO;
        let intervals = Intervals {
            first: ms(100),
            factor: 2.0,
            longest: ms(350),
        };
        let mut schedule = Schedule::new(intervals, start, None);
        let mut at = 0;
        for due in [100, 300, 650, 1000] {
            schedule.advance(start + ms(at), None);
            assert_eq!(schedule.wait(start), ms(due));
            at = due;
        }
    }

    #[test]
    fn polls_keep_to_the_grid() {
        let start = Instant::ZERO;
        let mut schedule = Schedule::new(every(ms(100)), start, None);
        assert_eq!(schedule.wait(start), ms(0));
        // (answered at, then due at)
        for (answered, due) in [(30, 100), (199, 200), (200, 300), (550, 600), (700, 800)] {
            schedule.advance(start + ms(answered), None);
            assert_eq!(schedule.wait(start), ms(due), "answered at {answered}");
        }
    }

    #[test]
    fn without_an_interval_polls_follow_at_once() {
        let start = Instant::ZERO;
        let mut schedule = Schedule::new(every(ms(0)), start, None);
        schedule.advance(start + ms(50), None);
        assert_eq!(schedule.wait(start + ms(50)), ms(0));
    }

    #[test]
    fn retry_after_is_a_lower_bound() {
        let start = Instant::ZERO;
        let mut schedule = Schedule::new(every(ms(1000)), start, Some(ms(300)));
        assert_eq!(schedule.wait(start), ms(300));
        schedule.advance(start + ms(300), Some(ms(500)));
        assert_eq!(schedule.wait(start), ms(1300));
        schedule.advance(start + ms(1300), Some(ms(5000)));
        assert_eq!(schedule.wait(start), ms(6300));
        schedule.advance(start + ms(6300), None);
        assert_eq!(schedule.wait(start), ms(7300));
        schedule.advance(start + ms(7300), Some(Duration::MAX));
        Schedule::new(every(Duration::MAX), start, None).advance(start, Some(Duration::MAX));
    }
}
