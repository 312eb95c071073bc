//! The rules of a descriptor document.

use super::{
    HOST_NAMESPACES, InterfaceVersion, MAX_DESCRIPTOR_BYTES, MetadataKey, PluginDescriptor, ValueType,
};
use crate::{
    RuntimeKind,
    document::{Document, DocumentKind},
    fields::Fields,
    problem::quoted,
    rules::{self, Value},
    tree::Node,
};
use std::{collections::BTreeSet, fmt};

/// The longest summary or help, in characters: they are shown in one line.
const MAX_LINE_CHARS: usize = 200;

/// The longest metadata key, in bytes.
const MAX_KEY_BYTES: usize = 128;

impl Document for PluginDescriptor {
    const KIND: DocumentKind = DocumentKind::PluginDescriptor;
    const MAX_BYTES: usize = MAX_DESCRIPTOR_BYTES;

    fn check(value: Value<'_, '_>) -> Option<Self> {
        let mut fields = Fields::open(value, Self::KIND.with_article())?;
        fields.ignored("$schema", rules::string);
        let name = fields.required("name", name);
        let version = fields.required("version", |value| {
            let expected = "a semantic version, such as \"1.2.3\"";
            value.read_string(expected, |text| semver::Version::parse(text).ok())
        });
        let kinds = fields.required("kinds", kinds);
        let interface = fields.required("interface", |value| {
            let expected = "a version of the plugin interface, such as \"1.0\"";
            value.read_string(expected, InterfaceVersion::parse)
        });
        let summary = fields.required("summary", line);
        let metadata = fields.optional("metadata", |value| {
            rules::map(value, "an object of metadata keys", |key, mut value| {
                let named = check_key(key, &mut value);
                metadata_key(key, value).filter(|_| named.is_some())
            })
        });
        fields.close();
        Some(Self {
            name: name?,
            version: version?,
            kinds: kinds?,
            interface: interface?,
            summary: summary?,
            metadata: metadata?,
        })
    }
}

fn name(value: Value<'_, '_>) -> Option<String> {
    let expected = "a plugin name: a lower-case letter, then at most 63 of a-z, 0-9 and -";
    value.read_string(expected, |text| {
        (text.len() <= 64 && is_word(text, b"-")).then(|| text.to_owned())
    })
}

/// A lower-case letter, then lower-case letters, digits and the bytes of `also`.
fn is_word(text: &str, also: &[u8]) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || also.contains(&b))
}

fn line(value: Value<'_, '_>) -> Option<String> {
    let expected = format_args!("one line of text, 1 to {MAX_LINE_CHARS} characters long");
    value.read_string(expected, |text| {
        let good = !text.trim().is_empty()
            && text.chars().count() <= MAX_LINE_CHARS
            && !text.contains(char::is_control);
        good.then(|| text.to_owned())
    })
}

fn kinds(value: Value<'_, '_>) -> Option<Vec<RuntimeKind>> {
    let expected = "a non-empty array of runtime kinds";
    distinct(value, expected, |mut value| match value.as_str() {
        Some("subprocess") => value.report("\"subprocess\"", "a kind that is not reserved for the host"),
        _ => rules::runtime_kind(value),
    })
}

/// A non-empty array of strings, each once, that `rule` reads. `expected` says so.
fn distinct<'de, T>(
    value: Value<'_, 'de>,
    expected: &str,
    rule: impl Fn(Value<'_, 'de>) -> Option<T>,
) -> Option<Vec<T>> {
    let mut seen = BTreeSet::new();
    rules::array(value, 1, expected, |mut value| match value.as_str() {
        Some(text) if !seen.insert(text.to_owned()) => {
            let found = format!("{} again", quoted(text));
            value.report(found, "each value once")
        }
        _ => rule(value),
    })
}

fn check_key(key: &str, value: &mut Value<'_, '_>) -> Option<()> {
    let parts: Vec<&str> = key.strip_suffix(".*").unwrap_or(key).split('.').collect();
    let dotted = parts.len() > 1 || key.ends_with(".*");
    if key.len() > MAX_KEY_BYTES || !dotted || !parts.iter().all(|part| is_word(part, b"_-")) {
        let expected = "at most 128 bytes of lower-case words with dots between, such as \
                        \"http.url\" or \"http.header.*\"";
        return value.report(format_args!("the key {}", quoted(key)), expected);
    }
    if HOST_NAMESPACES.contains(&parts[0]) {
        let found = format_args!("a key in {:?}, which is reserved for the host", parts[0]);
        return value.report(found, "a namespace of the plugin's own");
    }
    Some(())
}

