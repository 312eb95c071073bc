//! Bodies, both ways.

use super::HttpError;
use crate::carrier;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use std::{
    fmt,
    io::{self, Read},
    time::Duration,
};

/// The body of a request.
///
/// Text and bytes are sent with their length; a stream is sent as it is read, in chunks. All but a
/// [reader](Self::reader) can be sent again after a redirect that asks for it (307, 308).
#[derive(Debug, Default)]
pub struct Body(pub(super) Source);

#[derive(Default)]
pub(super) enum Source {
    #[default]
    Empty,
    Bytes(Vec<u8>),
    Input,
    Reader(Box<dyn Read + Send + Sync>),
}

impl Body {
    /// No body.
    pub fn empty() -> Self {
        Self::default()
    }

    /// The invocation's input payload; empty if there is none.
    pub fn input() -> Self {
        Self(Source::Input)
    }

    /// Whatever comes out of `reader`, once.
    pub fn reader(reader: impl Read + Send + Sync + 'static) -> Self {
        Self(Source::Reader(Box::new(reader)))
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::Input => f.write_str("Input"),
            Self::Reader(_) => f.write_str("Reader"),
        }
    }
}

macro_rules! body_from {
    ($($type:ty),+) => { $(
        impl From<$type> for Body {
            fn from(content: $type) -> Self {
                let bytes: Vec<u8> = content.into();
                Self(if bytes.is_empty() { Source::Empty } else { Source::Bytes(bytes) })
            }
        }
    )+ };
}
body_from!(String, &str, Vec<u8>, &[u8]);

impl From<()> for Body {
    fn from((): ()) -> Self {
        Self::empty()
    }
}

impl From<&serde_json::Value> for Body {
    fn from(value: &serde_json::Value) -> Self {
        value.to_string().into()
    }
}

/// A request's body on its way out: bytes, and how many there are if that is known.
pub(crate) enum Payload<'a> {
    Empty,
    Sized(Box<dyn Read + 'a>, u64),
    Streamed(Box<dyn Read + 'a>),
}

/// The body of a response, read as it arrives. Reading ends at once when the run is told to stop.
///
/// A failed read is an `io::Error` that holds the [`HttpError`]; `?` turns it into the right
/// [`RunError`](crate::RunError).
#[derive(Debug)]
pub struct BodyReader {
    pub(crate) stream: carrier::BodyStream,
}

impl BodyReader {
    /// Reads at most `limit` bytes, and says whether that was all.
    ///
    /// # Errors
    /// When the body breaks off, or the run is told to stop.
    pub fn read_up_to(&mut self, limit: usize) -> io::Result<(Vec<u8>, bool)> {
        let mut bytes = Vec::new();
        let more_than_limit = limit as u64 + 1;
        self.by_ref().take(more_than_limit).read_to_end(&mut bytes)?;
        let whole = bytes.len() <= limit;
        bytes.truncate(limit);
        Ok((bytes, whole))
    }

    /// Reads what has arrived, as [`read`](Read::read) does, and waits for it no longer than `time`: None if nothing has come
    /// by then. The answer is as it was, and can be read on. For streams that have a time limit of their own for being
    /// silent.
    ///
    /// # Errors
    /// When the body breaks off, or the run is told to stop.
    pub fn read_within(&mut self, time: Duration, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        Ok(self.stream.read_within(time, buffer)?)
    }

    /// Reads the body, which is an error if it is longer than `limit` bytes.
    ///
    /// # Errors
    /// When it is too long, breaks off, or the run is told to stop.
    pub fn bytes(&mut self, limit: usize) -> io::Result<Vec<u8>> {
        match self.read_up_to(limit)? {
            (bytes, true) => Ok(bytes),
            (_, false) => Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("the response's body is longer than {limit} bytes"),
            )),
        }
    }

    /// The beginning of the body as text, for messages: at most `limit` characters, and what is not UTF-8
    /// replaced.
    ///
    /// # Errors
    /// When the body breaks off, or the run is told to stop.
    pub fn preview(&mut self, limit: usize) -> io::Result<String> {
        // A character has at most four bytes.
        let (bytes, _) = self.read_up_to(limit.saturating_mul(4))?;
        Ok(String::from_utf8_lossy(&bytes).chars().take(limit).collect())
    }

    /// Reads the body as JSON, at most `limit` bytes of it, as a `T`: a type of your own that is `Deserialize`, or
    /// [`serde_json::Value`].
    ///
    /// # Errors
    /// As for [`bytes`](Self::bytes), and [`io::ErrorKind::InvalidData`] when it is no JSON, or not what a `T` needs.
    pub fn json<T: DeserializeOwned>(&mut self, limit: usize) -> io::Result<T> {
        let bytes = self.bytes(limit)?;
        serde_json::from_slice(&bytes).map_err(|error| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                match error.classify() {
                    Category::Data => {
                        format!("the response's body is not the JSON that was expected: {error}")
                    }
                    _ => format!("the response's body is not JSON: {error}"),
                },
            )
        })
    }
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer).map_err(|error: HttpError| error.into())
    }
}
