//! Event streams as data, each taken in pieces of every size: cases of our own, and those of web-platform-tests.

use super::*;

/// A stream, and the events that it has: name, data, id.
type Case = (
    &'static str,
    &'static [u8],
    &'static [(&'static str, &'static str, &'static str)],
);

const CASES: &[Case] = &[
    ("one event", b"data: x\n\n", &[("message", "x", "")]),
    ("no space after the colon", b"data:x\n\n", &[("message", "x", "")]),
    (
        "only one space is left out",
        b"data:  x\n\n",
        &[("message", " x", "")],
    ),
    ("a tab is no space", b"data:\tx\n\n", &[("message", "\tx", "")]),
    (
        "a byte order mark",
        b"\xEF\xBB\xBFdata: x\n\n",
        &[("message", "x", "")],
    ),
    (
        "a second byte order mark is part of a name",
        b"\xEF\xBB\xBF\xEF\xBB\xBFdata: 1\n\ndata: 2\n\n",
        &[("message", "2", "")],
    ),
    (
        "a byte order mark later on is part of a name",
        b"data: 1\n\n\xEF\xBB\xBFdata: 2\n\ndata: 3\n\n",
        &[("message", "1", ""), ("message", "3", "")],
    ),
    (
        "lines end with CR, LF and CRLF",
        b"data: a\rdata: b\r\ndata: c\n\ndata: d\r\rdata: e\r\n\r\n",
        &[
            ("message", "a\nb\nc", ""),
            ("message", "d", ""),
            ("message", "e", ""),
        ],
    ),
    (
        "CRLF is one end",
        b"data: a\r\ndata: b\r\n\r\n",
        &[("message", "a\nb", "")],
    ),
    (
        "LF CR are two ends",
        b"data: a\n\rdata: b\n\n",
        &[("message", "a", ""), ("message", "b", "")],
    ),
    (
        "other characters end no line",
        "data: a\u{b}b\u{c}c\u{85}d\u{2028}e\n\n".as_bytes(),
        &[("message", "a\u{b}b\u{c}c\u{85}d\u{2028}e", "")],
    ),
    (
        "comments",
        b": hello\n:\n::\ndata: 1\n:data: 2\ndata: 3\n\n: end\n\n",
        &[("message", "1\n3", "")],
    ),
    (
        "a line without a colon is a field without a value",
        b"data\n\ndata\ndata\n\ndata: x\n\n",
        &[("message", "", ""), ("message", "\n", ""), ("message", "x", "")],
    ),
    ("an empty value is data", b"data:\n\n", &[("message", "", "")]),
    (
        "several lines of data",
        b"data: a\ndata:\ndata: c\n\n",
        &[("message", "a\n\nc", "")],
    ),
    (
        "unknown fields, and names that only look alike",
        b"data: 1\nData: 2\ndata : 3\n data: 4\ndatax: 5\nfoo: 6\ndata: 7\n\n",
        &[("message", "1\n7", "")],
    ),
    (
        "a leading blank line",
        b"\n\ndata: x\n\n",
        &[("message", "x", "")],
    ),
    (
        "names of events",
        b"event: a\ndata: 1\n\ndata: 2\n\nevent:b\nevent: c\ndata: 3\n\nevent\ndata: 4\n\n",
        &[
            ("a", "1", ""),
            ("message", "2", ""),
            ("c", "3", ""),
            ("message", "4", ""),
        ],
    ),
    (
        "an event without data is none, and its name is forgotten",
        b"event: a\n\ndata: x\n\n",
        &[("message", "x", "")],
    ),
    (
        "ids stay until the next",
        b"id: 1\ndata: a\n\ndata: b\n\nid: 2\n\ndata: c\n\nid\ndata: d\n\n",
        &[
            ("message", "a", "1"),
            ("message", "b", "1"),
            ("message", "c", "2"),
            ("message", "d", ""),
        ],
    ),
    (
        "an id with NULL is none",
        b"id: 1\ndata: a\n\nid: 2\0\ndata: b\n\nid: \0\ndata: c\n\n",
        &[
            ("message", "a", "1"),
            ("message", "b", "1"),
            ("message", "c", "1"),
        ],
    ),
    ("a NULL in data", b"data: a\0b\n\n", &[("message", "a\0b", "")]),
    (
        "ids and data of any script",
        "id: …\ndata: grün 😀\n\n".as_bytes(),
        &[("message", "grün 😀", "…")],
    ),
    (
        "what is not UTF-8 is replaced",
        b"data: a\xffb\xe2\x82\n\n",
        &[("message", "a\u{fffd}b\u{fffd}", "")],
    ),
    (
        "no blank line at the end",
        b"data: 1\n\ndata: 2\n",
        &[("message", "1", "")],
    ),
    (
        "no line end at the end",
        b"data: 1\n\ndata: 2",
        &[("message", "1", "")],
    ),
    ("nothing", b"", &[]),
];

