//! URL templates: `https://example.com/runs/{run_id}`.

use executor_runtime_plugin_common::url;
use executor_runtime_sdk::{RunError, http_types::Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

const RUN_ID: &str = "{run_id}";

/// How many characters of an unusable id are shown.
const SHOWN: usize = 40;

/// Everything but what RFC 3986 calls unreserved.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

#[derive(Clone, Debug)]
pub(crate) struct Template {
    key: &'static str,
    text: String,
}

impl Template {
    /// The template in the value of `key`; a URL once the run's id is in it.
    pub(crate) fn parse(key: &'static str, text: &str) -> Result<Self, RunError> {
        let template = Self {
            key,
            text: text.to_owned(),
        };
        template.example()?;
        Ok(template)
    }

    /// A URL such as it makes, before a run's id is known.
    pub(crate) fn example(&self) -> Result<Uri, RunError> {
        url(self.key, &self.with("1"))
    }

    pub(crate) fn key(&self) -> &'static str {
        self.key
    }

    pub(crate) fn needs_run_id(&self) -> bool {
        self.text.contains(RUN_ID)
    }

    /// The URL for a run's id, which never reaches beyond its place.
    ///
    /// # Errors
    /// `failed`: with what the backend gave as the run's id, there is no URL.
    pub(crate) fn fill(&self, run_id: &str) -> Result<Uri, RunError> {
        self.with(run_id).parse().map_err(|error| {
            RunError::failed(
                "invalid_run_id",
                format!(
                    "the run's id that the backend gave ({} bytes, '{}') can't be put into {}: {error}",
                    run_id.len(),
                    run_id.chars().take(SHOWN).collect::<String>().escape_debug(),
                    self.key,
                ),
            )
        })
    }

    fn with(&self, run_id: &str) -> String {
        let encoded = match run_id {
            "." => "%2E".to_owned(),
            ".." => "%2E%2E".to_owned(),
            other => utf8_percent_encode(other, ENCODED).to_string(),
        };
        self.text.replace(RUN_ID, &encoded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use executor_runtime_sdk::FailureStatus;

    #[test]
    fn the_id_stays_in_its_place() {
        let template = Template::parse("k", "http://h/runs/{run_id}?id={run_id}").unwrap();
        assert!(template.needs_run_id());
        for (id, encoded) in [
            ("a-Z_0.~", "a-Z_0.~"),
            ("../x?y#z", "..%2Fx%3Fy%23z"),
            ("..", "%2E%2E"),
            ("ä b", "%C3%A4%20b"),
            ("{run_id}", "%7Brun_id%7D"),
        ] {
            let expected = format!("http://h/runs/{encoded}?id={encoded}");
            assert_eq!(template.fill(id).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn an_id_that_makes_no_url_is_the_backends_fault() {
        let template = Template::parse("http.poll_url_template", "http://h/runs/{run_id}").unwrap();
        let error = template.fill(&"x".repeat(100_000)).unwrap_err();
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
        assert!(!Template::parse("k", "http://h/").unwrap().needs_run_id());
    }
}
