//! The kind `http` against servers that answer oddly, too much, or never to the end.

use executor_runtime::protocol::{RuntimeResult, Status};
use executor_runtime_tests::{
    Finished,
    installed::Installed,
    kind::{Kind, artifact},
    on_every_carrier,
    scripted::{Answer, Scripted},
    status_field,
};
use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::mpsc,
    time::{Duration, Instant},
};

on_every_carrier! {
    "http":
    odd_answers_are_read_as_http_says,
    what_is_no_proper_answer_is_a_failure,
    many_and_long_headers_are_taken_up_to_a_limit,
    a_head_without_an_end_is_cut_off,
    a_slow_answer_times_out_wherever_it_is,
    a_redirect_loop_ends,
    after_303_the_answer_is_fetched,
    a_compressed_body_is_kept_as_it_came,
    a_reset_is_no_end_of_a_body,
}

fn summary(result: &RuntimeResult) -> &str {
    result.error_summary.as_deref().unwrap_or_default()
}

fn code(result: &RuntimeResult) -> &str {
    result.metadata.get("error.kind").map_or("", String::as_str)
}

fn run_raw(kind: &Kind, method: &str, answer: &[u8]) -> RuntimeResult {
    let server = Scripted::sequence(vec![Answer::Bytes(answer.to_vec())]);
    let invocation = kind
        .invocation(&[("http.url", &server.url("/")), ("http.method", method)])
        .field("timeout_seconds", 20)
        .field("artifact_directory", kind.path("artifacts"));
    kind.run(&invocation)
}

