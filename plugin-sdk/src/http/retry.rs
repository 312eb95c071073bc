//! Trying a request again.

use super::{BodyReader, HttpError};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use std::time::{Duration, SystemTime};

/// When a request is tried again, for [`Client::retry`](super::Client::retry).
///
/// Tried again is what may go better the next time: after an error that is [transient](HttpError::is_transient), and
/// after an answer with status 408, 425, 429, 500, 502, 503 or 504; with a method that may be repeated without doing it
/// twice (GET, HEAD, OPTIONS, TRACE, PUT, DELETE), and a body that is not a [reader](super::Body::reader).
///
/// The wait before the next attempt doubles each time, and up to half of it is left out, so that many clients do not come
/// back at once. An answer's `Retry-After` is kept to; if it asks for more than [`longest_wait`](Self::longest_wait), that
/// answer is returned. So it is if the run has no time left for another attempt. A request to stop ends the wait at once,
/// and after it nothing is tried again, with [`after_stop`](super::Client::after_stop) either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    times: u32,
    first_wait: Duration,
    longest_wait: Duration,
    any_method: bool,
}

impl Retry {
    /// At most `times` more attempts, after half a second at first, and after a minute at most.
    pub const fn times(times: u32) -> Self {
        Self {
            times,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(60),
            any_method: false,
        }
    }

    /// With another wait before the second attempt.
    #[must_use]
    pub const fn first_wait(mut self, time: Duration) -> Self {
        self.first_wait = time;
        self
    }

    /// With another limit on each wait.
    #[must_use]
    pub const fn longest_wait(mut self, time: Duration) -> Self {
        self.longest_wait = time;
        self
    }

    /// Whatever the method: for a backend that recognises a request that it has seen before, by an idempotency key for
    /// example.
    #[must_use]
    pub const fn any_method(mut self) -> Self {
        self.any_method = true;
        self
    }

    pub(super) fn repeats(&self, method: &Method) -> bool {
        self.any_method || method.is_idempotent()
    }

    /// How long to wait before the next attempt, after so many retries; None if there is to be none. `share` of the wait,
    /// 0 to 1, says how much of what may be left out is.
    pub(super) fn wait(
        &self,
        retries: u32,
        answer: &Result<Response<BodyReader>, HttpError>,
        now: SystemTime,
        share: f64,
    ) -> Option<Duration> {
        if retries >= self.times {
            return None;
        }
        let asked = match answer {
            Ok(answer) if may_pass(answer.status()) => retry_after(answer.headers(), now).unwrap_or_default(),
            Err(error) if error.is_transient() => Duration::ZERO,
            _ => return None,
        };
        if asked > self.longest_wait {
            return None;
        }
        let doubled = self
            .first_wait
            .saturating_mul(1_u32.checked_shl(retries).unwrap_or(u32::MAX));
        let backoff = doubled.min(self.longest_wait).mul_f64(1.0 - share / 2.0);
        Some(backoff.max(asked))
    }
}

/// Whether the server may answer otherwise the next time.
fn may_pass(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502..=504)
}

/// What `Retry-After` asks for (RFC 9110, section 10.2.3): seconds, or a date. A date is seen from the server's own clock
/// where it tells it (`Date`), else from ours: `now`.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than a number has: for ever.
        return Some(value.parse().map_or(Duration::MAX, Duration::from_secs));
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

    fn refused() -> Result<Response<BodyReader>, HttpError> {
        Err(HttpError::Refused { host: "h".to_owned() })
    }

    #[test]
    fn the_wait_doubles_up_to_its_limit() {
        let retry = Retry::times(40).longest_wait(Duration::from_secs(5));
        let waits = |share: f64| {
            [0, 1, 2, 3, 4, 39].map(|retries| {
                let wait = retry.wait(retries, &refused(), SystemTime::UNIX_EPOCH, share);
                wait.expect("it is tried again").as_millis()
            })
        };
        assert_eq!(waits(0.0), [500, 1000, 2000, 4000, 5000, 5000]);
        assert_eq!(waits(1.0), [250, 500, 1000, 2000, 2500, 2500]);
        assert_eq!(retry.wait(40, &refused(), SystemTime::UNIX_EPOCH, 0.0), None);
        let denied = Err(HttpError::Denied { host: "h".to_owned() });
        assert_eq!(retry.wait(0, &denied, SystemTime::UNIX_EPOCH, 0.0), None);
    }

    #[test]
    fn what_can_not_be_repeated_is_repeated_only_if_asked() {
        let retry = Retry::times(1);
        for (method, repeated) in [
            (Method::GET, true),
            (Method::HEAD, true),
            (Method::PUT, true),
            (Method::DELETE, true),
            (Method::POST, false),
            (Method::PATCH, false),
        ] {
            assert_eq!(retry.repeats(&method), repeated, "{method}");
            assert!(retry.any_method().repeats(&method), "{method}");
        }
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
        for (value, expected) in [
            ("0", Some(Duration::ZERO)),
            (" 120 ", Some(Duration::from_secs(120))),
            ("99999999999999999999999", Some(Duration::MAX)),
            ("Wed, 21 Oct 2015 12:00:07 GMT", Some(Duration::from_secs(7))),
            ("Wednesday, 21-Oct-15 12:00:07 GMT", Some(Duration::from_secs(7))),
            ("Wed Oct 21 12:00:07 2015", Some(Duration::from_secs(7))),
            ("Wed, 21 Oct 2015 11:00:00 GMT", Some(Duration::from_secs(0))),
            ("soon", None),
            ("-1", None),
            ("1.5", None),
            ("", None),
        ] {
            assert_eq!(read(value, noon), expected, "{value:?}");
        }
        // 12:00:05 by our own clock.
        assert_eq!(
            read("Wed, 21 Oct 2015 12:00:07 GMT", None),
            Some(Duration::from_secs(2))
        );
        assert_eq!(retry_after(&HeaderMap::new(), SystemTime::UNIX_EPOCH), None);
    }
}
