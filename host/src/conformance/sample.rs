//! Values for metadata keys, made up from a descriptor.

use executor_runtime_protocol::{MetadataKey, PluginDescriptor, ValueType};
use std::collections::BTreeMap;

/// The required keys, each with a value that fits its type, and every URL on `server` (`host:port`).
pub(super) fn metadata(descriptor: &PluginDescriptor, server: &str) -> BTreeMap<String, String> {
    let required = descriptor.metadata.iter().filter(|(_, key)| key.required);
    required
        .map(|(name, key)| (name.replace('*', "sample"), value(key, server)))
        .collect()
}

/// Whether the descriptor lets an invocation name a URL that it has to name.
pub(super) fn needs_a_server(descriptor: &PluginDescriptor) -> bool {
    let mut required = descriptor.metadata.values().filter(|key| key.required);
    required.any(|key| key.value_type == ValueType::Url)
}

fn value(key: &MetadataKey, server: &str) -> String {
    let one = key.one_of.first().cloned();
    let number = key
        .min
        .unwrap_or(1.0)
        .max(key.max.map_or(1.0, |max| max.min(1.0)));
    match key.value_type {
        ValueType::String | ValueType::List => one.unwrap_or_else(|| "sample".to_owned()),
        ValueType::Url => {
            let placeholders: String = key
                .placeholders
                .iter()
                .map(|name| format!("/{{{name}}}"))
                .collect();
            format!("http://{server}/sample{placeholders}")
        }
        ValueType::Integer => format!("{}", number.ceil()),
        ValueType::Number | ValueType::Duration => format!("{number}"),
        ValueType::Json => "{}".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_values_fit_their_descriptor() {
        let descriptor = PluginDescriptor::from_json(
            br#"{"name": "n", "version": "1.0.0", "kinds": ["k"], "interface": "1.0", "summary": "s",
                "metadata": {
                    "k.s": {"type": "string", "required": true, "one_of": ["a", "b"], "help": "h"},
                    "k.u": {"type": "url", "required": true, "placeholders": ["id"], "help": "h"},
                    "k.i": {"type": "integer", "required": true, "min": 2.5, "help": "h"},
                    "k.n": {"type": "number", "required": true, "max": 0.5, "help": "h"},
                    "k.d": {"type": "duration", "required": true, "help": "h"},
                    "k.j": {"type": "json", "required": true, "help": "h"},
                    "k.l": {"type": "list", "required": true, "help": "h"},
                    "k.o": {"type": "string", "help": "h"}
                }}"#,
        )
        .unwrap();
        let sample = metadata(&descriptor, "127.0.0.1:1");
        assert_eq!(sample.len(), 7);
        assert!(
            descriptor.check_metadata(&sample).is_ok(),
            "{:?}",
            descriptor.check_metadata(&sample)
        );
        assert!(needs_a_server(&descriptor));
    }
}
