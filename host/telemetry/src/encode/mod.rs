//! The messages of OTLP, as far as spans need them: `ExportTraceServiceRequest` of
//! <https://github.com/open-telemetry/opentelemetry-proto>, version 1.

mod json;
mod protobuf;

use crate::settings::Protocol;
use executor_runtime_run::trace::{FinishedSpan, SpanKind};
use std::time::{SystemTime, UNIX_EPOCH};

/// What the spans are of.
const SCOPE_NAME: &str = "executor-runtime";
const SCOPE_VERSION: &str = env!("CARGO_PKG_VERSION");
/// `STATUS_CODE_ERROR`.
const ERROR: u8 = 2;

#[derive(Debug)]
pub(crate) enum Encoder {
    /// With the resource, written.
    Protobuf(Vec<u8>),
    Json(serde_json::Value),
}

impl Encoder {
    pub(crate) fn new(protocol: Protocol, resource: &[(String, String)]) -> Self {
        match protocol {
            Protocol::Protobuf => Self::Protobuf(protobuf::resource(resource)),
            Protocol::Json => Self::Json(json::resource(resource)),
        }
    }

    pub(crate) fn encode(&self, spans: &[FinishedSpan]) -> Vec<u8> {
        match self {
            Self::Protobuf(resource) => protobuf::request(resource, spans),
            Self::Json(resource) => json::request(resource, spans),
        }
    }
}

/// The number of a kind.
fn kind(kind: SpanKind) -> u8 {
    match kind {
        SpanKind::Internal => 1,
        SpanKind::Client => 3,
    }
}

/// Begin and end, in nanoseconds after 1970.
fn times(span: &FinishedSpan) -> [u64; 2] {
    [span.started_at, span.started_at + span.duration].map(nanoseconds)
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
