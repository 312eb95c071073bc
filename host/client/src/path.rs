//! Paths and queries. Ids are any text: nothing in one is a part of the path, and none is `.` or `..`.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything else is encoded. Dots are, too: `%2E%2E` is a name where `..` would be a way.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');

/// A path below `/v1`, with a query.
#[derive(Clone, Debug)]
pub(crate) struct Target(String);

impl Target {
    /// The path of these segments.
    pub(crate) fn new(segments: &[&str]) -> Self {
        let mut path = "/v1".to_owned();
        for segment in segments {
            path.push('/');
            path.extend(utf8_percent_encode(segment, KEPT));
        }
        Self(path)
    }

    /// The same with a parameter more.
    pub(crate) fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.0.push(if self.0.contains('?') { '&' } else { '?' });
        self.0.push_str(name);
        self.0.push('=');
        self.0.extend(utf8_percent_encode(&value.to_string(), KEPT));
        self
    }

    /// The same with a parameter more, if there is a value for it.
    pub(crate) fn with_some(self, name: &str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_one_segment_whatever_it_is() {
        for (id, segment) in [
            ("build-1_2~x", "build-1_2~x"),
            ("..", "%2E%2E"),
            ("../x", "%2E%2E%2Fx"),
            ("a/b?c#d", "a%2Fb%3Fc%23d"),
            ("%2F", "%252F"),
            ("ü \n", "%C3%BC%20%0A"),
        ] {
            assert_eq!(
                Target::new(&["runs", id, "result"]).as_str(),
                format!("/v1/runs/{segment}/result")
            );
        }
    }

    #[test]
    fn values_are_encoded_and_those_that_are_missing_are_left_out() {
        let target = Target::new(&["runs"])
            .with_some("status", None::<&str>)
            .with("since", "2026-05-06T10:00:00+02:00")
            .with("limit", 5);
        assert_eq!(
            target.as_str(),
            "/v1/runs?since=2026-05-06T10%3A00%3A00%2B02%3A00&limit=5"
        );
    }
}
