//! Durations and sizes as people write them: `90`, `1.5m`, `250ms`; `1048576`, `64MiB`, `1.5GB`.
//!
//! A plain number is seconds or bytes, so that what was written before units were read means the same. There may be a
//! space before the unit. Units of time: `ms`, `s`, `m` or `min`, `h`, `d`. Units of size: `B`, `kB`, `MB`, `GB`, `TB`
//! (powers of 1000), `KiB`, `MiB`, `GiB`, `TiB` (powers of 1024), case ignored.

use std::time::Duration;

const SECONDS: &[(&str, f64)] = &[
    ("", 1.0),
    ("s", 1.0),
    ("ms", 0.001),
    ("m", 60.0),
    ("min", 60.0),
    ("h", 3600.0),
    ("d", 86400.0),
];

const BYTES: &[(&str, u64)] = &[
    ("", 1),
    ("b", 1),
    ("kb", 1000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

/// Reads a duration, such as `30`, `30s`, `1.5m` or `250 ms`; none if the text is not one.
///
/// ```
/// use executor_runtime_protocol::parse_duration;
/// use std::time::Duration;
///
/// assert_eq!(parse_duration("1.5m"), Some(Duration::from_secs(90)));
/// assert_eq!(parse_duration("0.25"), Some(Duration::from_millis(250)));
/// assert_eq!(parse_duration("soon"), None);
/// ```
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text);
    let (_, seconds) = SECONDS.iter().find(|(name, _)| *name == unit)?;
    let number = decimal(number)?;
    // Milliseconds are exact as long as they are whole.
    let seconds = if unit == "ms" {
        number / 1000.0
    } else {
        number * seconds
    };
    Duration::try_from_secs_f64(seconds).ok()
}

/// Reads a number of bytes, such as `4096`, `64MiB` or `1.5 GB`; none if the text is not one, or not a whole number of
/// bytes.
///
/// ```
/// use executor_runtime_protocol::parse_bytes;
///
/// assert_eq!(parse_bytes("64MiB"), Some(64 << 20));
/// assert_eq!(parse_bytes("1.5 kB"), Some(1500));
/// assert_eq!(parse_bytes("0.5"), None);
/// ```
pub fn parse_bytes(text: &str) -> Option<u64> {
    let (number, unit) = split(text);
    let unit = unit.to_ascii_lowercase();
    let (_, bytes) = BYTES.iter().find(|(name, _)| *name == unit)?;
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(*bytes);
    }
    if !number.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    let exact = decimal(number)? * *bytes as f64;
    // Above 2^53 not every whole number can be told from its neighbours.
    let whole = exact.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&exact);
    whole.then_some(exact as u64)
}

/// The number, and the unit behind it.
fn split(text: &str) -> (&str, &str) {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    // An exponent ends in a digit, so its `e` stays with the number.
    (number.trim_end_matches(' '), &text[number.len()..])
}

/// A finite decimal number; none of the words that Rust also reads as one.
pub(crate) fn decimal(text: &str) -> Option<f64> {
    let digits = text
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E'));
    let number = digits.then(|| text.parse::<f64>().ok()).flatten()?;
    number.is_finite().then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, milliseconds) in [
            ("0", 0),
            ("30", 30_000),
            ("1e1", 10_000),
            ("0.5", 500),
            ("30s", 30_000),
            ("250ms", 250),
            ("1.5 m", 90_000),
            ("2min", 120_000),
            ("1h", 3_600_000),
            ("1d", 86_400_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Some(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
        for text in [
            "", "s", "-1", "-1s", "inf", "nan", "1x", "1 s ", "1M", "1e400", "1s2",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("0", 0),
            ("18446744073709551615", u64::MAX),
            ("5B", 5),
            ("64MiB", 64 << 20),
            ("64mib", 64 << 20),
            ("1.5KiB", 1536),
            ("2 GB", 2_000_000_000),
        ] {
            assert_eq!(parse_bytes(text), Some(bytes), "{text}");
        }
        for text in [
            "",
            "MiB",
            "-1",
            "0.5",
            "1.5",
            "1K",
            "1M",
            "0.3B",
            "99999999TiB",
            "1e6",
            "1e3kB",
        ] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
    }
}
