//! Event streams (`text/event-stream` of the HTML standard, section 9.2.6), in whatever pieces they come.
//!
//! It follows the standard in all but one thing: an event that is not complete at the end of the stream is dropped, but the
//! last event id outlives the connection, as in browsers.

use memchr::memchr2;
use std::time::Duration;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// `message` where the stream gives none.
    pub(crate) name: String,
    pub(crate) data: String,
    /// The last id that the stream gave, in this event or before; empty if none.
    pub(crate) id: String,
    /// Whether this very event has an id.
    pub(crate) has_id: bool,
}

/// What comes of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Event(Event),
    /// How long to wait before the stream is asked for again.
    Retry(Duration),
}

/// An event is longer than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// What has come of a stream.
#[derive(Debug)]
pub(crate) struct Parser {
    /// A line without its end.
    line: Vec<u8>,
    /// Whether the last byte was a CR, which a LF may belong to.
    after_cr: bool,
    /// Whether a line has ended: a byte order mark comes before that.
    is_begun: bool,
    name: String,
    data: String,
    has_data: bool,
    id: String,
    has_id: bool,
    /// Bytes of the event that is not complete yet.
    held: usize,
    limit: usize,
}

impl Parser {
    /// For a stream that goes on after the event `id`, with events of at most `limit` bytes.
    pub(crate) fn new(id: String, limit: usize) -> Self {
        Self {
            line: Vec::new(),
            after_cr: false,
            is_begun: false,
            name: String::new(),
            data: String::new(),
            has_data: false,
            id,
            has_id: false,
            held: 0,
            limit,
        }
    }

    /// Takes the next piece; appends what is complete with it.
    pub(crate) fn take(&mut self, mut piece: &[u8], items: &mut Vec<Item>) -> Result<(), TooLong> {
        if self.after_cr && !piece.is_empty() {
            self.after_cr = false;
            piece = piece.strip_prefix(b"\n").unwrap_or(piece);
        }
        while let Some(end) = memchr2(b'\n', b'\r', piece) {
            self.count(end)?;
            match self.line.is_empty() {
                // Mostly a line is whole in its piece, and is taken from there.
                true => self.end_line(&piece[..end], items),
                false => {
                    let mut line = std::mem::take(&mut self.line);
                    line.extend_from_slice(&piece[..end]);
                    self.end_line(&line, items);
                    // Its room is used again.
                    line.clear();
                    self.line = line;
                }
            }
            let is_cr = piece[end] == b'\r';
            piece = &piece[end + 1..];
            if is_cr {
                match piece {
                    [] => self.after_cr = true,
                    [b'\n', rest @ ..] => piece = rest,
                    _ => {}
                }
            }
        }
        self.count(piece.len())?;
        self.line.extend_from_slice(piece);
        Ok(())
    }

    /// So many more bytes are an event's.
    fn count(&mut self, bytes: usize) -> Result<(), TooLong> {
        self.held += bytes;
        match self.held > self.limit {
            true => Err(TooLong),
            false => Ok(()),
        }
    }

    fn end_line(&mut self, line: &[u8], items: &mut Vec<Item>) {
        let text = String::from_utf8_lossy(line);
        let text = match std::mem::replace(&mut self.is_begun, true) {
            true => &*text,
            false => text.strip_prefix('\u{feff}').unwrap_or(&text),
        };
        if text.is_empty() {
            self.end_event(items);
        } else if text.starts_with(':') {
            // A comment is no part of an event.
            self.held = self.held.saturating_sub(line.len());
        } else {
            self.field(text, items);
        }
    }

    fn field(&mut self, line: &str, items: &mut Vec<Item>) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.has_data = true;
                self.data.push_str(value);
            }
            "id" if !value.contains('\0') => {
                value.clone_into(&mut self.id);
                self.has_id = true;
            }
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                let milliseconds = value.parse().unwrap_or(u64::MAX);
                items.push(Item::Retry(Duration::from_millis(milliseconds)));
            }
            _ => {}
        }
    }

    fn end_event(&mut self, items: &mut Vec<Item>) {
        self.held = 0;
        let name = std::mem::take(&mut self.name);
        let data = std::mem::take(&mut self.data);
        if !std::mem::take(&mut self.has_data) {
            return;
        }
        items.push(Item::Event(Event {
            name: if name.is_empty() {
                "message".to_owned()
            } else {
                name
            },
            data,
            id: self.id.clone(),
            has_id: std::mem::take(&mut self.has_id),
        }));
    }
}

#[cfg(test)]
mod tests;
