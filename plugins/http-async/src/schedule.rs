//! When the next poll is due.
//!
//! Polls lie on a grid that begins with the first one, so that the time an answer takes does not add up. A
//! poll that takes longer than the interval skips the points it missed. A backend that says `Retry-After` is
//! not asked before, and the grid begins anew there.

use executor_runtime_sdk::{
    Instant,
    http_types::{HeaderMap, HeaderValue, header},
};
use std::time::{Duration, SystemTime};

/// Longer than any run, and short enough to be added to any time.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    interval: Duration,
    due: Instant,
}

impl Schedule {
    /// The first poll is due now, or when the backend says.
    pub(crate) fn new(interval: Duration, now: Instant, retry_after: Option<Duration>) -> Self {
        Self {
            interval: interval.min(FOREVER),
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
    }
}

/// What `Retry-After` asks for (RFC 9110, section 10.2.3): seconds, or a date. A date is seen from the
/// server's own clock where it tells it, else from ours: `now`.
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than a number has: for ever.
        return Some(value.parse().map_or(FOREVER, Duration::from_secs));
    }
    let then = httpdate::parse_http_date(value).ok()?;
    let now = date(headers.get(header::DATE)).unwrap_or(now);
    Some(then.duration_since(now).unwrap_or_default())
}

fn date(value: Option<&HeaderValue>) -> Option<SystemTime> {
    httpdate::parse_http_date(value?.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn polls_keep_to_the_grid() {
        let start = Instant::ZERO;
        let mut schedule = Schedule::new(ms(100), start, None);
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
        let mut schedule = Schedule::new(ms(0), start, None);
        schedule.advance(start + ms(50), None);
        assert_eq!(schedule.wait(start + ms(50)), ms(0));
    }

    #[test]
    fn retry_after_is_a_lower_bound() {
        let start = Instant::ZERO;
        let mut schedule = Schedule::new(ms(1000), start, Some(ms(300)));
        assert_eq!(schedule.wait(start), ms(300));
        schedule.advance(start + ms(300), Some(ms(500)));
        assert_eq!(schedule.wait(start), ms(1300));
        schedule.advance(start + ms(1300), Some(ms(5000)));
        assert_eq!(schedule.wait(start), ms(6300));
        schedule.advance(start + ms(6300), None);
        assert_eq!(schedule.wait(start), ms(7300));
        schedule.advance(start + ms(7300), Some(Duration::MAX));
        Schedule::new(Duration::MAX, start, None).advance(start, Some(Duration::MAX));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let read = |value: &str, date: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", value.parse().unwrap());
            if let Some(date) = date {
                headers.insert("date", date.parse().unwrap());
            }
            retry_after(
                &headers,
                SystemTime::UNIX_EPOCH + Duration::from_secs(1_445_428_805),
            )
        };
        let noon = Some("Wed, 21 Oct 2015 12:00:00 GMT");
        for (value, seconds) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("99999999999999999999999", Some(FOREVER.as_secs())),
            ("Wed, 21 Oct 2015 12:00:07 GMT", Some(7)),
            ("Wednesday, 21-Oct-15 12:00:07 GMT", Some(7)),
            ("Wed Oct 21 12:00:07 2015", Some(7)),
            ("Wed, 21 Oct 2015 11:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("1.5", None),
            ("", None),
        ] {
            assert_eq!(read(value, noon), seconds.map(Duration::from_secs), "{value:?}");
        }
        // 12:00:05 by our own clock.
        assert_eq!(
            read("Wed, 21 Oct 2015 12:00:07 GMT", None),
            Some(Duration::from_secs(2))
        );
        assert_eq!(retry_after(&HeaderMap::new(), SystemTime::UNIX_EPOCH), None);
    }
}
