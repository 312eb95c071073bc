//! The kind `http` on every carrier it has, against a real server.

use executor_runtime::{
    CancelToken,
    protocol::{RuntimeResult, Status},
};
use executor_runtime_tests::{
    installed::Installed,
    kind::{Invocation, Kind, artifact},
    on_every_carrier,
    scripted::{Answer, Scripted},
};
use std::{
    io::Write,
    net::{SocketAddr, TcpListener},
    time::{Duration, Instant},
};

on_every_carrier! {
    "http":
    a_json_body_is_posted,
    a_form_is_urlencoded,
    a_raw_body_is_sent_as_it_is,
    without_a_body_the_input_payload_is_sent,
    method_and_headers_are_the_callers,
    an_error_status_is_a_failure_with_a_preview,
    a_preview_ends_after_200_characters,
    what_cant_be_sent_is_rejected_by_name,
    a_redirect_is_followed,
    the_body_is_kept_where_artifacts_are_asked_for,
    the_body_of_a_failure_is_kept_too,
    a_body_that_breaks_off_is_a_failure,
    network_failures_are_told_in_words,
    a_silent_server_times_out,
    a_cancelled_run_ends_at_once,
}

fn summary(result: &RuntimeResult) -> &str {
    result.error_summary.as_deref().unwrap_or_default()
}

fn code(result: &RuntimeResult) -> &str {
    result.metadata.get("error.kind").map_or("", String::as_str)
}

fn to(kind: &Kind, server: &Scripted) -> Invocation {
    kind.invocation(&[("http.url", &server.url("/x?y=z"))])
}

fn succeeded(result: &RuntimeResult) {
    assert_eq!(result.status, Status::Succeeded, "{result:?}");
}

fn a_json_body_is_posted(kind: &Kind) {
    let server = Scripted::sequence(vec![Answer::new(201, "done").header("x-run", "7")]);
    let body = r#"{"b": 1.0, "a": "ü"}"#;
    let result = kind.run(&to(kind, &server).with("http.body", body));
    succeeded(&result);
    assert_eq!(result.exit_code, Some(201));
    assert_eq!(result.metadata["http.status"], "201");
    assert_eq!(result.metadata["http.header.x-run"], "7");
    assert!(result.artifacts.is_empty());
    let [request] = &server.requests()[..] else {
        panic!("one request is sent");
    };
    assert_eq!(request.line(), "POST /x?y=z");
    assert_eq!(request.text(), body);
    assert_eq!(request.header("content-type"), "application/json");
    assert_eq!(request.header("content-length"), body.len().to_string());
}

fn a_form_is_urlencoded(kind: &Kind) {
    let server = Scripted::sequence(vec![Answer::new(200, "")]);
    let form = to(kind, &server)
        .with("http.body", r#"{"b": "x y&z", "a": 1}"#)
        .with("http.body_format", "form");
    succeeded(&kind.run(&form));
    let request = &server.requests()[0];
    assert_eq!(request.text(), "b=x+y%26z&a=1");
    assert_eq!(
        request.header("content-type"),
        "application/x-www-form-urlencoded"
    );
}

fn a_raw_body_is_sent_as_it_is(kind: &Kind) {
    let server = Scripted::sequence(vec![Answer::new(200, "")]);
    let raw = to(kind, &server)
        .with("http.body", "{ no json\r\n")
        .with("http.body_format", "raw")
        .with("http.header.Content-Type", "text/plain");
    succeeded(&kind.run(&raw));
    let request = &server.requests()[0];
    assert_eq!(request.text(), "{ no json\r\n");
    assert_eq!(request.header("content-type"), "text/plain");
}

fn without_a_body_the_input_payload_is_sent(kind: &Kind) {
    let server = Scripted::sequence(vec![Answer::new(200, "")]);
    // One that is sent with its length, and one that is streamed.
    for length in [10, 3_000_000] {
        let payload: Vec<u8> = (0..length).map(|n: u32| (n % 251) as u8).collect();
        std::fs::write(kind.path("payload"), &payload).unwrap();
        let invocation = to(kind, &server).field("input_payload_path", kind.path("payload"));
        succeeded(&kind.run(&invocation));
        assert!(server.requests().last().unwrap().body == payload, "{length}");
        succeeded(&kind.run(&invocation.with("http.body", "1")));
        assert_eq!(server.requests().last().unwrap().text(), "1");
    }
    succeeded(&kind.run(&to(kind, &server)));
    let request = server.requests().pop().unwrap();
    assert_eq!(
        (request.text(), request.header("content-type")),
        (String::new(), "")
    );
}

fn method_and_headers_are_the_callers(kind: &Kind) {
    let server = Scripted::sequence(vec![Answer::new(200, "")]);
    for method in ["GET", "put", "DELETE", "PATCH", "HEAD"] {
        let invocation = to(kind, &server)
            .with("http.method", method)
            .with("http.header.X-Trace", "a b")
            .with("http.header.Authorization", "Bearer t");
        succeeded(&kind.run(&invocation));
        let request = server.requests().pop().unwrap();
        assert_eq!(request.method, method.to_uppercase());
        assert_eq!(request.header("x-trace"), "a b");
        assert_eq!(request.header("authorization"), "Bearer t");
    }
}

#[test]
fn a_proxy_of_the_environment_is_not_used() {
    for installed in Installed::on_both("http") {
        let server = Scripted::sequence(vec![Answer::new(200, "")]);
        let mut host = installed.host();
        for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
            host.env(name, "http://127.0.0.1:1");
        }
        let invocation = installed.invocation(&[("http.url", &server.url("/x"))]);
        let finished = installed
            .scene
            .run_command(&mut host, invocation.text().as_bytes());
        assert_eq!(finished.code, Some(0), "{finished:?}");
        assert_eq!(server.lines(), ["POST /x"]);
    }
}

