//! Whether the text of a metadata value is what its key asks for.

use super::{MetadataKey, ValueType, url};
use crate::{
    problem::quoted,
    units::{decimal, parse_duration},
};
use std::fmt::Write as _;

impl MetadataKey {
    /// Checks a value. The error is what was found; what is expected is [`MetadataKey::expected`].
    pub(crate) fn check(&self, text: &str) -> Result<(), String> {
        let good = match self.value_type {
            ValueType::String => self.allows(text),
            ValueType::Url => {
                return url::parse(text, &self.placeholders).map(drop);
            }
            ValueType::Integer => text.parse::<i64>().is_ok_and(|n| self.in_range(n as f64)),
            ValueType::Number => decimal(text).is_some_and(|n| self.in_range(n)),
            ValueType::Duration => {
                parse_duration(text).is_some_and(|duration| self.in_range(duration.as_secs_f64()))
            }
            ValueType::Boolean => matches!(text, "true" | "false"),
            ValueType::Json => {
                return serde_json::from_str::<serde::de::IgnoredAny>(text)
                    .map(drop)
                    .map_err(|error| format!("text that is not JSON ({error})"));
            }
            ValueType::List => items(text).next().is_some() && items(text).all(|item| self.allows(item)),
        };
        if good { Ok(()) } else { Err(quoted(text)) }
    }

    /// What a value has to be, for messages.
    pub(crate) fn expected(&self) -> String {
        let mut text = match self.value_type {
            ValueType::String if self.one_of.is_empty() => "a string",
            ValueType::String => "one of",
            ValueType::Url => "an absolute http or https URL",
            ValueType::Integer => "an integer",
            ValueType::Number => "a number",
            ValueType::Duration => "a number of seconds",
            ValueType::Boolean => "true or false",
            ValueType::Json => "JSON text",
            ValueType::List if self.one_of.is_empty() => "a comma-separated list with at least one item",
            ValueType::List => "a comma-separated list of",
        }
        .to_owned();
        let mut separator = " ";
        for value in &self.one_of {
            let _ = write!(text, "{separator}{value:?}");
            separator = ", ";
        }
        let least = (self.value_type == ValueType::Duration).then_some(0.0);
        let range = match (self.min.or(least), self.max) {
            (Some(min), Some(max)) => format!(" from {min} to {max}"),
            (Some(min), None) => format!(" of at least {min}"),
            (None, Some(max)) => format!(" of at most {max}"),
            (None, None) => String::new(),
        };
        text.push_str(&range);
        if !self.placeholders.is_empty() {
            let names = self.placeholders.join("}, {");
            let _ = write!(text, ", in which {{{names}}} may stand after the host");
        }
        text
    }

    fn allows(&self, text: &str) -> bool {
        self.one_of.is_empty() || self.one_of.iter().any(|value| value == text)
    }

    fn in_range(&self, number: f64) -> bool {
        self.min.is_none_or(|min| number >= min) && self.max.is_none_or(|max| number <= max)
    }
}

/// The items of a comma-separated list.
fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(value_type: ValueType) -> MetadataKey {
        MetadataKey {
            value_type,
            required: false,
            default: None,
            one_of: Vec::new(),
            min: None,
            max: None,
            placeholders: Vec::new(),
            help: "-".into(),
        }
    }

    #[test]
    fn each_type_takes_its_values_and_no_others() {
        let cases: [(ValueType, &[&str], &[&str]); 8] = [
            (ValueType::String, &["", "x", "ä\n"], &[]),
            (ValueType::Url, &["http://h/"], &["", "h", "http://h/{run_id}"]),
            (
                ValueType::Integer,
                &["0", "-5", "9223372036854775807"],
                &["", "1.0", "1e3", " 1", "9223372036854775808", "0x1"],
            ),
            (
                ValueType::Number,
                &["0", "-1.5", "1e3", "2."],
                &["", "nan", "inf", "-infinity", "1e999", "1,5", " 1", "1_000"],
            ),
            (
                ValueType::Duration,
                &["0", "2.0", "0.001", "3600", "2s", "1.5m"],
                &["", "-1", "-0.1", "2x", "1e300", "nan"],
            ),
            (
                ValueType::Boolean,
                &["true", "false"],
                &["", "True", "yes", "1", " true"],
            ),
            (
                ValueType::Json,
                &["null", "{\"a\": [1]}", " 1 "],
                &["", "{", "{} {}", "a"],
            ),
            (
                ValueType::List,
                &["a", "a,b", " a , b ", "a,,b,"],
                &["", " ", ",", " , "],
            ),
        ];
        for (value_type, good, bad) in cases {
            let key = key(value_type);
            for text in good {
                assert_eq!(key.check(text), Ok(()), "{value_type:?} {text:?}");
            }
            for text in bad {
                assert!(key.check(text).is_err(), "{value_type:?} {text:?}");
            }
        }
    }

    #[test]
    fn bounds_and_choices_hold() {
        let bounded = MetadataKey {
            min: Some(0.0),
            max: Some(10.0),
            ..key(ValueType::Integer)
        };
        assert_eq!(bounded.check("0"), Ok(()));
        assert_eq!(bounded.check("10"), Ok(()));
        assert_eq!(bounded.check("11"), Err("\"11\"".into()));
        assert_eq!(bounded.check("-1"), Err("\"-1\"".into()));
        assert_eq!(bounded.expected(), "an integer from 0 to 10");

        let chosen = MetadataKey {
            one_of: vec!["json".into(), "form".into()],
            ..key(ValueType::String)
        };
        assert_eq!(chosen.check("form"), Ok(()));
        assert_eq!(chosen.check("Form"), Err("\"Form\"".into()));
        assert_eq!(chosen.expected(), "one of \"json\", \"form\"");

        let list = MetadataKey {
            value_type: ValueType::List,
            ..chosen
        };
        assert_eq!(list.check("form, json"), Ok(()));
        assert_eq!(list.check("form, xml"), Err("\"form, xml\"".into()));
        assert_eq!(list.expected(), "a comma-separated list of \"json\", \"form\"");
    }

    #[test]
    fn a_template_says_what_may_stand_in_it() {
        let template = MetadataKey {
            placeholders: vec!["run_id".into()],
            ..key(ValueType::Url)
        };
        assert_eq!(template.check("http://h/{run_id}"), Ok(()));
        assert_eq!(
            template.expected(),
            "an absolute http or https URL, in which {run_id} may stand after the host"
        );
    }
}
