//! What placeholders stand for in one invocation.

use crate::template::{Field, Form, Name, Placeholder};
use executor_runtime_protocol::{PluginDescriptor, RuntimeInvocation, ValueType, parse_duration};
use serde_json::Value as Json;
use std::{borrow::Cow, collections::BTreeMap};

/// The values of one invocation.
pub(crate) struct Values<'a> {
    pub(crate) invocation: &'a RuntimeInvocation,
    /// What is declared of the metadata.
    pub(crate) descriptor: &'a PluginDescriptor,
    /// The metadata, with defaults.
    pub(crate) metadata: &'a BTreeMap<String, String>,
}

/// One value.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    text: String,
    json: Json,
}

impl Value {
    fn string(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            json: text.into(),
        }
    }

    fn json(json: Json) -> Self {
        Self {
            text: json.to_string(),
            json,
        }
    }

    /// As it stands in text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// As it stands in JSON.
    pub(crate) fn into_json(self) -> Json {
        self.json
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
        Some(match placeholder.form {
            Form::Plain => value,
            Form::Json => Value::string(&value.json.to_string()),
            Form::Shell => Value::string(&match &value.json {
                Json::Array(words) => words
                    .iter()
                    .map(|word| quoted(word.as_str().unwrap_or_default()))
                    .collect::<Vec<_>>()
                    .join(" "),
                _ => quoted(&value.text).into_owned(),
            }),
        })
    }

    fn field(&self, field: Field) -> Option<Value> {
        let invocation = self.invocation;
        Some(match field {
            Field::InvocationId => Value::string(&invocation.invocation_id),
            Field::RuntimeName => Value::string(&invocation.runtime_name),
            Field::WorkingDirectory => Value::string(&invocation.working_directory),
            Field::TimeoutSeconds => Value::json(invocation.timeout_seconds?.get().into()),
            Field::Environment => Value::json(serde_json::json!(invocation.environment)),
            Field::Command => Value {
                text: invocation
                    .command
                    .iter()
                    .map(|word| quoted(word))
                    .collect::<Vec<_>>()
                    .join(" "),
                json: serde_json::json!(invocation.command),
            },
        })
    }

    fn metadata(&self, key: &str) -> Option<Value> {
        let text = self.metadata.get(key)?;
        let spec = self.descriptor.metadata.get(key)?;
        let json = match spec.value_type {
            ValueType::String | ValueType::Url => text.as_str().into(),
            // A number as it is written, if that is how JSON writes one.
            ValueType::Integer | ValueType::Number | ValueType::Boolean | ValueType::Json => {
                serde_json::from_str(text).unwrap_or_else(|_| text.as_str().into())
            }
            ValueType::Duration => parse_duration(text)?.as_secs_f64().into(),
            ValueType::List => text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .collect(),
        };
        Some(Value {
            text: text.clone(),
            json,
        })
    }
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
