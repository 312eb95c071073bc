//! Points in time as RxP writes them.

use crate::problem::quoted;
use serde::{Deserialize, Deserializer, de::Error as _};
use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};
use time::OffsetDateTime;

/// Microseconds from 1970 to the first and to the last point in time of a year with four digits.
const FIRST_MICROS: i64 = -62_167_219_200_000_000;
const LAST_MICROS: i64 = 253_402_300_799_999_999;

/// Of a date-time with microseconds in UTC.
const LENGTH: usize = "2026-05-06T10:00:00.000000Z".len();

/// An RFC 3339 date-time. It keeps the text it was given, so that a document passes through unchanged.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Timestamp(String);

/// A text that is not an RFC 3339 date-time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found} is not an RFC 3339 date-time, such as \"2026-05-06T10:00:00Z\"")]
pub struct InvalidTimestamp {
    found: String,
}

impl Timestamp {
    /// The current time, in UTC with microseconds.
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// The date-time that `text` writes, in any offset and precision that RFC 3339 allows. A second of 60
    /// is accepted only where a leap second can be: at 23:59:60 UTC.
    ///
    /// # Errors
    ///
    /// If `text` is anything else, a date that does not exist included.
    pub fn parse(text: &str) -> Result<Self, InvalidTimestamp> {
        if is_date_time(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidTimestamp { found: quoted(text) })
        }
    }

    /// Whether this point in time is before `other`, whatever their offsets are.
    pub fn is_before(&self, other: &Self) -> bool {
        // Every timestamp was read once, or is one that was written here.
        match (
            read_date_time(self.0.as_bytes()),
            read_date_time(other.0.as_bytes()),
        ) {
            (Some(this), Some(other)) => this < other,
            _ => false,
        }
    }

    /// The point in time this many microseconds after 1970, in UTC with microseconds. What no year of four digits has
    /// becomes the first or the last that one has.
    pub fn from_unix_micros(micros: i64) -> Self {
        let within = micros.clamp(FIRST_MICROS, LAST_MICROS);
        let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(within) * 1000);
        let time = time.unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (year, month, day) = time.to_calendar_date();
        let (hour, minute, second, micros) = time.to_hms_micro();
        // Of the numbers and what stands before each. The formatter of `time` takes several times as long.
        let year = u32::try_from(year).unwrap_or_default();
        let mut text = String::with_capacity(LENGTH);
        for (before, number, digits) in [
            ("", year, 4),
            ("-", u8::from(month).into(), 2),
            ("-", day.into(), 2),
            ("T", hour.into(), 2),
            (":", minute.into(), 2),
            (":", second.into(), 2),
            (".", micros, 6),
        ] {
            text.push_str(before);
            push_digits(&mut text, number, digits);
        }
        text.push('Z');
        Self(text)
    }

    /// Microseconds after 1970; what is finer is cut off.
    pub fn unix_micros(&self) -> i64 {
        // Every timestamp was read once, or is one that was written here.
        let (day, second, fraction) = read_date_time(self.0.as_bytes()).unwrap_or_default();
        let digits = fraction.iter().chain(std::iter::repeat(&b'0')).take(6);
        let micros = digits.fold(0, |micros, digit| micros * 10 + i64::from(digit - b'0'));
        // Days are counted from 1.
        let days = i64::from(day - days_before(1970) - 1);
        (days * 24 * 60 * 60 + i64::from(second)) * 1_000_000 + micros
    }

    /// The RFC 3339 text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<SystemTime> for Timestamp {
    /// In UTC with microseconds, as [`Timestamp::from_unix_micros`].
    fn from(time: SystemTime) -> Self {
        let micros = match time.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
            Err(before) => {
                // Rounded down, as after 1970.
                let micros = before.duration().as_nanos().div_ceil(1000);
                i64::try_from(micros).map_or(i64::MIN, |micros| -micros)
            }
        };
        Self::from_unix_micros(micros)
    }
}

