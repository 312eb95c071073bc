//! What the standard variables of OpenTelemetry say, as far as this host does it:
//! <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>.
//!
//! A value that can't be used is told of, without the value where that may be a secret, and counts as not set. Only
//! without a usable endpoint nothing is sent.

use crate::sampler::{Root, Sampler};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use percent_encoding::percent_decode_str;
use std::{ffi::OsString, time::Duration};

const DEFAULT_SERVICE: &str = "executor-runtime";
const SERVICE_NAME: &str = "service.name";
const TRACES_PATH: &str = "v1/traces";

/// Which encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Protobuf,
    Json,
}

/// How spans are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Batching {
    pub(crate) max_queued: usize,
    pub(crate) max_batch: usize,
    pub(crate) delay: Duration,
}

#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) endpoint: Uri,
    pub(crate) protocol: Protocol,
    pub(crate) headers: HeaderMap,
    pub(crate) timeout: Duration,
    pub(crate) resource: Vec<(String, String)>,
    pub(crate) sampler: Sampler,
    pub(crate) batching: Batching,
}

impl Settings {
    /// Where spans go, for messages: no path and no credentials.
    pub(crate) fn destination(&self) -> String {
        let host = self.endpoint.host().unwrap_or_default();
        match self.endpoint.port_u16() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }
}

/// What was read.
pub(crate) struct Read {
    /// None if nothing is to be sent, or can't be.
    pub(crate) settings: Option<Settings>,
    pub(crate) problems: Vec<String>,
}

/// Reads what `variable` gives.
pub(crate) fn read(variable: &dyn Fn(&str) -> Option<OsString>) -> Read {
    let mut reader = Reader {
        variable,
        problems: Vec::new(),
    };
    let settings = reader.settings();
    Read {
        settings,
        problems: reader.problems,
    }
}

struct Reader<'a> {
    variable: &'a dyn Fn(&str) -> Option<OsString>,
    problems: Vec<String>,
}