fn odd_answers_are_read_as_http_says(kind: &Kind) {
    for (name, method, answer, status, body) in [
        (
            "chunks, an extension and a trailer",
            "GET",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4;x=y\r\nwiki\r\n5\r\npedia\r\n0\r\nx-end: 1\r\n\r\n",
            200,
            "wikipedia",
        ),
        (
            "no length: the body ends with the connection",
            "GET",
            "HTTP/1.1 200 OK\r\n\r\nall of it",
            200,
            "all of it",
        ),
        ("HTTP/1.0", "GET", "HTTP/1.0 200 OK\r\n\r\nold", 200, "old"),
        (
            "no body after HEAD, whatever the length",
            "HEAD",
            "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n",
            200,
            "",
        ),
        ("204", "GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
        (
            "what is longer than its length is cut",
            "GET",
            "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbodymore",
            200,
            "body",
        ),
        (
            "interim answers",
            "POST",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n\
             HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            200,
            "ok",
        ),
        (
            "no reason",
            "GET",
            "HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n",
            200,
            "",
        ),
        (
            "a status that nobody knows",
            "GET",
            "HTTP/1.1 299 Odd\r\ncontent-length: 1\r\n\r\nx",
            299,
            "x",
        ),
        (
            "a redirect without a location",
            "GET",
            "HTTP/1.1 302 Found\r\ncontent-length: 5\r\n\r\nwhere",
            302,
            "where",
        ),
        (
            "a status beyond 599",
            "GET",
            "HTTP/1.1 799 Odd\r\ncontent-length: 1\r\n\r\nx",
            799,
            "x",
        ),
    ] {
        let result = run_raw(kind, method, answer.as_bytes());
        assert_eq!(result.exit_code, Some(status), "{name}: {result:?}");
        let good = (200..300).contains(&status);
        assert_eq!(result.status == Status::Succeeded, good, "{name}: {result:?}");
        if !good {
            assert_eq!(summary(&result), format!("HTTP {status}: {body}"), "{name}");
        }
        assert_eq!(
            artifact(&result, "response_body").unwrap(),
            body.as_bytes(),
            "{name}"
        );
        assert_eq!(
            result.metadata["http.body_bytes"],
            body.len().to_string(),
            "{name}"
        );
    }
}

fn what_is_no_proper_answer_is_a_failure(kind: &Kind) {
    for (name, answer) in [
        ("nothing", ""),
        ("half a head", "HTTP/1.1 200 OK\r\ncontent-le"),
        (
            "two lengths",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        ),
        ("no length", "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n"),
        (
            "no chunk",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
        ),
        (
            "chunks without an end",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
        ),
        ("no status", "HTTP/1.1 abc\r\n\r\n"),
        (
            "a NUL in a header",
            "HTTP/1.1 200 OK\r\nx-a: \0\r\ncontent-length: 0\r\n\r\n",
        ),
        ("another protocol", "SIP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n"),
    ] {
        let result = run_raw(kind, "GET", answer.as_bytes());
        assert_eq!(
            (result.status, code(&result)),
            (Status::Failed, "network"),
            "{name}: {result:?}"
        );
        assert!(
            summary(&result).starts_with("http error: 127.0.0.1:"),
            "{name}: {}",
            summary(&result)
        );
        if name == "no chunk" {
            assert!(
                summary(&result).contains(" sent an invalid HTTP response: "),
                "{}",
                summary(&result)
            );
        }
        assert_eq!(result.exit_code, None, "{name}");
        assert!(result.artifacts.is_empty(), "{name}");
    }
}

fn with_headers(count: usize, length: usize) -> Vec<u8> {
    let mut head = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n".to_owned();
    for n in 0..count {
        head.push_str(&format!("x-{n:05}: {}\r\n", "v".repeat(length)));
    }
    head.push_str("\r\n");
    head.into_bytes()
}

fn many_and_long_headers_are_taken_up_to_a_limit(kind: &Kind) {
    for (count, length) in [(99, 10), (1, 8_000), (10, 8_000), (60, 1_000)] {
        let result = run_raw(kind, "GET", &with_headers(count, length));
        assert_eq!(
            result.status,
            Status::Succeeded,
            "{count} of {length}: {result:?}"
        );
        let kept = result
            .metadata
            .keys()
            .filter(|key| key.starts_with("http.header."));
        assert_eq!(kept.count(), (count + 1).min(32), "{count} of {length}");
    }
    for (count, length) in [(100_000, 1), (1, 2_000_000)] {
        let result = run_raw(kind, "GET", &with_headers(count, length));
        assert_eq!(
            (result.status, code(&result)),
            (Status::Failed, "network"),
            "{count} of {length}: {result:?}"
        );
        assert!(
            summary(&result).contains("sent an invalid HTTP response"),
            "{}",
            summary(&result)
        );
    }
}

fn a_head_without_an_end_is_cut_off(kind: &Kind) {
    for piece in ["x-a: b\r\n", "x"] {
        let server = Scripted::sequence(vec![Answer::Endless {
            head: b"HTTP/1.1 200 OK\r\n".to_vec(),
            piece: piece.repeat(1000).into_bytes(),
            pause: Duration::ZERO,
        }]);
        let invocation = kind
            .invocation(&[("http.url", &server.url("/"))])
            .field("timeout_seconds", 20);
        let result = kind.run(&invocation);
        assert_eq!(
            (result.status, code(&result)),
            (Status::Failed, "network"),
            "{result:?}"
        );
    }
}

fn a_slow_answer_times_out_wherever_it_is(kind: &Kind) {
    let slow = |head: &str, piece: &str| Answer::Endless {
        head: head.as_bytes().to_vec(),
        piece: piece.as_bytes().to_vec(),
        pause: Duration::from_millis(50),
    };
    // Loading is not what is timed here.
    run_raw(kind, "GET", b"");
    for (place, answer) in [
        ("status", slow("HTTP/1.1 200 ", "O")),
        ("header", slow("HTTP/1.1 200 OK\r\nx: ", "y")),
        ("headers", slow("HTTP/1.1 200 OK\r\n", "x: y\r\n")),
        (
            "body",
            slow("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n", "."),
        ),
        (
            "chunk",
            slow(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
                "1\r\n.\r\n",
            ),
        ),
        ("body without length", slow("HTTP/1.1 500 No\r\n\r\n", ".")),
        ("interim answers", slow("", "HTTP/1.1 103 Early Hints\r\n\r\n")),
    ] {
        for keep in [false, true] {
            let server = Scripted::sequence(vec![answer.clone()]);
            let mut invocation = kind
                .invocation(&[("http.url", &server.url("/"))])
                .field("timeout_seconds", 1);
            if keep {
                invocation = invocation.field("artifact_directory", kind.path("artifacts"));
            }
            let begun = Instant::now();
            let result = kind.run(&invocation);
            assert_eq!(
                (result.status, code(&result)),
                (Status::TimedOut, "timeout"),
                "{place}: {result:?}"
            );
            assert_eq!(
                summary(&result),
                "timed out in the http request (timeout 1 s)",
                "{place}"
            );
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "{place}: {:?}",
                begun.elapsed()
            );
            assert!(result.artifacts.is_empty(), "{place}: {result:?}");
        }
    }
}

fn a_redirect_loop_ends(kind: &Kind) {
    let server = Scripted::sequence(vec![Answer::new(302, "").header("location", "/again")]);
    let result = kind.run(&kind.invocation(&[("http.url", &server.url("/"))]));
    assert_eq!((result.status, code(&result)), (Status::Failed, "redirect"));
    assert_eq!(summary(&result), "http error: more than 20 redirects");
    assert_eq!(server.requests().len(), 21);
}

