//! URL templates: `https://example.com/runs/{run_id}?after={cursor}`.

use crate::url;
use executor_runtime_sdk::{RunError, http_types::Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::fmt::Display;

const RUN_ID: &str = "{run_id}";
const CURSOR: &str = "{cursor}";

/// How many characters of an unusable id are shown.
const SHOWN: usize = 40;

/// Everything but what RFC 3986 calls unreserved.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A URL in which `{run_id}` and `{cursor}` stand for what the backend will say.
#[derive(Clone, Debug)]
pub struct Template {
    key: &'static str,
    text: String,
}

/// What a template is filled with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Values<'a> {
    /// The run's id at the backend.
    pub run_id: Option<&'a str>,
    /// Where to go on in what it tells.
    pub cursor: Option<&'a str>,
}

impl<'a> Values<'a> {
    /// Only a run's id, or not even that.
    pub fn run_id(run_id: Option<&'a str>) -> Self {
        Self { run_id, cursor: None }
    }
}

impl Template {
    /// The template in the value of `key`; a URL once its values are in it.
    ///
    /// # Errors
    /// `rejected`.
    pub fn parse(key: &'static str, text: &str) -> Result<Self, RunError> {
        let template = Self {
            key,
            text: text.to_owned(),
        };
        template.example()?;
        Ok(template)
    }

    /// A URL such as it makes, before its values are known.
    ///
    /// # Errors
    /// `rejected`.
    pub fn example(&self) -> Result<Uri, RunError> {
        url(self.key, &self.with("1", "1"))
    }

    /// The metadata key that it comes from.
    pub fn key(&self) -> &'static str {
        self.key
    }

    /// Whether the run's id is part of it.
    pub fn needs_run_id(&self) -> bool {
        self.text.contains(RUN_ID)
    }

    /// Whether a cursor is part of it.
    pub fn needs_cursor(&self) -> bool {
        self.text.contains(CURSOR)
    }

    /// Whether all that is part of it is there.
    pub fn can_be_filled(&self, values: Values<'_>) -> bool {
        let has_run_id = values.run_id.is_some_and(|id| !id.is_empty());
        (has_run_id || !self.needs_run_id()) && (values.cursor.is_some() || !self.needs_cursor())
    }

    /// The URL with these values, none of which reaches beyond its place.
    ///
    /// # Errors
    /// `failed`: with what the backend gave, there is no URL.
    pub fn fill(&self, values: Values<'_>) -> Result<Uri, RunError> {
        let run_id = values.run_id.unwrap_or_default();
        let cursor = values.cursor.unwrap_or_default();
        let bad_run_id =
            |why: &dyn Display| RunError::failed("invalid_run_id", self.unusable("run's id", run_id, why));
        let bad_cursor =
            |why: &dyn Display| RunError::failed("invalid_cursor", self.unusable("cursor", cursor, why));
        if self.needs_run_id() && matches!(run_id, "" | "." | "..") {
            return Err(bad_run_id(&"the URL would lead elsewhere"));
        }
        if self.needs_cursor() && matches!(cursor, "." | "..") {
            return Err(bad_cursor(&"the URL would lead elsewhere"));
        }
        self.with(run_id, cursor).parse().map_err(|error| {
            match self.needs_cursor() && cursor.len() > run_id.len() {
                true => bad_cursor(&error),
                false => bad_run_id(&error),
            }
        })
    }

    /// Why what the backend gave makes no URL.
    fn unusable(&self, what: &str, value: &str, why: &dyn Display) -> String {
        format!(
            "the {what} that the backend gave ({} bytes, '{}') can't be put into {}: {why}",
            value.len(),
            value.chars().take(SHOWN).collect::<String>().escape_debug(),
            self.key,
        )
    }

    fn with(&self, run_id: &str, cursor: &str) -> String {
        // No brace of a value is left after encoding.
        self.text
            .replace(RUN_ID, &encoded(run_id))
            .replace(CURSOR, &encoded(cursor))
    }
}

fn encoded(value: &str) -> String {
    utf8_percent_encode(value, ENCODED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use executor_runtime_sdk::FailureStatus;

    fn run(id: &str) -> Values<'_> {
        Values::run_id(Some(id))
    }

    #[test]
    fn a_value_stays_in_its_place() {
        let template = Template::parse("k", "http://h/runs/{run_id}?id={run_id}&after={cursor}").unwrap();
        assert!(template.needs_run_id() && template.needs_cursor());
        for (id, encoded) in [
            ("a-Z_0.~", "a-Z_0.~"),
            ("../x?y#z", "..%2Fx%3Fy%23z"),
            ("ä b", "%C3%A4%20b"),
            ("{run_id}", "%7Brun_id%7D"),
            ("{cursor}", "%7Bcursor%7D"),
        ] {
            let expected = format!("http://h/runs/{encoded}?id={encoded}&after={encoded}");
            let values = Values {
                run_id: Some(id),
                cursor: Some(id),
            };
            assert_eq!(template.fill(values).unwrap().to_string(), expected);
        }
        assert!(!template.can_be_filled(run("1")));
    }

    /// RFC 3986, section 6.2.2: `%2E%2E` in a path means what `..` means.
    #[test]
    fn a_run_without_a_name_of_its_own_is_not_asked_for() {
        let template = Template::parse("http.cancel_url_template", "http://h/runs/{run_id}").unwrap();
        for id in ["", ".", ".."] {
            assert_eq!(
                template.fill(run(id)).unwrap_err().kind(),
                "invalid_run_id",
                "{id}"
            );
        }
        assert!(!template.can_be_filled(run("")));
        assert!(template.fill(run("...")).is_ok());
    }

    #[test]
    fn a_value_that_makes_no_url_is_the_backends_fault() {
        let template = Template::parse("http.poll_url_template", "http://h/runs/{run_id}").unwrap();
        let error = template.fill(run(&"x".repeat(100_000))).unwrap_err();
        assert_eq!(
            (error.status(), error.kind()),
            (FailureStatus::Failed, "invalid_run_id")
        );
        let shown = format!(
            "the run's id that the backend gave (100000 bytes, '{}') can't be put into http.poll_url_template: ",
            "x".repeat(40)
        );
        assert!(error.summary().starts_with(&shown), "{error}");
    }

    #[test]
    fn a_template_is_a_url() {
        let error = Template::parse("http.poll_url_template", "/runs/{run_id}").unwrap_err();
        assert!(error.summary().contains("'http.poll_url_template'"), "{error}");
        let plain = Template::parse("k", "http://h/").unwrap();
        assert!(!plain.needs_run_id() && plain.can_be_filled(Values::default()));
    }
}
