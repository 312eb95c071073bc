//! How far a run is, as its backend tells it.

use executor_runtime_plugin_common::{Paths, words_at};

/// A progress event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Progress {
    /// From 0 to 1, if it is known.
    pub(crate) fraction: Option<f64>,
    pub(crate) words: String,
}

impl Progress {
    /// Only the status is known.
    pub(crate) fn of(status: &str) -> Self {
        Self {
            fraction: None,
            words: status.to_owned(),
        }
    }

    /// What is at `path`: a number from 0 to 1 and `42%` are fractions, which go with the status; anything else is the
    /// message. None if nothing is there.
    pub(crate) fn at(path: &Paths, payload: &[u8], status: &str) -> Option<Self> {
        let words = words_at(path, payload)?;
        let number = |text: &str| text.trim().parse::<f64>().ok().filter(|n| n.is_finite());
        let fraction = match words.strip_suffix('%') {
            Some(percent) => number(percent).map(|percent| percent / 100.0),
            None => number(&words),
        };
        Some(match fraction.filter(|fraction| (0.0..=1.0).contains(fraction)) {
            Some(fraction) => Self {
                fraction: Some(fraction),
                words: status.to_owned(),
            },
            None => Self::of(&words),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_goes_with_the_status_and_words_stand_alone() {
        let path = Paths::parse("p").unwrap();
        let at = |json: &str| Progress::at(&path, json.as_bytes(), "running").map(|p| (p.fraction, p.words));
        let words = |words: &str| Some((None, words.to_owned()));
        let fraction = |fraction| Some((Some(fraction), "running".to_owned()));
        for (json, expected) in [
            (r#"{"p": 0.25}"#, fraction(0.25)),
            (r#"{"p": "42 %"}"#, fraction(0.42)),
            (r#"{"p": "0"}"#, fraction(0.0)),
            (r#"{"p": "3 of 7 steps"}"#, words("3 of 7 steps")),
            (r#"{"p": 17}"#, words("17")),
            (r#"{"p": "170%"}"#, words("170%")),
            (r#"{"p": "nan"}"#, words("nan")),
            (r#"{"p": {"step": 3}}"#, words(r#"{"step": 3}"#)),
            (r#"{"p": null}"#, None),
            (r#"{"p": ""}"#, None),
            ("{}", None),
            ("<html>", None),
        ] {
            assert_eq!(at(json), expected, "{json}");
        }
    }
}