impl Reader<'_> {
    fn settings(&mut self) -> Option<Settings> {
        if self.is_disabled() {
            return None;
        }
        let endpoint = self.endpoint()?;
        let protocol = self.protocol();
        self.tell_of_unsupported();
        Some(Settings {
            endpoint,
            protocol,
            headers: self.headers(),
            timeout: self.timeout(),
            resource: self.resource(),
            sampler: self.sampler(),
            batching: self.batching(),
        })
    }

    /// An empty value counts as none, as the specification has it.
    fn get(&mut self, name: &str) -> Option<String> {
        let value = (self.variable)(name)?;
        match value.into_string() {
            Ok(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
            Err(_) => {
                self.problem(name, "it is not UTF-8");
                None
            }
        }
    }

    /// The value for traces, or for all signals, and the name that has it.
    fn exporter(&mut self, name: &str) -> Option<(String, String)> {
        let names = [
            format!("OTEL_EXPORTER_OTLP_TRACES_{name}"),
            format!("OTEL_EXPORTER_OTLP_{name}"),
        ];
        names
            .into_iter()
            .find_map(|name| self.get(&name).map(|value| (name, value)))
    }

    fn problem(&mut self, name: &str, problem: &str) {
        self.problems.push(format!("{name} is ignored: {problem}"));
    }

    fn is_disabled(&mut self) -> bool {
        if let Some(disabled) = self.get("OTEL_SDK_DISABLED") {
            if disabled.eq_ignore_ascii_case("true") {
                return true;
            }
            if !disabled.eq_ignore_ascii_case("false") {
                self.problem(
                    "OTEL_SDK_DISABLED",
                    &format!("'{disabled}' is neither true nor false"),
                );
            }
        }
        let Some(exporters) = self.get("OTEL_TRACES_EXPORTER") else {
            return false;
        };
        let mut has_otlp = false;
        let mut others = Vec::new();
        for exporter in exporters.split(',').map(str::trim) {
            match exporter {
                "otlp" => has_otlp = true,
                "none" | "" => {}
                other => others.push(other),
            }
        }
        if !others.is_empty() {
            self.problems.push(format!(
                "OTEL_TRACES_EXPORTER: '{}' is not supported; the exporters are otlp and none",
                others.join(",").escape_debug()
            ));
        }
        !has_otlp
    }

    fn endpoint(&mut self) -> Option<Uri> {
        // The one for traces is the whole URL.
        let (name, endpoint) = match self.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") {
            Some(url) => ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", usable(&url)),
            None => {
                let base = self.get("OTEL_EXPORTER_OTLP_ENDPOINT")?;
                let slash = if base.ends_with('/') { "" } else { "/" };
                (
                    "OTEL_EXPORTER_OTLP_ENDPOINT",
                    usable(&base).and_then(|_| usable(&format!("{base}{slash}{TRACES_PATH}"))),
                )
            }
        };
        if endpoint.is_none() {
            self.problems.push(format!(
                "{name} can't be used, and no spans are sent: expected a URL such as http://localhost:4318, without user and \
                 password"
            ));
        }
        endpoint
    }

    fn protocol(&mut self) -> Protocol {
        let Some((name, protocol)) = self.exporter("PROTOCOL") else {
            return Protocol::Protobuf;
        };
        match protocol.as_str() {
            "http/protobuf" => Protocol::Protobuf,
            "http/json" => Protocol::Json,
            other => {
                let problem = format!(
                    "'{}' is not supported; it is http/protobuf, which is what is used, or http/json",
                    other.escape_debug()
                );
                self.problem(&name, &problem);
                Protocol::Protobuf
            }
        }
    }

    fn tell_of_unsupported(&mut self) {
        if let Some((name, compression)) = self.exporter("COMPRESSION")
            && compression != "none"
        {
            self.problem(&name, "spans are sent without compression");
        }
        for what in ["CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"] {
            if let Some((name, _)) = self.exporter(what) {
                self.problem(
                    &name,
                    "what is trusted is the system's certificates, or those of SSL_CERT_FILE",
                );
            }
        }
    }

    fn headers(&mut self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let Some((name, text)) = self.exporter("HEADERS") else {
            return headers;
        };
        for (number, pair) in pairs(&text) {
            let header = pair.and_then(|(key, value)| {
                let key = HeaderName::try_from(key).ok()?;
                let mut value = HeaderValue::try_from(value).ok()?;
                value.set_sensitive(true);
                Some((key, value))
            });
            match header {
                Some((key, value)) => drop(headers.insert(key, value)),
                None => self.problems.push(format!(
                    "{name}: part {number} is ignored: expected NAME=VALUE, percent-encoded"
                )),
            }
        }
        headers
    }

    fn timeout(&mut self) -> Duration {
        match self.exporter("TIMEOUT") {
            Some((name, text)) => self.milliseconds(&name, &text),
            None => None,
        }
        .unwrap_or(Duration::from_secs(10))
    }

    fn resource(&mut self) -> Vec<(String, String)> {
        let mut attributes = vec![
            (SERVICE_NAME.to_owned(), DEFAULT_SERVICE.to_owned()),
            ("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            ("process.pid".to_owned(), std::process::id().to_string()),
            ("telemetry.sdk.name".to_owned(), DEFAULT_SERVICE.to_owned()),
            ("telemetry.sdk.language".to_owned(), "rust".to_owned()),
            (
                "telemetry.sdk.version".to_owned(),
                env!("CARGO_PKG_VERSION").to_owned(),
            ),
        ];
        let mut set = |key: String, value: String| {
            attributes.retain(|(other, _)| *other != key);
            attributes.push((key, value));
        };
        if let Some(text) = self.get("OTEL_RESOURCE_ATTRIBUTES") {
            // One that can't be read makes all of them worthless, as the specification has it.
            let read: Option<Vec<_>> = pairs(&text).map(|(_, pair)| pair).collect();
            match read {
                Some(pairs) => pairs.into_iter().for_each(|(key, value)| set(key, value)),
                None => self.problem(
                    "OTEL_RESOURCE_ATTRIBUTES",
                    "expected KEY=VALUE,..., percent-encoded",
                ),
            }
        }
        if let Some(name) = self.get("OTEL_SERVICE_NAME") {
            set(SERVICE_NAME.to_owned(), name);
        }
        attributes
    }

    fn sampler(&mut self) -> Sampler {
        let Some(name) = self.get("OTEL_TRACES_SAMPLER") else {
            return Sampler::default();
        };
        let (follows_parent, root) = match name.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None => (false, name.as_str()),
        };
        let root = match root {
            "always_on" => Root::All,
            "always_off" => Root::None,
            "traceidratio" => Root::Share(self.share()),
            _ => {
                let problem = format!(
                    "'{}' is not supported; the samplers are always_on, always_off and traceidratio, each also with \
                     parentbased_ before it",
                    name.escape_debug()
                );
                self.problem("OTEL_TRACES_SAMPLER", &problem);
                return Sampler::default();
            }
        };
        Sampler { follows_parent, root }
    }

    fn share(&mut self) -> f64 {
        const NAME: &str = "OTEL_TRACES_SAMPLER_ARG";
        let Some(text) = self.get(NAME) else { return 1.0 };
        let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
        share.unwrap_or_else(|| {
            let problem = format!("'{}' is not a number from 0 to 1", text.escape_debug());
            self.problem(NAME, &problem);
            1.0
        })
    }

    fn batching(&mut self) -> Batching {
        let max_queued = self.count("OTEL_BSP_MAX_QUEUE_SIZE").unwrap_or(2048);
        let max_batch = self.count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE").unwrap_or(512);
        let delay = match self.get("OTEL_BSP_SCHEDULE_DELAY") {
            Some(text) => self.milliseconds("OTEL_BSP_SCHEDULE_DELAY", &text),
            None => None,
        };
        Batching {
            max_queued,
            max_batch: max_batch.min(max_queued),
            delay: delay.unwrap_or(Duration::from_secs(5)),
        }
    }

    fn count(&mut self, name: &str) -> Option<usize> {
        let text = self.get(name)?;
        let count = text.parse().ok().filter(|count| *count > 0);
        if count.is_none() {
            let problem = format!("'{}' is not a number above 0", text.escape_debug());
            self.problem(name, &problem);
        }
        count
    }

    fn milliseconds(&mut self, name: &str, text: &str) -> Option<Duration> {
        let number = text.parse::<u32>().ok().filter(|number| *number > 0);
        if number.is_none() {
            let problem = format!(
                "'{}' is not a number of milliseconds above 0",
                text.escape_debug()
            );
            self.problem(name, &problem);
        }
        number.map(|number| Duration::from_millis(number.into()))
    }
}

