//! An OpenTelemetry collector: it takes spans by OTLP over HTTP, and decodes them.

use crate::{
    eventually,
    scripted::{Answer, Request, Scripted},
};
use serde_json::Value;
use std::{collections::BTreeMap, process::Command};

/// A collector, which answers each request as it is told.
pub struct Collector(Scripted);

/// A span, as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// 32 digits.
    pub trace_id: String,
    /// 16 digits.
    pub span_id: String,
    /// The same of the span above; empty for a root.
    pub parent: String,
    /// The `tracestate`.
    pub state: String,
    /// What it is called.
    pub name: String,
    /// The number of its kind.
    pub kind: u64,
    /// Nanoseconds after 1970.
    pub start: u64,
    /// The same.
    pub end: u64,
    /// What is known of it, as text.
    pub attributes: BTreeMap<String, String>,
    /// The status code: 2 is an error.
    pub status: u64,
    /// What is known of who sent it.
    pub resource: BTreeMap<String, String>,
}

impl Collector {
    /// One that takes everything.
    pub fn start() -> Self {
        Self::answering(|_, _| Answer::new(200, ""))
    }

    /// One that answers by a script.
    pub fn answering(script: impl Fn(&Request, usize) -> Answer + Send + Sync + 'static) -> Self {
        Self(Scripted::start(script))
    }

    /// Has a command export to it.
    pub fn asked_for<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", self.0.url(""))
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.0.requests()
    }

    /// `127.0.0.1:port`.
    pub fn authority(&self) -> &str {
        self.0.authority()
    }

    /// The spans so far.
    #[track_caller]
    pub fn spans(&self) -> Vec<Span> {
        self.requests().iter().flat_map(spans).collect()
    }

    /// The only span of this name so far.
    #[track_caller]
    pub fn span(&self, name: &str) -> Span {
        let spans = self.spans();
        let mut named = spans.iter().filter(|span| span.name == name);
        match (named.next(), named.next()) {
            (Some(span), None) => span.clone(),
            _ => panic!("not one span '{name}' in {spans:#?}"),
        }
    }

    /// Waits until there are so many spans of this name.
    #[track_caller]
    pub fn await_spans(&self, name: &str, count: usize) -> Vec<Span> {
        eventually(&format!("{count} spans '{name}'"), || {
            let mut spans = self.spans();
            spans.retain(|span| span.name == name);
            (spans.len() >= count).then_some(spans)
        })
    }
}

#[track_caller]
fn spans(request: &Request) -> Vec<Span> {
    assert_eq!(request.line(), "POST /v1/traces");
    match request.header("content-type") {
        "application/x-protobuf" => of_protobuf(&request.body),
        "application/json" => of_json(&request.body),
        other => panic!("content type '{other}'"),
    }
}

/// A protobuf message: its fields, by number.
struct Message<'a>(Vec<(u64, Field<'a>)>);

#[derive(Clone, Copy)]
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Message<'a> {
    #[track_caller]
    fn decode(mut bytes: &'a [u8]) -> Self {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes);
            let field = match key & 7 {
                0 => Field::Number(varint(&mut bytes)),
                1 => Field::Number(u64::from_le_bytes(take(&mut bytes, 8).try_into().unwrap())),
                2 => {
                    let length = varint(&mut bytes);
                    Field::Bytes(take(&mut bytes, length as usize))
                }
                5 => Field::Number(u32::from_le_bytes(take(&mut bytes, 4).try_into().unwrap()).into()),
                other => panic!("wire type {other}"),
            };
            fields.push((key >> 3, field));
        }
        Self(fields)
    }

    fn all(&self, number: u64) -> impl Iterator<Item = Field<'a>> {
        let fields = self.0.iter().filter(move |(other, _)| *other == number);
        fields.map(|(_, field)| *field)
    }

    fn bytes(&self, number: u64) -> &'a [u8] {
        match self.all(number).next() {
            Some(Field::Bytes(bytes)) => bytes,
            _ => &[],
        }
    }

    fn text(&self, number: u64) -> String {
        String::from_utf8(self.bytes(number).to_vec()).expect("texts are UTF-8")
    }

    fn number(&self, number: u64) -> u64 {
        match self.all(number).next() {
            Some(Field::Number(value)) => value,
            _ => 0,
        }
    }

    fn messages(&self, number: u64) -> Vec<Message<'a>> {
        let messages = self.all(number).filter_map(|field| match field {
            Field::Bytes(bytes) => Some(Self::decode(bytes)),
            Field::Number(_) => None,
        });
        messages.collect()
    }

    /// `repeated KeyValue`.
    fn attributes(&self, number: u64) -> BTreeMap<String, String> {
        let pairs = self.messages(number).into_iter().map(|pair| {
            let value = Message::decode(pair.bytes(2));
            let text = match value.0.first() {
                Some((1, _)) => value.text(1),
                Some((3, _)) => value.number(3).cast_signed().to_string(),
                Some((4, _)) => f64::from_bits(value.number(4)).to_string(),
                _ => panic!("a value of another type"),
            };
            (pair.text(1), text)
        });
        pairs.collect()
    }
}

#[track_caller]
fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let [byte] = take(bytes, 1) else { unreachable!() };
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

#[track_caller]
fn take<'a>(bytes: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at_checked(length).expect("a message is whole");
    *bytes = rest;
    taken
}

fn of_protobuf(body: &[u8]) -> Vec<Span> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut spans = Vec::new();
    for resource_spans in Message::decode(body).messages(1) {
        let resource = Message::decode(resource_spans.bytes(1)).attributes(1);
        for scope_spans in resource_spans.messages(2) {
            assert_eq!(Message::decode(scope_spans.bytes(1)).text(1), "executor-runtime");
            spans.extend(scope_spans.messages(2).iter().map(|span| Span {
                trace_id: hex(span.bytes(1)),
                span_id: hex(span.bytes(2)),
                parent: hex(span.bytes(4)),
                state: span.text(3),
                name: span.text(5),
                kind: span.number(6),
                start: span.number(7),
                end: span.number(8),
                attributes: span.attributes(9),
                status: Message::decode(span.bytes(15)).number(3),
                resource: resource.clone(),
            }));
        }
    }
    spans
}

fn of_json(body: &[u8]) -> Vec<Span> {
    let request: Value = serde_json::from_slice(body).expect("it is JSON");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let number = |value: &Value| {
        value
            .as_str()
            .and_then(|text| text.parse().ok())
            .expect("a number")
    };
    let attributes = |value: &Value| -> BTreeMap<String, String> {
        let pairs = list(value).into_iter().map(|pair| {
            let (_, value) = pair["value"]
                .as_object()
                .and_then(|any| any.iter().next())
                .expect("a value");
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            (text(&pair["key"]), value)
        });
        pairs.collect()
    };
    let mut spans = Vec::new();
    for resource_spans in list(&request["resourceSpans"]) {
        for scope_spans in list(&resource_spans["scopeSpans"]) {
            spans.extend(list(&scope_spans["spans"]).iter().map(|span| Span {
                trace_id: text(&span["traceId"]),
                span_id: text(&span["spanId"]),
                parent: text(&span["parentSpanId"]),
                state: text(&span["traceState"]),
                name: text(&span["name"]),
                kind: span["kind"].as_u64().expect("a number"),
                start: number(&span["startTimeUnixNano"]),
                end: number(&span["endTimeUnixNano"]),
                attributes: attributes(&span["attributes"]),
                status: span["status"]["code"].as_u64().unwrap_or(0),
                resource: attributes(&resource_spans["resource"]["attributes"]),
            }));
        }
    }
    spans
}
