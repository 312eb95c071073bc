//! As JSON: ids are hexadecimal, 64-bit numbers are texts, and enums are numbers.

use super::{ERROR, SCOPE_NAME, SCOPE_VERSION, kind, times};
use executor_runtime_run::trace::{AttributeValue, FinishedSpan};
use serde_json::{Map, Value, json};

/// A `Resource`.
pub(super) fn resource(attributes: &[(String, String)]) -> Value {
    let attributes = attributes.iter();
    let attributes: Vec<_> = attributes
        .map(|(key, value)| attribute(key, &AttributeValue::from(value.clone())))
        .collect();
    json!({"attributes": attributes})
}

pub(super) fn request(resource: &Value, spans: &[FinishedSpan]) -> Vec<u8> {
    let spans: Vec<_> = spans.iter().map(span).collect();
    let scope = json!({"name": SCOPE_NAME, "version": SCOPE_VERSION});
    let request = json!({
        "resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": spans}]}],
    });
    request.to_string().into_bytes()
}

fn span(span: &FinishedSpan) -> Value {
    let [start, end] = times(span);
    let attributes = span.attributes.iter();
    let attributes: Vec<_> = attributes.map(|(key, value)| attribute(key, value)).collect();
    let mut written = Map::from_iter([
        ("traceId".to_owned(), hex(&span.context.trace_id()).into()),
        ("spanId".to_owned(), hex(&span.context.span_id()).into()),
        ("name".to_owned(), span.name.as_ref().into()),
        ("kind".to_owned(), kind(span.kind).into()),
        ("startTimeUnixNano".to_owned(), start.to_string().into()),
        ("endTimeUnixNano".to_owned(), end.to_string().into()),
        ("attributes".to_owned(), attributes.into()),
        ("flags".to_owned(), span.context.flags().into()),
    ]);
    if let Some(state) = span.context.tracestate() {
        written.insert("traceState".to_owned(), state.into());
    }
    if let Some(parent) = &span.parent {
        written.insert("parentSpanId".to_owned(), hex(parent).into());
    }
    if span.is_error {
        written.insert("status".to_owned(), json!({"code": ERROR}));
    }
    written.into()
}

fn attribute(key: &str, value: &AttributeValue) -> Value {
    let value = match value {
        AttributeValue::Text(text) => json!({"stringValue": text}),
        AttributeValue::Integer(number) => json!({"intValue": number.to_string()}),
        AttributeValue::Number(number) => json!({"doubleValue": number}),
    };
    json!({"key": key, "value": value})
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
