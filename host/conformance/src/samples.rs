//! Metadata made up from a descriptor.

use executor_runtime::protocol::{MetadataKey, PluginDescriptor, ValueType};
use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, TcpListener},
};
use tokio::net::TcpSocket;

/// An invocation's metadata.
pub(super) type Metadata = BTreeMap<String, String>;

/// Two ports of the loopback interface that made-up URLs point to; both are ours until this is dropped.
pub(super) struct Ports {
    /// Bound and not listened on: connections are refused.
    _closed: TcpSocket,
    closed_port: u16,
    /// Listened on and never accepted from: connections are made, and nothing answers.
    _silent: TcpListener,
    silent_port: u16,
}

impl Ports {
    pub(super) fn open() -> io::Result<Self> {
        let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let closed = TcpSocket::new_v4()?;
        closed.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let closed_port = closed.local_addr()?.port();
        Ok(Self {
            _closed: closed,
            closed_port,
            silent_port: silent.local_addr()?.port(),
            _silent: silent,
        })
    }

    /// Values for runs that have nothing to wait for.
    pub(super) fn brisk(&self) -> Samples {
        Samples {
            url: format!("http://127.0.0.1:{}/", self.closed_port),
            patient: false,
        }
    }

    /// Values for runs that wait as long as they are let.
    pub(super) fn patient(&self) -> Samples {
        Samples {
            url: format!("http://127.0.0.1:{}/", self.silent_port),
            patient: true,
        }
    }
}

/// How values are made up.
pub(super) struct Samples {
    url: String,
    patient: bool,
}

impl Samples {
    /// The required keys.
    pub(super) fn required(&self, descriptor: &PluginDescriptor) -> Metadata {
        self.of(descriptor, |_, spec| spec.required)
    }

    /// Every key; of keys that end in a star, one.
    pub(super) fn all(&self, descriptor: &PluginDescriptor) -> Metadata {
        self.of(descriptor, |_, _| true)
    }

    /// The required keys and those that a run may wait for: every URL and every time.
    pub(super) fn waiting(&self, descriptor: &PluginDescriptor) -> Metadata {
        self.of(descriptor, |_, spec| {
            spec.required || matches!(spec.value_type, ValueType::Url | ValueType::Duration)
        })
    }

    fn of(&self, descriptor: &PluginDescriptor, wanted: impl Fn(&str, &MetadataKey) -> bool) -> Metadata {
        descriptor
            .metadata
            .iter()
            .filter(|(key, spec)| wanted(key, spec))
            .map(|(key, spec)| (name(key), self.value(spec)))
            .collect()
    }

    fn value(&self, spec: &MetadataKey) -> String {
        let number = |wanted: f64| {
            wanted
                .max(spec.min.unwrap_or(wanted))
                .min(spec.max.unwrap_or(wanted))
        };
        match spec.value_type {
            ValueType::Url => self.url.clone(),
            ValueType::Duration if self.patient => number(3600.0).to_string(),
            _ if spec.default.is_some() => spec.default.clone().unwrap_or_default(),
            ValueType::Duration => number(0.0).to_string(),
            ValueType::Number => number(1.0).to_string(),
            ValueType::Integer => number(1.0).ceil().to_string(),
            ValueType::Boolean => "true".to_owned(),
            ValueType::Json => "{}".to_owned(),
            ValueType::String | ValueType::List => {
                spec.one_of.first().map_or("sample", String::as_str).to_owned()
            }
        }
    }
}

/// The keys whose value is any text.
pub(super) fn free_texts(descriptor: &PluginDescriptor) -> Vec<String> {
    descriptor
        .metadata
        .iter()
        .filter(|(_, spec)| spec.value_type == ValueType::String && spec.one_of.is_empty())
        .map(|(key, _)| name(key))
        .collect()
}

/// A key in the plugin's namespace that it does not know; none if it knows every key there.
pub(super) fn unknown_key(descriptor: &PluginDescriptor, valid: &Metadata) -> Option<String> {
    descriptor.metadata.keys().find_map(|key| {
        let (namespace, _) = key.split_once('.')?;
        let unknown = format!("{namespace}.no_such_key");
        let mut metadata = valid.clone();
        metadata.insert(unknown.clone(), String::new());
        descriptor.check_metadata(&metadata).is_err().then_some(unknown)
    })
}

fn name(key: &str) -> String {
    match key.strip_suffix('*') {
        Some(prefix) => format!("{prefix}sample"),
        None => key.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn made_up_metadata_fits_the_descriptor() {
        let descriptor = PluginDescriptor::from_json(
            br#"{"name": "x", "version": "1.0.0", "kinds": ["x"], "interface": "1.0", "summary": "s", "metadata": {
                "x.url": {"type": "url", "required": true, "placeholders": ["id"], "help": "h"},
                "x.text": {"type": "string", "required": true, "help": "h"},
                "x.mode": {"type": "string", "one_of": ["a", "b"], "help": "h"},
                "x.modes": {"type": "list", "one_of": ["a", "b"], "required": true, "help": "h"},
                "x.count": {"type": "integer", "min": 5, "max": 7, "required": true, "help": "h"},
                "x.share": {"type": "number", "max": 0.5, "help": "h"},
                "x.time": {"type": "duration", "min": 1, "max": 9, "help": "h"},
                "x.every": {"type": "duration", "default": "2.0", "help": "h"},
                "x.flag": {"type": "boolean", "required": true, "help": "h"},
                "x.json": {"type": "json", "required": true, "help": "h"},
                "x.header.*": {"type": "string", "help": "h"}}}"#,
        )
        .unwrap();
        let ports = Ports::open().unwrap();
        for samples in [ports.brisk(), ports.patient()] {
            for metadata in [
                samples.required(&descriptor),
                samples.all(&descriptor),
                samples.waiting(&descriptor),
            ] {
                descriptor.check_metadata(&metadata).unwrap();
            }
        }
        assert_eq!(ports.brisk().required(&descriptor).len(), 6);
        assert_eq!(ports.brisk().all(&descriptor)["x.every"], "2.0");
        assert_eq!(ports.patient().all(&descriptor)["x.time"], "9");
        assert_eq!(ports.brisk().all(&descriptor)["x.header.sample"], "sample");
        assert_eq!(free_texts(&descriptor), ["x.header.sample", "x.text"]);
        let minimal = ports.brisk().required(&descriptor);
        assert_eq!(
            unknown_key(&descriptor, &minimal).as_deref(),
            Some("x.no_such_key")
        );
    }
}