/// The streams of web-platform-tests (`eventsource/`), by the names of their files. Where one has no blank line at its end,
/// its server there adds it.
const WEB_PLATFORM_TESTS: &[Case] = &[
    (
        "event-data",
        b"data:msg\ndata: msg\n\n:\nfalsefield:msg\n\nfalsefield:msg\nMsg:msg\n\ndata\n\n:data\n\ndata:end\n\n",
        &[("message", "msg\nmsg", ""), ("message", "", ""), ("message", "end", "")],
    ),
    (
        "format-bom",
        b"\xEF\xBB\xBFdata:1\n\n\xEF\xBB\xBFdata:2\n\ndata:3\n\n",
        &[("message", "1", ""), ("message", "3", "")],
    ),
    (
        "format-bom-2",
        b"\xEF\xBB\xBF\xEF\xBB\xBFdata:1\n\ndata:2\n\ndata:3\n\n",
        &[("message", "2", ""), ("message", "3", "")],
    ),
    (
        "format-comments",
        b"data:1\r:\0\n:\r\ndata:2\n:xxxxxxxxxxxxxxxx\rdata:3\n:data:fail\r:xxxxxxxxxxxxxxxx\ndata:4\n\n",
        &[("message", "1\n2\n3\n4", "")],
    ),
    (
        "format-data-before-final-empty-line",
        b"data:test1\n\nid:test\ndata:test2",
        &[("message", "test1", "")],
    ),
    (
        "format-field-data",
        b"data:\n\ndata\ndata\n\ndata:test\n\n",
        &[("message", "", ""), ("message", "\n", ""), ("message", "test", "")],
    ),
    (
        "format-field-event",
        b"event:test\ndata:x\n\ndata:x\n\n",
        &[("test", "x", ""), ("message", "x", "")],
    ),
    (
        "format-field-event-empty",
        b"event: \ndata:data\n\n",
        &[("message", "data", "")],
    ),
    (
        "format-field-id-2",
        b"id: 1\ndata: a\n\ndata: b\n\n",
        &[("message", "a", "1"), ("message", "b", "1")],
    ),
    (
        "format-field-id-3",
        b"id: 1\ndata: a\n\nid\ndata: b\n\n",
        &[("message", "a", "1"), ("message", "b", "")],
    ),
    ("format-field-id-null", b"id: \0\0\ndata: hello\n\n", &[("message", "hello", "")]),
    (
        "format-field-parsing",
        b"data:\0\ndata:  2\rData:1\ndata\0:2\ndata:1\r\0data:4\nda-ta:3\rdata_5\ndata:3\rdata:\r\n data:32\ndata:4\n\n",
        &[("message", "\0\n 2\n1\n3\n\n4", "")],
    ),
    (
        "format-field-unknown",
        b"data:test\n data\ndata\nfoobar:xxx\njustsometext\n:thisisacommentyay\ndata:test\n\n",
        &[("message", "test\n\ntest", "")],
    ),
    (
        "format-leading-space",
        b"data:\ttest\rdata: \ndata:test\n\n",
        &[("message", "\ttest\n\ntest", "")],
    ),
    (
        "format-newlines",
        b"data:test\r\ndata\ndata:test\r\n\r\n",
        &[("message", "test\n\ntest", "")],
    ),
    ("format-null-character", b"data:\0\n\n\n\n", &[("message", "\0", "")]),
    ("format-utf-8", "data:ok…\n\n".as_bytes(), &[("message", "ok…", "")]),
];

/// What a stream has, taken in pieces of this size.
fn items(stream: &[u8], size: usize) -> Vec<Item> {
    let mut parser = Parser::new(String::new(), 1000);
    let mut items = Vec::new();
    for piece in stream.chunks(size) {
        parser.take(piece, &mut items).unwrap();
    }
    items
}

#[test]
fn streams_are_parsed_as_the_standard_says_in_pieces_of_every_size() {
    for (what, stream, expected) in CASES.iter().chain(WEB_PLATFORM_TESTS) {
        for size in 1..=stream.len().max(1) {
            let events: Vec<_> = items(stream, size)
                .into_iter()
                .map(|item| match item {
                    Item::Event(event) => (event.name, event.data, event.id),
                    Item::Retry(_) => panic!("{what}"),
                })
                .collect();
            let expected: Vec<_> = expected
                .iter()
                .map(|(name, data, id)| ((*name).to_owned(), (*data).to_owned(), (*id).to_owned()))
                .collect();
            assert_eq!(events, expected, "{what}, in pieces of {size}");
        }
    }
}

#[test]
fn only_digits_are_a_time_for_retry() {
    let stream = b"retry: 30\nretry:1x\nretry: -1\nretry\nretry: 1.5\nretry:  7\nretry: 0\nretry: 99999999999999999999999\n\n";
    let expected = [30, 0, u64::MAX].map(|ms| Item::Retry(Duration::from_millis(ms)));
    for size in 1..=stream.len() {
        assert_eq!(items(stream, size), expected);
    }
}

#[test]
fn an_event_is_bounded_and_comments_are_no_part_of_it() {
    let mut parser = Parser::new(String::new(), 100);
    let mut items = Vec::new();
    for _ in 0..1000 {
        parser.take(b": a comment\n", &mut items).unwrap();
    }
    for _ in 0..10 {
        parser.take(b"data: 123456789\n\n", &mut items).unwrap();
    }
    assert_eq!(items.len(), 10);
    let long = [b"data: ", &[b'x'; 200][..]].concat();
    assert_eq!(parser.take(&long, &mut items), Err(TooLong));
    let many = b"data: 123456789\n".repeat(10);
    let mut parser = Parser::new(String::new(), 100);
    assert_eq!(parser.take(&many, &mut items), Err(TooLong));
}

#[test]
fn an_id_outlives_the_connection() {
    let mut parser = Parser::new("7".to_owned(), 100);
    let mut items = Vec::new();
    parser.take(b"data: x\n\nid: 8\ndata: y\n\n", &mut items).unwrap();
    let ids: Vec<_> = items
        .iter()
        .map(|item| match item {
            Item::Event(event) => (event.id.as_str(), event.has_id),
            Item::Retry(_) => panic!("{item:?}"),
        })
        .collect();
    assert_eq!(ids, [("7", false), ("8", true)]);
}
