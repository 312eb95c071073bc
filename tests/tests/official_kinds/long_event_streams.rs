//! `http_sse` and what lies between it and the server, or comes of it in masses: a proxy that cuts, and 1 GiB of events.

use super::official_http_sse::{assert_each_once, rest, to};
use executor_runtime_protocol::Status;
use executor_runtime_tests::{
    amount,
    installed::Installed,
    kind::Kind,
    scripted::{Answer, Request, Scripted},
    status_field,
};
use std::{
    fs::File,
    io::{BufRead, BufReader, BufWriter, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

/// All bytes of an answer in chunks, whose stream has the events after the one that is asked for.
fn chunked(request: &Request, last: usize) -> Vec<u8> {
    let mut answer =
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for piece in rest(request, last).as_bytes().chunks(7) {
        answer.extend(format!("{:x}\r\n", piece.len()).as_bytes());
        answer.extend(piece);
        answer.extend(b"\r\n");
    }
    answer.extend(b"0\r\n\r\n");
    answer
}

#[test]
fn a_proxy_that_cuts_the_connection_at_any_byte_costs_no_event() {
    const LAST: usize = 3;
    let kind = Kind::component("http_sse");
    let next = AtomicUsize::new(0);
    let length = {
        let server = Scripted::start(|request, _| Answer::Bytes(chunked(request, LAST)));
        assert_each_once(&kind.run(&to(&kind, &server).with("http.method", "GET")), LAST);
        chunked(&server.requests()[0], LAST).len()
    };
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let cut = next.fetch_add(1, Ordering::SeqCst);
                    if cut > length {
                        return;
                    }
                    let server = Scripted::start(move |request, n| {
                        let mut answer = chunked(request, LAST);
                        if n == 0 {
                            answer.truncate(cut);
                        }
                        Answer::Bytes(answer)
                    });
                    let invocation = to(&kind, &server)
                        .with("http.method", "GET")
                        .field("invocation_id", format!("cut-{cut}"));
                    let result = kind.run(&invocation);
                    assert_eq!(result.status, Status::Succeeded, "at {cut}: {result:?}");
                    assert_each_once(&result, LAST);
                }
            });
        }
    });
}

/// A server of one stream that stops after `first` bytes of events and after `total`, each time until it is told to go on.
struct Halting {
    url: String,
    halted: Receiver<()>,
    go_on: Sender<()>,
}

/// The data of event `n`: its number, and 1000 bytes more.
fn long_data(n: usize) -> String {
    format!("{n:>10} {}", "x".repeat(1000))
}

impl Halting {
    fn start(first: usize, total: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/events", listener.local_addr().unwrap());
        let (halts, halted) = channel();
        let (go_on, goes_on) = channel();
        thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            read_head(&stream);
            let mut stream = BufWriter::with_capacity(1 << 16, stream);
            write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
            )
            .unwrap();
            let mut written = 0;
            let mut n = 0;
            for limit in [first, total] {
                while written < limit {
                    n += 1;
                    let event = format!("id: {n}\ndata: {}\n\n", long_data(n));
                    stream.write_all(event.as_bytes()).unwrap();
                    written += event.len();
                }
                stream.flush().unwrap();
                halts.send(()).unwrap();
                goes_on.recv().unwrap();
            }
            write!(stream, "event: end\ndata: {n}\n\n").unwrap();
            stream.flush().unwrap();
            let _ = stream.get_mut().read(&mut [0]);
        });
        Self { url, halted, go_on }
    }
}

fn read_head(stream: &TcpStream) {
    let lines = BufReader::new(stream).lines();
    let _ = lines.map_while(Result::ok).find(String::is_empty);
}

/// The most memory that a process has had, in KiB.
fn peak(pid: u32) -> usize {
    let field = status_field(pid.try_into().unwrap(), "VmHWM").unwrap();
    field.trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_long_stream_takes_no_more_memory_than_a_short_one() {
    const FIRST: usize = 16 << 20;
    let total = amount(96 << 20, 1 << 30);
    let server = Halting::start(FIRST, total);
    let place = Installed::component("http_sse")
        .configured("[plugins.http-sse.limits]\nartifact_bytes = 4_000_000_000\n");
    let invocation = place
        .invocation(&[
            ("http.url", &server.url),
            ("http.method", "GET"),
            ("sse.success_events", "end"),
        ])
        .id("long");
    let mut host = place.start(&invocation);
    server.halted.recv().unwrap();
    let before = peak(host.id());
    server.go_on.send(()).unwrap();
    server.halted.recv().unwrap();
    let after = peak(host.id());
    server.go_on.send(()).unwrap();
    assert!(host.wait().unwrap().success());
    assert!(
        after < before + (16 << 10),
        "{after} KiB after {total} bytes of events, {before} KiB after {FIRST}"
    );
    // And every event is kept.
    let file = place.scene.capture("long").join("artifacts/events");
    let mut lines = BufReader::new(File::open(file).unwrap()).lines();
    let mut n = 0;
    let end = loop {
        n += 1;
        let line = lines.next().expect("there is an end").unwrap();
        if line.contains("\"end\"") {
            break line;
        }
        let expected = format!(
            "{{\"event\":\"message\",\"id\":\"{n}\",\"data\":\"{}\"}}",
            long_data(n)
        );
        assert!(line == expected, "{line}");
    };
    assert_eq!(
        end,
        format!("{{\"event\":\"end\",\"id\":\"{0}\",\"data\":\"{0}\"}}", n - 1)
    );
    assert!(lines.next().is_none());
}