/// Writes the last `digits` digits of a number.
fn push_digits(text: &mut String, number: u32, digits: u32) {
    for place in (0..digits).rev() {
        let digit = number / 10_u32.pow(place) % 10;
        text.push(char::from_digit(digit, 10).unwrap_or('0'));
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// The grammar of RFC 3339, section 5.6, with the restrictions of 5.7. By hand, because general date
/// parsers take a space for the `T`, or refuse leap seconds or offsets of `-00:00`.
fn is_date_time(text: &str) -> bool {
    read_date_time(text.as_bytes()).is_some()
}

/// A point in time: days and seconds of the day in UTC, and the digits of the fraction without zeros at the end.
type Point<'a> = (i32, i32, &'a [u8]);

fn read_date_time(mut text: &[u8]) -> Option<Point<'_>> {
    let text = &mut text;
    let year = number(text, 4, 0..=9999)?;
    literal(text, b"-")?;
    let month = number(text, 2, 1..=12)?;
    literal(text, b"-")?;
    let day = number(text, 2, 1..=days_in(month, year))?;
    literal(text, b"Tt")?;
    let hour = number(text, 2, 0..=23)?;
    literal(text, b":")?;
    let minute = number(text, 2, 0..=59)?;
    literal(text, b":")?;
    let second = number(text, 2, 0..=60)?;
    let mut fraction: &[u8] = b"";
    if literal(text, b".").is_some() {
        let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        (fraction, *text) = text.split_at(digits);
        if fraction.is_empty() {
            return None;
        }
        while let Some((b'0', shorter)) = fraction.split_last() {
            fraction = shorter;
        }
    }
    let offset = match literal(text, b"Zz+-")? {
        b'+' => offset_minutes(text)?,
        b'-' => -offset_minutes(text)?,
        _ => 0,
    };
    let minutes = hour * 60 + minute - offset;
    let (days, minute_of_day) = (minutes.div_euclid(MINUTES), minutes.rem_euclid(MINUTES));
    let day = days_before(year) + (1..month).map(|month| days_in(month, year)).sum::<i32>() + day + days;
    (text.is_empty() && (second < 60 || minute_of_day == MINUTES - 1)).then_some((
        day,
        minute_of_day * 60 + second,
        fraction,
    ))
}

/// Minutes of a day.
const MINUTES: i32 = 24 * 60;

/// Days from the year 0 to the beginning of `year`.
fn days_before(year: i32) -> i32 {
    let leap_years = |until: i32| until / 4 - until / 100 + until / 400;
    // The year 0 is one itself.
    let leap_days = if year == 0 { 0 } else { leap_years(year - 1) + 1 };
    year * 365 + leap_days
}

fn offset_minutes(text: &mut &[u8]) -> Option<i32> {
    let hours = number(text, 2, 0..=23)?;
    literal(text, b":")?;
    Some(hours * 60 + number(text, 2, 0..=59)?)
}

fn number(text: &mut &[u8], digits: usize, range: std::ops::RangeInclusive<i32>) -> Option<i32> {
    let (head, rest) = text.split_at_checked(digits)?;
    let value = head.iter().try_fold(0, |value, byte| {
        byte.is_ascii_digit().then(|| value * 10 + i32::from(byte - b'0'))
    })?;
    *text = rest;
    range.contains(&value).then_some(value)
}

fn literal(text: &mut &[u8], any_of: &[u8]) -> Option<u8> {
    let (first, rest) = text.split_first()?;
    any_of.contains(first).then(|| {
        *text = rest;
        *first
    })
}