const BOUNDED: &[ValueType] = &[ValueType::Integer, ValueType::Number, ValueType::Duration];
const CHOSEN: &[ValueType] = &[ValueType::String, ValueType::List];

/// Reads what is declared for `key`.
fn metadata_key(key: &str, value: Value<'_, '_>) -> Option<MetadataKey> {
    let is_prefix = key.ends_with('*');
    let mut fields = Fields::open(value, "a metadata key's description")?;
    let value_type = fields.required("type", |value| {
        let name = value.as_str().map(str::to_owned);
        // Made only where it is told.
        let expected = fmt::from_fn(|f| {
            write!(f, "one of {}", ValueType::ALL.map(ValueType::as_str).join(", "))?;
            match name.as_deref().and_then(ValueType::meant_by) {
                Some(meant) => write!(f, "; did you mean {:?}?", meant.as_str()),
                None => Ok(()),
            }
        });
        value.read_string(expected, ValueType::from_name)
    });
    let required = fields.optional("required", |mut value| match value.take() {
        Some(Node::Bool(true)) if is_prefix => value.report(
            "a prefix that is required",
            "required keys only by their full name",
        ),
        Some(Node::Bool(required)) => Some(required),
        other => value.reject(other, "true or false"),
    });
    let one_of = fields.optional("one_of", |value| {
        let expected = "a non-empty array of strings";
        distinct(only_for(value, value_type, CHOSEN)?, expected, rules::string)
    });
    let min = fields.optional("min", |value| bound(only_for(value, value_type, BOUNDED)?, None));
    let max = fields.optional("max", |value| {
        bound(only_for(value, value_type, BOUNDED)?, min.flatten())
    });
    let placeholders = fields.optional("placeholders", |value| {
        let expected = "a non-empty array of names, such as [\"run_id\"]";
        distinct(
            only_for(value, value_type, &[ValueType::Url])?,
            expected,
            |value| {
                value.read_string("a lower-case name, such as \"run_id\"", |text| {
                    is_word(text, b"_").then(|| text.to_owned())
                })
            },
        )
    });
    let help = fields.required("help", line);
    let read = || {
        Some(MetadataKey {
            value_type: value_type?,
            required: required?,
            default: None,
            one_of: one_of?,
            min: min?,
            max: max?,
            placeholders: placeholders?,
            help: help?,
        })
    };
    let read = read();
    let default = fields.optional("default", |mut value| {
        if is_prefix {
            return value.report("a default for a prefix", "defaults only for full names");
        }
        if value_type == Some(ValueType::Url) {
            // A plugin would grant itself the access that is the invocation's to give.
            return value.report("a default for a url", "every URL to come from the invocation");
        }
        if required == Some(true) {
            return value.report("a default for a required key", "either required or default");
        }
        let text = value.as_str().map(str::to_owned);
        match (text, &read) {
            (Some(text), Some(key)) => match key.check(&text) {
                Ok(()) => Some(Some(text)),
                Err(found) => value.report(found, key.expected()),
            },
            (Some(text), None) => Some(Some(text)),
            (None, _) => rules::string(value).map(Some),
        }
    });
    fields.close();
    Some(MetadataKey {
        default: default?,
        ..read?
    })
}

/// The value, if its field has a meaning for keys of this type.
fn only_for<'v, 'de>(
    mut value: Value<'v, 'de>,
    value_type: Option<ValueType>,
    types: &[ValueType],
) -> Option<Value<'v, 'de>> {
    match value_type {
        Some(other) if !types.contains(&other) => {
            let names: Vec<_> = types.iter().map(|known| known.as_str()).collect();
            let found = format_args!("a field that does not apply to type {}", other.as_str());
            value.report(found, format_args!("it only for type {}", names.join(", ")))
        }
        _ => Some(value),
    }
}

/// A finite number, at least `least`.
fn bound(value: Value<'_, '_>, least: Option<f64>) -> Option<Option<f64>> {
    let expected = match least {
        None => "a number".into(),
        Some(least) => format!("a number of at least {least}, which is the min"),
    };
    value.read(expected, |node| {
        let number = match node {
            Node::Unsigned(number) => number as f64,
            Node::Negative(number) => number as f64,
            Node::Float(number) if number.is_finite() => number,
            other => return Err(other),
        };
        if least.is_some_and(|least| number < least) {
            return Err(node);
        }
        Ok(Some(number))
    })
}