/// The parts of `KEY=VALUE,...`, counted from 1 and decoded; none for what is no such part.
fn pairs(text: &str) -> impl Iterator<Item = (usize, Option<(String, String)>)> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.enumerate().map(|(index, part)| {
        let pair = part.split_once('=').and_then(|(key, value)| {
            let decode = |text: &str| {
                let text = percent_decode_str(text.trim()).decode_utf8().ok()?;
                Some(text.into_owned())
            };
            let key = decode(key).filter(|key| !key.is_empty())?;
            Some((key, decode(value)?))
        });
        (index + 1, pair)
    })
}

/// A URL that spans can be sent to.
fn usable(url: &str) -> Option<Uri> {
    url.parse::<Uri>().ok().filter(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
            && uri
                .authority()
                .is_some_and(|authority| !authority.as_str().contains('@'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_from(variables: &[(&str, &str)]) -> Read {
        read(&|name| {
            let found = variables.iter().find(|(key, _)| *key == name)?;
            Some(found.1.into())
        })
    }

    fn usable(variables: &[(&str, &str)]) -> Settings {
        let read = read_from(variables);
        assert_eq!(read.problems, Vec::<String>::new());
        read.settings.unwrap()
    }

    #[test]
    fn an_endpoint_is_a_base_or_a_whole_url() {
        for (name, url, endpoint) in [
            ("ENDPOINT", "http://c:4318", "http://c:4318/v1/traces"),
            ("ENDPOINT", " https://c/base/ ", "https://c/base/v1/traces"),
            ("TRACES_ENDPOINT", "http://c:4318/x?y=1", "http://c:4318/x?y=1"),
            ("TRACES_ENDPOINT", "http://c:4318", "http://c:4318/"),
        ] {
            let name = format!("OTEL_EXPORTER_OTLP_{name}");
            assert_eq!(usable(&[(&name, url)]).endpoint.to_string(), endpoint);
        }
    }

    #[test]
    fn everything_has_the_default_of_the_specification() {
        let settings = usable(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318")]);
        assert_eq!(settings.protocol, Protocol::Protobuf);
        assert_eq!(settings.timeout, Duration::from_secs(10));
        assert_eq!(settings.sampler, Sampler::default());
        assert_eq!(settings.destination(), "c:4318");
        let batching = Batching {
            max_queued: 2048,
            max_batch: 512,
            delay: Duration::from_secs(5),
        };
        assert_eq!(settings.batching, batching);
        let name = settings.resource.iter().find(|(key, _)| key == SERVICE_NAME);
        assert_eq!(name.unwrap().1, "executor-runtime");
    }

    #[test]
    fn what_is_for_traces_goes_before_what_is_for_all_signals() {
        let settings = usable(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4318"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:4318/"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-all=1"),
            (
                "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
                "x-a=b%20c, authorization = Bearer%20t",
            ),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "2500"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,team=a%2Cb"),
            ("OTEL_SERVICE_NAME", "runs"),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
            ("OTEL_TRACES_EXPORTER", "otlp"),
            ("OTEL_SDK_DISABLED", "False"),
        ]);
        assert_eq!(settings.endpoint.host(), Some("traces"));
        assert_eq!(settings.headers["x-a"], "b c");
        assert_eq!(settings.headers["authorization"], "Bearer t");
        assert_eq!(settings.headers.len(), 2);
        assert_eq!(settings.timeout, Duration::from_millis(2500));
        assert_eq!(settings.protocol, Protocol::Json);
        assert_eq!(settings.sampler.root, Root::Share(0.25));
        let has = |key: &str, value: &str| settings.resource.contains(&(key.to_owned(), value.to_owned()));
        assert!(
            has("service.name", "runs") && has("team", "a,b"),
            "{:?}",
            settings.resource
        );
    }

    #[test]
    fn nothing_is_sent_where_the_variables_say_so() {
        const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
        for variables in [
            &[][..],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")],
            &[ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")],
            &[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")],
        ] {
            let read = read_from(variables);
            assert!(
                read.settings.is_none() && read.problems.is_empty(),
                "{variables:?}"
            );
        }
    }

    #[test]
    fn what_is_malformed_is_told_without_secrets() {
        for (name, value, told) in [
            (
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
                "grpc",
                "'grpc' is not supported",
            ),
            (
                "OTEL_EXPORTER_OTLP_TIMEOUT",
                "10s",
                "'10s' is not a number of milliseconds",
            ),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=1,secret", "part 2 is ignored"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a b=secret", "part 1 is ignored"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip", "without compression"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem", "SSL_CERT_FILE"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a=1,b", "expected KEY=VALUE"),
            (
                "OTEL_TRACES_SAMPLER",
                "jaeger_remote",
                "'jaeger_remote' is not supported",
            ),
            (
                "OTEL_TRACES_EXPORTER",
                "otlp,console",
                "'console' is not supported",
            ),
            ("OTEL_SDK_DISABLED", "yes", "'yes' is neither true nor false"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "'0' is not a number above 0"),
            (
                "OTEL_BSP_SCHEDULE_DELAY",
                "-1",
                "'-1' is not a number of milliseconds",
            ),
        ] {
            let read = read_from(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"), (name, value)]);
            assert!(read.settings.is_some(), "{name}");
            let [problem] = &read.problems[..] else {
                panic!("{name}: {:?}", read.problems);
            };
            assert!(problem.starts_with(name) && problem.contains(told), "{problem}");
            assert!(!problem.contains("secret"), "{problem}");
        }
        for endpoint in [
            "c:4318",
            "ftp://c",
            "http://",
            "unix:/x",
            "http://user:secret@c",
            "http://a b",
        ] {
            let read = read_from(&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)]);
            assert!(read.settings.is_none(), "{endpoint}");
            assert!(
                read.problems[0].starts_with("OTEL_EXPORTER_OTLP_ENDPOINT can't be used"),
                "{endpoint}"
            );
            assert!(!read.problems[0].contains("secret"));
        }
    }
}
