//! Reads server-sent events (`text/event-stream` of the HTML standard), in whatever pieces they come.

/// What has come of a stream.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    /// A line without its end.
    line: Vec<u8>,
    /// Whether the last byte was a CR, which a LF may belong to.
    after_cr: bool,
    /// Whether a line has ended: a byte order mark comes before that.
    is_begun: bool,
    data: String,
    has_data: bool,
    /// Bytes of the event that is not complete yet.
    held: usize,
}

/// An event that is longer than one may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

impl Parser {
    /// The longest event, in bytes.
    const MOST: usize = 64 << 20;

    /// Takes the next piece; appends the data of the events that are complete with it.
    pub(crate) fn take(&mut self, piece: &[u8], messages: &mut Vec<String>) -> Result<(), TooLong> {
        for byte in piece {
            match byte {
                b'\n' if self.after_cr => self.after_cr = false,
                b'\r' | b'\n' => {
                    self.after_cr = *byte == b'\r';
                    self.end_line(messages);
                }
                byte => {
                    self.after_cr = false;
                    self.held += 1;
                    if self.held > Self::MOST {
                        return Err(TooLong);
                    }
                    self.line.push(*byte);
                }
            }
        }
        Ok(())
    }

    fn end_line(&mut self, messages: &mut Vec<String>) {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let line = match self.is_begun {
            true => &line,
            false => line.strip_prefix('\u{feff}').unwrap_or(&line),
        };
        self.is_begun = true;
        if line.is_empty() {
            return self.end_event(messages);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        // The number and the type of an event are in its data, too. Comments, and what is not known, are passed over.
        if field == "data" {
            if self.has_data {
                self.data.push('\n');
            }
            self.has_data = true;
            self.data.push_str(value);
        }
    }

    fn end_event(&mut self, messages: &mut Vec<String>) {
        self.held = 0;
        let data = std::mem::take(&mut self.data);
        if std::mem::take(&mut self.has_data) {
            messages.push(data);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(pieces: &[&[u8]]) -> Vec<String> {
        let (mut parser, mut messages) = (Parser::default(), Vec::new());
        for piece in pieces {
            parser.take(piece, &mut messages).unwrap();
        }
        messages
    }

    #[test]
    fn events_are_the_same_in_whatever_pieces_they_come() {
        let stream = "\u{feff}: hello\n\nid: 1\nevent: started\ndata: {}\n\n:\r\nid:2\r\ndata: a\r\ndata:  b\r\n\r\n\
                      data\rdata\r\rretry: 5\nid\nunknown: x\ndata: ü\n\nid: x\ndata: lost";
        let expected = ["{}", "a\n b", "\n", "ü"];
        let bytes = stream.as_bytes();
        for cut in 0..bytes.len() {
            assert_eq!(parsed(&[&bytes[..cut], &bytes[cut..]]), expected, "{cut}");
        }
        let single: Vec<_> = bytes.chunks(1).collect();
        assert_eq!(parsed(&single), expected);
    }

    #[test]
    fn an_event_without_end_is_given_up() {
        let (mut parser, mut messages) = (Parser::default(), Vec::new());
        let piece = vec![b'x'; 1 << 20];
        let taken = (0..100).try_for_each(|_| parser.take(&piece, &mut messages));
        assert_eq!(taken, Err(TooLong));
    }
}