fn days_in(month: i32, year: i32) -> i32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::Timestamp;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn now_is_utc_with_microseconds() {
        let now = Timestamp::now();
        assert_eq!(now.as_str().len(), "2026-05-06T10:00:00.000000Z".len());
        assert!(now.as_str().ends_with('Z'));
        assert_eq!(Timestamp::parse(now.as_str()), Ok(now));
    }

    #[test]
    fn microseconds_and_text_are_the_same_point_in_time() {
        for (text, micros) in [
            ("1970-01-01T00:00:00.000000Z", 0),
            ("1969-12-31T23:59:59.999999Z", -1),
            ("2026-05-06T10:00:00.123456Z", 1_778_061_600_123_456),
            ("0000-01-01T00:00:00.000000Z", super::FIRST_MICROS),
            ("9999-12-31T23:59:59.999999Z", super::LAST_MICROS),
        ] {
            assert_eq!(Timestamp::parse(text).unwrap().unix_micros(), micros, "{text}");
            assert_eq!(Timestamp::from_unix_micros(micros).as_str(), text);
            let since = Duration::from_micros(micros.unsigned_abs());
            let time = match micros {
                0.. => UNIX_EPOCH + since,
                _ => UNIX_EPOCH - since,
            };
            assert_eq!(Timestamp::from(time).as_str(), text);
        }
        let just_before = UNIX_EPOCH - Duration::from_nanos(1);
        assert_eq!(Timestamp::from(just_before).unix_micros(), -1);
        let elsewhere = Timestamp::parse("2026-05-06T12:00:00.1234567+02:00").unwrap();
        assert_eq!(elsewhere.unix_micros(), 1_778_061_600_123_456);
        assert_eq!(
            Timestamp::from_unix_micros(i64::MAX).unix_micros(),
            super::LAST_MICROS
        );
    }

    #[test]
    fn every_form_of_rfc_3339_is_kept_as_written() {
        for text in [
            "2026-05-06T10:00:00Z",
            "2026-05-06t10:00:00z",
            "2026-05-06T10:00:00.123456789012Z",
            "2026-05-06T10:00:00+23:59",
            "2026-05-06T10:00:00-00:00",
            "2024-02-29T00:00:00Z",
            "2000-02-29T00:00:00Z",
            "0000-01-01T00:00:00Z",
            "2016-12-31T23:59:60Z",
            "1990-12-31T15:59:60-08:00",
            "2017-01-01T08:59:60.5+09:00",
        ] {
            assert_eq!(Timestamp::parse(text).map(|t| t.to_string()), Ok(text.into()));
        }
    }

    #[test]
    fn points_in_time_are_ordered_whatever_their_offsets() {
        let ordered = [
            "0000-01-01T00:00:00+00:01",
            "0000-01-01T00:00:00Z",
            "0000-12-31T23:59:59Z",
            "0001-01-01T00:00:00Z",
            "1999-12-31T23:59:59.999Z",
            "2000-01-01T00:00:00Z",
            "2000-02-29T00:00:00Z",
            "2000-03-01T00:00:00Z",
            "2000-12-31T00:00:00Z",
            "2001-01-01T00:00:00+23:59",
            "2016-12-31T23:59:59.9Z",
            "2016-12-31T23:59:60Z",
            "2017-01-01T00:00:00Z",
            "2026-05-06T10:00:00.05Z",
            "2026-05-06T12:00:00.1+02:00",
            "2026-05-06T10:00:00.11Z",
            "2026-05-06T09:00:01-01:00",
        ]
        .map(|text| Timestamp::parse(text).unwrap());
        for (at, one) in ordered.iter().enumerate() {
            for (beside, other) in ordered.iter().enumerate() {
                assert_eq!(one.is_before(other), at < beside, "{one} {other}");
            }
        }
        let same = ["2026-05-06T10:00:00.10Z", "2026-05-06t11:00:00.1+01:00"];
        let [one, other] = same.map(|text| Timestamp::parse(text).unwrap());
        assert!(!one.is_before(&other) && !other.is_before(&one));
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "2026-05-06",
            "2026-05-06T10:00:00",
            "2026-05-06 10:00:00Z",
            "2026-05-06T10:00Z",
            "2026-05-06T10:00:00.Z",
            "2026-05-06T10:00:00,5Z",
            "2026-05-06T10:00:00+0200",
            "2026-05-06T10:00:00+02",
            "2026-05-06T10:00:00+24:00",
            "2026-05-06T10:00:00Z ",
            " 2026-05-06T10:00:00Z",
            "2026-05-06T24:00:00Z",
            "2026-05-06T10:60:00Z",
            "2026-05-06T10:00:61Z",
            "2026-05-06T10:00:60Z",
            "2026-13-06T10:00:00Z",
            "2026-00-06T10:00:00Z",
            "2026-04-31T10:00:00Z",
            "2025-02-29T10:00:00Z",
            "1900-02-29T10:00:00Z",
            "26-05-06T10:00:00Z",
            "12026-05-06T10:00:00Z",
            "-026-05-06T10:00:00Z",
            "2026-5-6T10:00:00Z",
            "２０２６-05-06T10:00:00Z",
            "yesterday",
        ] {
            assert!(Timestamp::parse(text).is_err(), "{text}");
        }
    }
}