fn after_303_the_answer_is_fetched(kind: &Kind) {
    let server = Scripted::start(|request, _| match &*request.target {
        "/" => Answer::new(303, "").header("location", "answer?x=1#part"),
        _ => Answer::new(200, ""),
    });
    let invocation = kind
        .invocation(&[
            ("http.url", &server.url("/")),
            ("http.body", "{}"),
            ("http.header.Authorization", "Bearer t"),
        ])
        .with("http.method", "PUT");
    let result = kind.run(&invocation);
    assert_eq!(result.exit_code, Some(200), "{result:?}");
    assert_eq!(server.lines(), ["PUT /", "GET /answer?x=1"]);
    let fetched = &server.requests()[1];
    assert_eq!(
        (
            fetched.text(),
            fetched.header("content-type"),
            fetched.header("authorization")
        ),
        (String::new(), "", "Bearer t")
    );
}

fn a_compressed_body_is_kept_as_it_came(kind: &Kind) {
    // What gzip makes of `hello`.
    let body = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xcb\x48\xcd\xc9\xc9\x07\0\x86\xa6\x10\x36\x05\0\0\0".to_vec();
    let server = Scripted::sequence(vec![
        Answer::new(200, body.clone()).header("content-encoding", "gzip"),
    ]);
    let invocation = kind
        .invocation(&[("http.url", &server.url("/"))])
        .field("artifact_directory", kind.path("artifacts"));
    let result = kind.run(&invocation);
    assert_eq!(artifact(&result, "response_body").unwrap(), body);
    assert_eq!(result.metadata["http.header.content-encoding"], "gzip");
    assert_eq!(server.requests()[0].header("accept-encoding"), "");
}

fn a_reset_is_no_end_of_a_body(kind: &Kind) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // What is not read when it closes makes the system reset the connection.
        stream.peek(&mut [0]).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nnot all").unwrap();
    });
    let invocation = kind
        .invocation(&[("http.url", &url)])
        .field("artifact_directory", kind.path("artifacts"));
    let result = kind.run(&invocation);
    server.join().unwrap();
    assert_eq!(
        (result.status, code(&result)),
        (Status::Failed, "network"),
        "{result:?}"
    );
    assert!(
        summary(&result).ends_with("closed the connection before its answer was complete"),
        "{}",
        summary(&result)
    );
    assert!(result.artifacts.is_empty());
}

#[track_caller]
fn keep(installed: &Installed, url: &str) -> Finished {
    let invocation = installed
        .invocation(&[("http.url", url)])
        .with("timeout_seconds", 20)
        .path("artifact_directory", &installed.scene.path("artifacts"));
    installed.run(&invocation)
}

#[test]
fn a_body_over_the_operators_limit_is_cut_and_says_so() {
    for installed in Installed::on_both("http")
        .map(|installed| installed.configured("[plugins.http.limits]\nartifact_bytes = 1000\n"))
    {
        for (status, length, kept, truncated) in [
            (200, 999, 999, false),
            (200, 1000, 1000, false),
            (200, 1001, 1000, true),
            (200, 5_000_000, 1000, true),
            (500, 1000, 1000, false),
            (500, 1001, 1000, true),
            (500, 5_000_000, 1000, true),
            // As much as a preview may take, and no more.
            (500, 800, 800, false),
        ] {
            let body: Vec<u8> = (0..length).map(|n| b'a' + (n % 23) as u8).collect();
            let server = Scripted::sequence(vec![Answer::new(status, body.clone())]);
            let finished = keep(&installed, &server.url("/"));
            let result = finished.result();
            let name = format!("{status} {length}: {result:?}");
            assert_eq!(result.exit_code, Some(status.into()), "{name}");
            if status == 200 {
                assert_eq!(result.status, Status::Succeeded, "{name}");
            } else {
                let preview = String::from_utf8_lossy(&body[..200]);
                assert_eq!(summary(&result), format!("HTTP 500: {preview}"), "{name}");
            }
            assert!(
                artifact(&result, "response_body").unwrap() == body[..kept],
                "{name}"
            );
            assert_eq!(result.metadata["http.body_bytes"], kept.to_string(), "{name}");
            let yes = truncated.then_some("true");
            let told = |key: Option<&String>| key.map(String::as_str) == yes;
            assert!(told(result.metadata.get("http.body_truncated")), "{name}");
            assert!(told(result.artifacts[0].metadata.get("truncated")), "{name}");
        }
        // What never ends is over at the limit too.
        let server = Scripted::sequence(vec![Answer::Endless {
            head: b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
            piece: vec![b'x'; 10_000],
            pause: Duration::ZERO,
        }]);
        let result = keep(&installed, &server.url("/")).expect(Status::Succeeded);
        assert_eq!(result.metadata["http.body_truncated"], "true");
    }
}