fn an_error_status_is_a_failure_with_a_preview(kind: &Kind) {
    for (status, body, expected) in [
        (400, "no such model", "HTTP 400: no such model"),
        (404, "", "HTTP 404:"),
        (503, "busy\n", "HTTP 503: busy"),
        (304, "", "HTTP 304:"),
    ] {
        let server = Scripted::sequence(vec![Answer::new(status, body)]);
        let result = kind.run(&to(kind, &server));
        assert_eq!(result.status, Status::Failed);
        assert_eq!((summary(&result), code(&result)), (expected, "http_status"));
        assert_eq!(result.exit_code, Some(i64::from(status)));
        assert_eq!(result.metadata["http.status"], status.to_string());
    }
}

fn a_preview_ends_after_200_characters(kind: &Kind) {
    let server = Scripted::sequence(vec![Answer::new(500, "ü".repeat(100_000))]);
    let result = kind.run(&to(kind, &server));
    assert_eq!(summary(&result), format!("HTTP 500: {}", "ü".repeat(200)));
}

fn what_cant_be_sent_is_rejected_by_name(kind: &Kind) {
    let server = Scripted::sequence(vec![Answer::new(200, "")]);
    let good = to(kind, &server);
    for (invocation, words) in [
        (kind.invocation(&[]), "http.url"),
        (kind.invocation(&[("http.url", "/x")]), "http.url"),
        (kind.invocation(&[("http.url", "ftp://h/")]), "http.url"),
        (good.clone().with("http.body", "{"), "invalid body: http.body"),
        (good.clone().with("http.body_format", "xml"), "http.body_format"),
        (
            good.clone()
                .with("http.body", "[1]")
                .with("http.body_format", "form"),
            "invalid body: http.body is not a JSON object",
        ),
        (good.clone().with("http.method", "A B"), "http.method"),
        (
            good.clone().with("http.method", "connect"),
            "'http.method' is CONNECT",
        ),
        (good.clone().with("http.header.X", "a\nb"), "http.header.X"),
        (good.clone().with("http.header.Host", "other"), "'host'"),
        (
            good.clone().with("http.header.Proxy-Authorization", "s3cret"),
            "'proxy-authorization'",
        ),
        (good.clone().with("http.metod", "GET"), "http.metod"),
        (
            good.clone().with("http.header.X-Long", "x".repeat(100_000)),
            "the limit is 65536",
        ),
    ] {
        let result = kind.run(&invocation);
        assert_eq!(result.status, Status::Rejected, "{words}: {result:?}");
        assert!(summary(&result).contains(words), "{words}: {}", summary(&result));
        assert_eq!(result.exit_code, None);
    }
    assert!(server.requests().is_empty());
}

