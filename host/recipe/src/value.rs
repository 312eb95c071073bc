//! What placeholders stand for in one invocation.

use crate::{
    json, shown,
    template::{Field, Form, Name, Placeholder},
};
use executor_runtime_protocol::{
    PluginDescriptor, RuntimeInvocation, ValueType, holds_secret, parse_duration,
};
use serde::de::IgnoredAny;
use serde_json::Value as Json;
use std::{borrow::Cow, collections::BTreeMap};

/// The values of one invocation.
pub(crate) struct Values<'a> {
    pub(crate) invocation: &'a RuntimeInvocation,
    /// What is declared of the metadata.
    pub(crate) descriptor: &'a PluginDescriptor,
    /// The metadata, with defaults.
    pub(crate) metadata: &'a BTreeMap<String, String>,
    pub(crate) secrets: Secrets,
}

/// What stands for a value whose name says that it is secret, and for what is secret in another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Secrets {
    /// The value.
    Given,
    /// [`HIDDEN`].
    Hidden,
}

/// Stands for a secret that is not shown.
pub(crate) const HIDDEN: &str = "(hidden)";

/// One value.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    text: String,
    /// JSON text. It is kept as text, because a `Json` can't hold each number that JSON can write.
    json: String,
}

impl Value {
    fn string(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            json: Json::from(text).to_string(),
        }
    }

    fn both(json: &Json) -> Self {
        Self {
            text: json.to_string(),
            json: json.to_string(),
        }
    }

    /// In place of a secret: an object for one, text for anything else.
    fn hidden(secret: &Self) -> Self {
        match json::members(&secret.json) {
            Some(_) => Self::both(&serde_json::json!({ HIDDEN: HIDDEN })),
            None => Self::string(HIDDEN),
        }
    }

    fn without_secrets(&self) -> Self {
        Self {
            text: shown::without_secrets(&self.text),
            json: shown::without_secrets(&self.json),
        }
    }

    /// As it stands in text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// As it stands in JSON.
    pub(crate) fn json(&self) -> &str {
        &self.json
    }
}

impl Values<'_> {
    /// What a placeholder stands for; none where the invocation has no such value.
    pub(crate) fn get(&self, placeholder: &Placeholder) -> Option<Value> {
        let value = match &placeholder.name {
            Name::Field(field) => self.field(*field)?,
            Name::Environment(name) => Value::string(self.invocation.environment.get(name)?),
            Name::Metadata(key) => self.metadata(key)?,
        };
        let value = match self.secrets {
            Secrets::Given => value,
            Secrets::Hidden if self.is_secret(&placeholder.name) => return Some(Value::hidden(&value)),
            Secrets::Hidden => value.without_secrets(),
        };
        Some(match placeholder.form {
            Form::Plain => value,
            Form::Json => Value::string(&value.json),
            Form::Shell => Value::string(&match json::items(&value.json) {
                Some(items) => {
                    // What is no string is a word as it is written, such as a number.
                    let word = |item: String| serde_json::from_str(&item).unwrap_or(item);
                    let words: Vec<String> = items.into_iter().map(word).collect();
                    command_line(words.iter().map(String::as_str))
                }
                None => quoted(&value.text).into_owned(),
            }),
        })
    }

    /// Whether the name of a value says that it is secret. Of the environment as a whole, its members say it; of a URL, its
    /// parts; and a number of tokens is none.
    fn is_secret(&self, name: &Name) -> bool {
        match name {
            Name::Field(_) => false,
            Name::Environment(name) => holds_secret(name),
            Name::Metadata(key) => {
                let value_type = self.descriptor.metadata.get(key).map(|spec| spec.value_type);
                let is_count = matches!(value_type, Some(ValueType::Integer | ValueType::Number))
                    && key.ends_with("_tokens");
                names_secret(key) && !is_count && value_type != Some(ValueType::Url)
            }
        }
    }

    fn field(&self, field: Field) -> Option<Value> {
        let invocation = self.invocation;
        Some(match field {
            Field::InvocationId => Value::string(&invocation.invocation_id),
            Field::RuntimeName => Value::string(&invocation.runtime_name),
            Field::WorkingDirectory => Value::string(&invocation.working_directory),
            Field::TimeoutSeconds => Value::both(&invocation.timeout_seconds?.get().into()),
            Field::Environment => Value::both(&serde_json::json!(invocation.environment)),
            Field::Command => Value {
                text: command_line(invocation.command.iter().map(String::as_str)),
                json: serde_json::json!(invocation.command).to_string(),
            },
        })
    }

    fn metadata(&self, key: &str) -> Option<Value> {
        let text = self.metadata.get(key)?;
        let spec = self.descriptor.metadata.get(key)?;
        let json = match spec.value_type {
            ValueType::String | ValueType::Url => Json::from(text.as_str()).to_string(),
            ValueType::Integer | ValueType::Number => number(text)?,
            // The descriptor has checked it.
            ValueType::Boolean | ValueType::Json => json::compact(text),
            ValueType::Duration => Json::from(parse_duration(text)?.as_secs_f64()).to_string(),
            ValueType::List => text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .collect::<Json>()
                .to_string(),
        };
        Some(Value {
            text: text.clone(),
            json,
        })
    }
}

