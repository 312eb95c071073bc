//! As protobuf. A field is its number and type, then its value; a message in a message has its length first.

use super::{ERROR, SCOPE_NAME, SCOPE_VERSION, kind, times};
use executor_runtime_run::trace::{AttributeValue, FinishedSpan};

/// A message that is being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn key(&mut self, field: u32, wire_type: u32) {
        self.varint((field << 3 | wire_type).into());
    }

    /// A number, also where it is zero, which matters in a `oneof`.
    fn number(&mut self, field: u32, value: u64) {
        self.key(field, 0);
        self.varint(value);
    }

    fn fixed64(&mut self, field: u32, value: u64) {
        self.key(field, 1);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn fixed32(&mut self, field: u32, value: u32) {
        self.key(field, 5);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn bytes(&mut self, field: u32, value: &[u8]) {
        self.key(field, 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    fn text(&mut self, field: u32, value: &str) {
        self.bytes(field, value.as_bytes());
    }

    fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.bytes(field, &inner.0);
    }

    /// A `KeyValue`.
    fn attribute(&mut self, field: u32, key: &str, value: &AttributeValue) {
        self.message(field, |pair| {
            pair.text(1, key);
            pair.message(2, |any| match value {
                AttributeValue::Text(text) => any.text(1, text),
                AttributeValue::Integer(number) => any.number(3, number.cast_unsigned()),
                AttributeValue::Number(number) => any.fixed64(4, number.to_bits()),
            });
        });
    }
}

/// A `Resource`.
pub(super) fn resource(attributes: &[(String, String)]) -> Vec<u8> {
    let mut resource = Message::default();
    for (key, value) in attributes {
        resource.attribute(1, key, &AttributeValue::from(value.clone()));
    }
    resource.0
}

pub(super) fn request(resource: &[u8], spans: &[FinishedSpan]) -> Vec<u8> {
    let mut request = Message::default();
    request.message(1, |resource_spans| {
        resource_spans.bytes(1, resource);
        resource_spans.message(2, |scope_spans| {
            scope_spans.message(1, |scope| {
                scope.text(1, SCOPE_NAME);
                scope.text(2, SCOPE_VERSION);
            });
            for span in spans {
                scope_spans.message(2, |message| write_span(message, span));
            }
        });
    });
    request.0
}

fn write_span(message: &mut Message, span: &FinishedSpan) {
    let [start, end] = times(span);
    message.bytes(1, &span.context.trace_id());
    message.bytes(2, &span.context.span_id());
    if let Some(state) = span.context.tracestate() {
        message.text(3, state);
    }
    if let Some(parent) = &span.parent {
        message.bytes(4, parent);
    }
    message.text(5, &span.name);
    message.number(6, kind(span.kind).into());
    message.fixed64(7, start);
    message.fixed64(8, end);
    for (key, value) in &span.attributes {
        message.attribute(9, key, value);
    }
    if span.is_error {
        message.message(15, |status| status.number(3, ERROR.into()));
    }
    message.fixed32(16, span.context.flags().into());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_groups_of_seven_bits() {
        for (value, bytes) in [
            (0, vec![0x08, 0]),
            (127, vec![0x08, 0x7f]),
            (300, vec![0x08, 0xac, 0x02]),
            (
                u64::MAX,
                vec![0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
            ),
        ] {
            let mut message = Message::default();
            message.number(1, value);
            assert_eq!(message.0, bytes);
        }
    }

    #[test]
    fn a_message_in_a_message_has_its_length_first() {
        let mut message = Message::default();
        message.attribute(16, "k", &AttributeValue::from("v"));
        // Field 16 takes two bytes for its key.
        assert_eq!(message.0, b"\x82\x01\x08\x0a\x01k\x12\x03\x0a\x01v");
    }
}
