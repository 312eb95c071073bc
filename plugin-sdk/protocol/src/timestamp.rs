//! Points in time as RxP writes them.

use std::fmt;
use time::{OffsetDateTime, format_description::FormatItem, macros::format_description};

const MICROSECONDS_UTC: &[FormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");

/// An RFC 3339 date-time. It keeps the text it was given, so that a document passes through unchanged.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Timestamp(String);

impl Timestamp {
    /// The current time, in UTC with microseconds.
    pub fn now() -> Self {
        // The format has no component that a UTC date-time lacks.
        Self(
            OffsetDateTime::now_utc()
                .format(MICROSECONDS_UTC)
                .unwrap_or_default(),
        )
    }

    /// The RFC 3339 text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