fn a_redirect_is_followed(kind: &Kind) {
    let server = Scripted::start(|request, _| match &*request.target {
        "/x?y=z" => Answer::new(307, "").header("location", "/there"),
        _ => Answer::new(200, ""),
    });
    succeeded(&kind.run(&to(kind, &server).with("http.body", "1")));
    assert_eq!(server.lines(), ["POST /x?y=z", "POST /there"]);
    assert_eq!(server.requests()[1].text(), "1");
}

fn the_body_is_kept_where_artifacts_are_asked_for(kind: &Kind) {
    let body: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 253) as u8).collect();
    let server = Scripted::sequence(vec![Answer::new(200, body.clone())]);
    let result = kind.run(&to(kind, &server).field("artifact_directory", kind.path("artifacts")));
    succeeded(&result);
    assert!(artifact(&result, "response_body").unwrap() == body);
    assert_eq!(result.artifacts[0].kind, "response_body");
    assert_eq!(result.metadata["http.body_bytes"], "5000000");
    assert_eq!(result.metadata.get("http.body_truncated"), None);
}

fn the_body_of_a_failure_is_kept_too(kind: &Kind) {
    let body = "x".repeat(100_000);
    let server = Scripted::sequence(vec![Answer::new(500, body.clone())]);
    let result = kind.run(&to(kind, &server).field("artifact_directory", kind.path("artifacts")));
    assert_eq!(result.status, Status::Failed);
    assert!(artifact(&result, "response_body").unwrap() == body.as_bytes());
}

fn a_body_that_breaks_off_is_a_failure(kind: &Kind) {
    let broken = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf".to_vec();
    let server = Scripted::sequence(vec![Answer::Bytes(broken)]);
    for invocation in [
        to(kind, &server),
        to(kind, &server).field("artifact_directory", kind.path("artifacts")),
    ] {
        let result = kind.run(&invocation);
        assert_eq!(
            (result.status, code(&result)),
            (Status::Failed, "network"),
            "{result:?}"
        );
        assert!(
            summary(&result).starts_with("http error: "),
            "{}",
            summary(&result)
        );
        assert_eq!(result.metadata["http.status"], "200");
        assert!(result.artifacts.is_empty());
    }
}

fn network_failures_are_told_in_words(kind: &Kind) {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let garbage = Scripted::sequence(vec![Answer::Bytes(b"SSH-2.0-x\r\n".to_vec())]);
    for (url, words) in [
        (format!("http://{closed}/"), "refused"),
        ("http://no-such-host.invalid/".to_owned(), "no address was found"),
        (garbage.url("/"), garbage.authority()),
        (format!("https://{}/", plain_text_server()), "TLS"),
    ] {
        let result = kind.run(&kind.invocation(&[("http.url", &url)]));
        assert_eq!(
            (result.status, code(&result)),
            (Status::Failed, "network"),
            "{url}: {result:?}"
        );
        assert!(
            summary(&result).starts_with("http error: "),
            "{}",
            summary(&result)
        );
        let summary = summary(&result).to_lowercase();
        assert!(summary.contains(&words.to_lowercase()), "{words}: {summary}");
    }
}

/// A server that speaks first, and no TLS.
fn plain_text_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.write_all(b"220 mail.example ESMTP at your service\r\n");
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    address
}

fn a_silent_server_times_out(kind: &Kind) {
    let server = Scripted::sequence(vec![Answer::Silence]);
    let begun = Instant::now();
    let result = kind.run(&to(kind, &server).field("timeout_seconds", 1));
    assert_eq!((result.status, code(&result)), (Status::TimedOut, "timeout"));
    assert_eq!(summary(&result), "timed out in the http request (timeout 1 s)");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

fn a_cancelled_run_ends_at_once(kind: &Kind) {
    let server = Scripted::sequence(vec![Answer::Silence]);
    let cancel = CancelToken::new();
    let result = std::thread::scope(|scope| {
        let run = scope.spawn(|| kind.run_until(&to(kind, &server), &cancel));
        server.wait_for(1);
        cancel.cancel();
        run.join().unwrap()
    });
    assert_eq!((result.status, code(&result)), (Status::Cancelled, "cancelled"));
    assert_eq!(summary(&result), "cancelled in the http request");
}