#[test]
fn a_limit_below_the_preview_leaves_the_preview_whole() {
    for installed in Installed::on_both("http") {
        for limit in [0, 10] {
            installed.scene.file(
                "executor-runtime.toml",
                format!("[plugins.http.limits]\nartifact_bytes = {limit}\n"),
            );
            let server = Scripted::sequence(vec![Answer::new(500, "y".repeat(300))]);
            let result = keep(&installed, &server.url("/")).expect(Status::Failed);
            assert_eq!(summary(&result), format!("HTTP 500: {}", "y".repeat(200)));
            assert_eq!(result.metadata["http.body_bytes"], limit.to_string());
            assert_eq!(result.metadata["http.body_truncated"], "true");
            let empty = Scripted::sequence(vec![Answer::new(200, "")]);
            let result = keep(&installed, &empty.url("/")).expect(Status::Succeeded);
            assert_eq!(result.metadata["http.body_bytes"], "0");
            assert_eq!(result.metadata.get("http.body_truncated"), None);
        }
    }
}

#[test]
fn credentials_do_not_follow_to_another_origin() {
    for installed in Installed::on_both("http")
        .map(|installed| installed.configured("[plugins.http]\nallow_hosts = [\"*:*\"]\n"))
    {
        let other = Scripted::sequence(vec![Answer::new(200, "")]);
        let there = other.url("/there");
        let first = Scripted::start(move |request, _| match &*request.target {
            "/" => Answer::new(307, "").header("location", "/here"),
            _ => Answer::new(307, "").header("location", &there),
        });
        let invocation = installed.invocation(&[
            ("http.url", &first.url("/")),
            ("http.body", "{}"),
            ("http.header.Authorization", "Bearer s3cret"),
            ("http.header.Cookie", "session=s3cret"),
            ("http.header.X-Api-Key", "s3cret"),
            ("http.header.Idempotency-Key", "once"),
            ("http.header.X-Trace", "t"),
        ]);
        installed.run(&invocation).expect(Status::Succeeded);
        for request in first.requests() {
            assert_eq!(request.header("authorization"), "Bearer s3cret");
        }
        let [request] = &other.requests()[..] else {
            panic!("one request gets there");
        };
        assert!(!format!("{request:?}").contains("s3cret"), "{request:?}");
        assert_eq!(request.header("x-trace"), "t");
        assert_eq!(request.header("idempotency-key"), "once");
        assert_eq!(request.text(), "{}");
    }
}

#[test]
fn a_long_body_is_never_held_in_memory() {
    let peak = |installed: &Installed, length: usize| {
        let (server, url) = HeldBack::new(length);
        let host = installed.start(&installed.invocation(&[("http.url", &url)]));
        server.sent();
        // The host, and what it runs the plugin in.
        let peak = installed
            .scene
            .processes()
            .iter()
            .filter_map(|process| status_field(process.pid, "VmHWM"))
            .map(|kib| kib.trim_end_matches("kB").trim().parse::<u64>().unwrap())
            .max()
            .unwrap();
        server.release();
        installed.scene.finish(host).expect(Status::Succeeded);
        peak
    };
    for installed in Installed::on_both("http") {
        // Compiled and cached before it is measured.
        peak(&installed, 1000);
        let (short, long) = (peak(&installed, 1_000_000), peak(&installed, 200_000_000));
        assert!(long < short + 8 * 1024, "{short} KiB, then {long} KiB");
    }
}

/// A server that sends all of a body but its last byte, until it is told to.
struct HeldBack {
    sent: mpsc::Receiver<()>,
    release: mpsc::Sender<()>,
}

impl HeldBack {
    fn new(length: usize) -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let (tell, sent) = mpsc::channel();
        let (release, released) = mpsc::channel();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).unwrap();
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").unwrap();
            let piece = vec![b'x'; 100_000];
            let mut left = length - 1;
            while left > 0 {
                let now = left.min(piece.len());
                stream.write_all(&piece[..now]).unwrap();
                left -= now;
            }
            tell.send(()).unwrap();
            released.recv().unwrap();
            stream.write_all(b"x").unwrap();
        });
        (Self { sent, release }, url)
    }

    fn sent(&self) {
        self.sent.recv_timeout(Duration::from_secs(60)).unwrap();
    }

    fn release(&self) {
        self.release.send(()).unwrap();
    }
}