/// Whether a part of a metadata key says that its value is secret.
pub(crate) fn names_secret(key: &str) -> bool {
    key.split('.').any(holds_secret)
}

/// A number as it is written, if that is how JSON writes one; else as JSON writes it: `+7`, `.5`, `007`.
fn number(text: &str) -> Option<String> {
    let begins_as_number = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    if begins_as_number && serde_json::from_str::<IgnoredAny>(text).is_ok() {
        return Some(text.to_owned());
    }
    match text.parse::<i64>() {
        Ok(whole) => Some(whole.to_string()),
        Err(_) => serde_json::Number::from_f64(text.parse().ok()?).map(|number| number.to_string()),
    }
}

/// Words as a line of a POSIX shell, which runs the first one with the others.
fn command_line<'a>(words: impl Iterator<Item = &'a str>) -> String {
    /// Words that a shell takes for its own where a command stands (POSIX and bash).
    const RESERVED: [&str; 18] = [
        "case",
        "coproc",
        "do",
        "done",
        "elif",
        "else",
        "esac",
        "fi",
        "for",
        "function",
        "if",
        "in",
        "select",
        "then",
        "time",
        "until",
        "while",
        "namespace",
    ];
    let quoted: Vec<_> = words
        .enumerate()
        .map(|(index, word)| match quoted(word) {
            // It would set a variable, or be a part of the shell's grammar.
            plain
                if index == 0 && (plain.contains('=') || RESERVED.contains(&&*plain)) && *plain == *word =>
            {
                format!("'{word}'").into()
            }
            quoted => quoted,
        })
        .collect();
    quoted.join(" ")
}

/// One word of a POSIX shell.
fn quoted(word: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"%+,-./:=@_".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        return word.into();
    }
    format!("'{}'", word.replace('\'', r"'\''")).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_shell_runs_the_first_word_whatever_it_is() {
        for word in ["A=1", "if", "while", "{", "!", "true"] {
            let line = command_line([word, "x"].into_iter());
            // It is called as a function that says its name.
            let script = format!("command_not_found_handle() {{ echo \"$1\"; }}; {line}");
            let output = Command::new("bash").args(["-c", &script]).output().unwrap();
            let expected = if word == "true" {
                String::new()
            } else {
                format!("{word}\n")
            };
            assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{line}");
        }
    }

    #[test]
    fn numbers_are_those_of_json() {
        for (text, json) in [
            ("7", "7"),
            ("+7", "7"),
            ("007", "7"),
            ("-0.5", "-0.5"),
            (".5", "0.5"),
            ("1e3", "1e3"),
            ("0.30", "0.30"),
            ("2.", "2.0"),
            ("9007199254740993.5", "9007199254740993.5"),
        ] {
            assert_eq!(number(text).as_deref(), Some(json), "{text}");
        }
        assert_eq!(number("x"), None);
    }

    #[test]
    fn a_shell_reads_a_word_as_it_was() {
        for word in [
            "",
            "a b",
            "it's",
            "$(reboot)",
            "`x`",
            "a\nb",
            "~",
            "*",
            "é",
            "-n",
            "a=b",
            "{{x}}",
            "\\",
        ] {
            let script = format!("printf %s {}", quoted(word));
            let output = Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), word, "{script}");
        }
    }
}
