//! The W3C trace context: <https://www.w3.org/TR/trace-context/>.

use super::state::{self, TraceStateError};
use std::fmt::Write as _;

/// Characters of a `traceparent` of version 00; a later version has these first.
const LENGTH: usize = 55;
/// The only version that has no meaning.
const INVALID_VERSION: &str = "ff";
/// The trace is recorded.
const SAMPLED: u8 = 1;
/// The trace id is random.
const RANDOM: u8 = 2;

/// A place in a trace: which trace, and which span of it is the parent of what comes.
///
/// ```
/// use executor_runtime_run::trace::TraceContext;
///
/// let context = TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
/// assert!(context.is_sampled());
/// assert_eq!(context.traceparent(), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    flags: u8,
    state: Option<String>,
}

/// Why a `traceparent` can't be used; it goes after the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TraceContextError {
    /// It is too short or too long, or its fields end elsewhere.
    #[error("it is not VERSION-TRACE_ID-PARENT_ID-FLAGS, of 2, 32, 16 and 2 hexadecimal digits")]
    Shape,
    /// A field is not of digits, or of capitals.
    #[error("its {0} is not of lower-case hexadecimal digits")]
    Digits(&'static str),
    /// The version that is never used.
    #[error("there is no version ff")]
    Version,
    /// An id of zeros.
    #[error("its {0} is zero")]
    Zero(&'static str),
}

impl TraceContext {
    /// Reads a `traceparent`. Of a version that is not known yet, what is known is read.
    ///
    /// # Errors
    /// Why it can't be used.
    pub fn parse(text: &str) -> Result<Self, TraceContextError> {
        let bytes = text.as_bytes();
        let is_later = !text.starts_with("00");
        let has_shape = bytes.len() >= LENGTH
            && [2, 35, 52].iter().all(|at| bytes[*at] == b'-')
            && match bytes.get(LENGTH) {
                None => true,
                Some(next) => is_later && *next == b'-',
            };
        if !has_shape {
            return Err(TraceContextError::Shape);
        }
        let [version] = hex(&bytes[..2], "version")?;
        if text.starts_with(INVALID_VERSION) {
            return Err(TraceContextError::Version);
        }
        let trace_id = hex(&bytes[3..35], "trace id")?;
        let span_id = hex(&bytes[36..52], "parent id")?;
        let [flags] = hex(&bytes[53..55], "flags field")?;
        if trace_id == [0; 16] {
            return Err(TraceContextError::Zero("trace id"));
        }
        if span_id == [0; 8] {
            return Err(TraceContextError::Zero("parent id"));
        }
        let known = if version == 0 { SAMPLED | RANDOM } else { SAMPLED };
        Ok(Self {
            trace_id,
            span_id,
            flags: flags & known,
            state: None,
        })
    }

    /// The root of a new trace, whose ids are random and not zero.
    pub fn root(trace_id: [u8; 16], span_id: [u8; 8]) -> Self {
        Self {
            trace_id,
            span_id,
            flags: RANDOM,
            state: None,
        }
    }

    /// The same trace, at another span.
    #[must_use]
    pub fn at(&self, span_id: [u8; 8]) -> Self {
        Self {
            span_id,
            ..self.clone()
        }
    }

    /// The same, recorded or not.
    #[must_use]
    pub fn sampled(mut self, is_sampled: bool) -> Self {
        self.flags = (self.flags & !SAMPLED) | u8::from(is_sampled);
        self
    }

    /// Takes over a `tracestate`.
    ///
    /// # Errors
    /// Why it can't be used; the context is as before.
    pub fn set_tracestate(&mut self, text: &str) -> Result<(), TraceStateError> {
        self.state = state::parse(text)?;
        Ok(())
    }

    /// Which trace.
    pub fn trace_id(&self) -> [u8; 16] {
        self.trace_id
    }

    /// Which span.
    pub fn span_id(&self) -> [u8; 8] {
        self.span_id
    }

    /// The flags, as the last field of a `traceparent` has them.
    pub fn flags(&self) -> u8 {
        self.flags
    }

    /// Whether the caller records the trace.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// It as a `traceparent`, of version 00.
    pub fn traceparent(&self) -> String {
        let mut text = String::with_capacity(LENGTH);
        text.push_str("00-");
        push_hex(&mut text, &self.trace_id);
        text.push('-');
        push_hex(&mut text, &self.span_id);
        let _ = write!(text, "-{:02x}", self.flags);
        text
    }

    /// The `tracestate`, if there is one.
    pub fn tracestate(&self) -> Option<&str> {
        self.state.as_deref()
    }
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a string can't fail.
        let _ = write!(text, "{byte:02x}");
    }
}

/// The bytes that `2 * N` digits stand for.
fn hex<const N: usize>(digits: &[u8], field: &'static str) -> Result<[u8; N], TraceContextError> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        _ => Err(TraceContextError::Digits(field)),
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    #[test]
    fn what_is_well_formed_is_read_and_written_as_version_00() {
        for (text, written) in [
            (format!("00-{TRACE}-{SPAN}-00"), "00"),
            (format!("00-{TRACE}-{SPAN}-01"), "01"),
            (format!("00-{TRACE}-{SPAN}-03"), "03"),
            // Flags that have no meaning yet are not passed on.
            (format!("00-{TRACE}-{SPAN}-ff"), "03"),
            // Later versions may have more fields.
            (format!("01-{TRACE}-{SPAN}-03"), "01"),
            (format!("cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like"), "01"),
            (format!("cc-{TRACE}-{SPAN}-01-"), "01"),
        ] {
            let context = TraceContext::parse(&text).unwrap();
            assert_eq!(
                context.traceparent(),
                format!("00-{TRACE}-{SPAN}-{written}"),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_malformed_is_refused_with_the_reason() {
        use TraceContextError::{Digits, Shape, Version, Zero};
        let zero = |count| "0".repeat(count);
        for (text, error) in [
            (String::new(), Shape),
            ("00".to_owned(), Shape),
            (format!("00-{TRACE}-{SPAN}"), Shape),
            (format!("00-{TRACE}-{SPAN}-0"), Shape),
            (format!("00-{TRACE}-{SPAN}-01-"), Shape),
            (format!("00-{TRACE}-{SPAN}-01-more"), Shape),
            (format!("01-{TRACE}-{SPAN}-01.more"), Shape),
            (format!("00-{TRACE}{SPAN}-01--"), Shape),
            (format!("00-{TRACE}x{SPAN}-01"), Shape),
            (format!(" 00-{TRACE}-{SPAN}-01"), Shape),
            (format!("ff-{TRACE}-{SPAN}-01"), Version),
            (format!("0X-{TRACE}-{SPAN}-01"), Digits("version")),
            (
                format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
                Digits("trace id"),
            ),
            (
                format!("00-{TRACE}-{}-01", SPAN.to_uppercase()),
                Digits("parent id"),
            ),
            (format!("00-{TRACE}-{SPAN}-0x"), Digits("flags field")),
            (format!("00-{}-{SPAN}-01", zero(32)), Zero("trace id")),
            (format!("00-{TRACE}-{}-01", zero(16)), Zero("parent id")),
            (format!("00-{}ü-{SPAN}-01", &TRACE[2..]), Digits("trace id")),
        ] {
            assert_eq!(TraceContext::parse(&text), Err(error), "{text}");
        }
    }
}
