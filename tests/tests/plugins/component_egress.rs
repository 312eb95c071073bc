//! A component sees only what it is given: environment, files, sockets, other hosts, redirects and names that
//! lead to guarded addresses are denied, and the denial is named.

use executor_runtime::{Ending, ErrorKind, Outcome, plugin::Limits, protocol::Status};
use executor_runtime_egress::HostPattern;
use executor_runtime_tests::{
    component::{Harness, Settings, ms},
    scripted::{Answer, Scripted},
    server::{Reply, Server},
};
use std::{sync::Arc, time::Instant};
use tokio::{io::AsyncWriteExt, net::TcpListener};

fn settings(allow_hosts: &[&str]) -> Settings {
    Settings {
        limits: Limits {
            grace: ms(200),
            ..Limits::default()
        },
        allow_hosts: allow_hosts
            .iter()
            .map(|pattern| HostPattern::parse(pattern).unwrap())
            .collect(),
        ..Settings::default()
    }
}

fn harness(allow_hosts: &[&str]) -> Harness {
    Harness::new("fixture-behaviours", settings(allow_hosts))
}

fn failure(outcome: &Outcome) -> (&ErrorKind, &str) {
    match &outcome.ending {
        Ending::Succeeded => panic!("it succeeded: {:?}", outcome.receipt),
        Ending::Unsuccessful(failure) => (&failure.kind, &failure.summary),
    }
}

#[tokio::test]
async fn the_environment_files_and_sockets_are_empty() {
    let harness = harness(&["*:*"]);
    let outcome = harness.run("probe_environment").await;
    assert_eq!(outcome.receipt["variables"], "0");
    assert_eq!(outcome.receipt["arguments"], "0");
    assert_eq!(outcome.receipt["stdin"], "Some(0)");
    let outcome = harness.run("probe_files").await;
    assert_eq!(outcome.receipt["found"], "[]");
    assert_eq!(outcome.receipt["wrote"], "false");
    let server = Server::start(|_| Reply::ok("hello")).await;
    let outcome = harness
        .scenario("probe_sockets")
        .with("fixture.target", server.authority())
        .run()
        .await;
    for probe in ["connect", "listen", "udp", "lookup"] {
        assert_eq!(outcome.receipt[probe], "false", "{probe}");
    }
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn a_named_host_is_reached_over_one_connection() {
    let harness = harness(&[]);
    let server = Server::start(|path| Reply::ok(&format!("you asked for {path}"))).await;
    let outcome = harness
        .scenario("get")
        .with("fixture.url", server.url("/a?b=c"))
        .with("fixture.count", 20)
        .run()
        .await;
    assert_eq!(outcome.status(), Status::Succeeded, "{outcome:?}");
    assert_eq!(outcome.receipt["http.status"], "200");
    assert_eq!(outcome.receipt["body"], "you asked for /a?b=c");
    // Another invocation goes on with the same connection.
    harness
        .scenario("get")
        .with("fixture.url", server.url("/"))
        .run()
        .await;
    assert_eq!((server.requests(), server.connections()), (21, 1));
}

#[tokio::test]
async fn another_host_is_denied_and_named() {
    let harness = harness(&[]);
    let named = Server::start(|_| Reply::ok("hello")).await;
    let other = Server::start(|_| Reply::ok("secret")).await;
    let outcome = harness
        .scenario("probe_other_host")
        .with("fixture.url", named.url("/"))
        .with("fixture.target", other.url("/"))
        .run()
        .await;
    let (kind, summary) = failure(&outcome);
    assert_eq!(*kind, ErrorKind::EgressDenied);
    assert!(
        summary.contains(&format!("may not reach '{}'", other.authority())),
        "{summary}"
    );
    assert!(
        summary.contains(&format!(
            "add \"{}\" to allow_hosts of [plugins.fixture]",
            other.authority()
        )),
        "{summary}"
    );
    assert_eq!(other.requests(), 0);
}

#[tokio::test]
async fn the_operator_may_allow_more() {
    let harness = harness(&["127.0.0.1:*"]);
    let other = Server::start(|_| Reply::ok("shared")).await;
    let outcome = harness
        .scenario("probe_other_host")
        .with("fixture.target", other.url("/"))
        .run()
        .await;
    assert_eq!(outcome.status(), Status::Succeeded);
}

#[tokio::test]
async fn a_redirect_to_another_host_is_denied() {
    let harness = harness(&[]);
    let other = Server::start(|_| Reply::ok("secret")).await;
    let location = other.url("/");
    let named = Server::start(move |_| Reply::redirect(&location)).await;
    let outcome = harness
        .scenario("follow_redirect")
        .with("fixture.url", named.url("/"))
        .run()
        .await;
    assert_eq!(*failure(&outcome).0, ErrorKind::EgressDenied);
    assert_eq!((named.requests(), other.requests()), (1, 0));
}

#[tokio::test]
async fn a_link_local_address_needs_to_be_named() {
    let harness = harness(&["*:*"]);
    for target in [
        "http://169.254.169.254/latest/",
        "http://[fe80::1]/",
        "http://2852039166/",
    ] {
        let outcome = harness
            .scenario("probe_other_host")
            .with("fixture.target", target)
            .deadline(ms(5000))
            .run()
            .await;
        let (kind, summary) = failure(&outcome);
        assert_eq!(*kind, ErrorKind::EgressDenied, "{summary}");
    }
}

#[tokio::test]
async fn network_failures_say_why() {
    let harness = harness(&["*:*"]);
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let closed = format!("http://{closed}/");
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain_url = format!("https://{}/", plain.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = plain.accept().await.unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        // What the client sends is read: closing before would reset the connection.
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    });
    for (url, code, words) in [
        (closed, "ConnectionRefused", "refused"),
        (
            "http://no-such-host.invalid/".to_owned(),
            "DnsError",
            "name or service not known",
        ),
        (plain_url, "TlsProtocolError", "TLS"),
    ] {
        let outcome = harness
            .scenario("get")
            .with("fixture.url", &url)
            .deadline(ms(10_000))
            .run()
            .await;
        let (kind, summary) = failure(&outcome);
        assert_eq!(kind.code(), "network", "{summary}");
        assert!(
            summary.contains(code) && summary.contains(words),
            "{url}: {summary}"
        );
    }
}

#[tokio::test]
async fn a_silent_or_dripping_server_holds_nobody_past_the_grace() {
    let harness = harness(&[]);
    for reply in [Reply::silence(), Reply::drip()] {
        let server = Server::start(move |_| reply.clone()).await;
        let started = Instant::now();
        let outcome = harness
            .scenario("get")
            .with("fixture.url", server.url("/"))
            .deadline(ms(300))
            .run()
            .await;
        let took = started.elapsed();
        assert_eq!(*failure(&outcome).0, ErrorKind::Timeout);
        assert!(took < ms(800), "{took:?}");
        server.wait_until_closed().await;
    }
}

#[tokio::test]
async fn requests_in_flight_are_bounded() {
    let harness = harness(&[]);
    let server = Server::start(|_| Reply::drip()).await;
    let outcome = harness
        .scenario("leak_requests")
        .with("fixture.url", server.url("/"))
        .deadline(ms(10_000))
        .run()
        .await;
    let (_, summary) = failure(&outcome);
    assert!(summary.contains("ConnectionLimitReached after 64"), "{summary}");
    server.wait_until_closed().await;
}

#[tokio::test]
async fn a_body_becomes_an_artifact_without_passing_through_the_guest() {
    let harness = harness(&[]);
    let body = Arc::new("0123456789".repeat(500_000));
    let reply = Arc::clone(&body);
    let server = Server::start(move |_| Reply::ok(&reply)).await;
    let outcome = harness
        .scenario("artifact_of_response")
        .with("fixture.url", server.url("/"))
        .run()
        .await;
    assert_eq!(outcome.status(), Status::Succeeded, "{outcome:?}");
    let artifact = &outcome.artifacts[0];
    assert_eq!(artifact.artifact_id, "response_body");
    assert_eq!(artifact.metadata["size_bytes"], body.len().to_string());
    assert_eq!(std::fs::read_to_string(&artifact.path).unwrap(), *body);
}

#[tokio::test]
async fn the_input_payload_is_streamed() {
    let harness = harness(&[]);
    let payload = harness.directory().join("payload");
    std::fs::write(&payload, vec![b'p'; 3_000_000]).unwrap();
    let path = payload.to_string_lossy().into_owned();
    let outcome = harness
        .scenario("copy_input")
        .edit(|invocation| invocation.input_payload_path = Some(path))
        .run()
        .await;
    assert_eq!(outcome.receipt["size"], "3000000", "{outcome:?}");
    assert_eq!(
        std::fs::read(&outcome.artifacts[0].path).unwrap(),
        std::fs::read(payload).unwrap()
    );
    for (path, words) in [("/no/such/file", "No such file"), ("/", "not a regular file")] {
        let outcome = harness
            .scenario("copy_input")
            .edit(|invocation| invocation.input_payload_path = Some(path.into()))
            .run()
            .await;
        assert!(failure(&outcome).1.contains(words), "{outcome:?}");
    }
}

#[tokio::test]
async fn an_unfinished_artifact_is_removed() {
    let harness = harness(&[]);
    let outcome = harness.run("artifact_unfinished").await;
    assert!(outcome.artifacts.is_empty());
    assert!(
        outcome.receipt["duplicate"].contains("DuplicateName"),
        "{outcome:?}"
    );
    assert!(outcome.receipt["invalid"].contains("InvalidName"), "{outcome:?}");
    let mut left = walk(harness.directory());
    // What keeps the capture directories out of git.
    left.retain(|path| !path.ends_with(".gitignore"));
    assert!(left.is_empty(), "{left:?}");
}

fn walk(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(walk(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// A guest may wait for what it likes: its request goes on, on a new connection and on one that is used again.
#[tokio::test]
async fn a_request_goes_on_while_the_guest_waits_for_something_else() {
    let harness = harness(&[]);
    let server = Arc::new(Scripted::sequence(vec![Answer::new(200, "hello")]));
    for count in 1..=3 {
        let run = harness
            .scenario("fire_and_wait")
            .with("fixture.url", server.url("/"));
        let cancel = run.cancel_token();
        let arrived = tokio::task::spawn_blocking({
            let server = Arc::clone(&server);
            move || {
                server.wait_for(count);
                cancel.cancel();
            }
        });
        let outcome = run.deadline(ms(20_000)).run().await;
        arrived.await.unwrap();
        assert_eq!(outcome.status(), Status::Cancelled, "{outcome:?}");
    }
}

/// The body is larger than what the host keeps of it, so that the guest has to wait for room in its stream.
#[tokio::test]
async fn a_body_is_sent_though_nobody_waits_for_the_answer() {
    let harness = harness(&[]);
    // Every second answer closes the connection, so that the next request needs a new one.
    let server = Scripted::start(|_, n| match n % 2 {
        0 => Answer::new(200, ""),
        _ => Answer::Bytes(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec()),
    });
    for (n, length) in [10, 3_000_000, 100_000, 3_000_000, 1].into_iter().enumerate() {
        let outcome = harness
            .scenario("post_blind")
            .with("fixture.url", server.url("/"))
            .with("fixture.count", length)
            .deadline(ms(20_000))
            .run()
            .await;
        assert_eq!(outcome.status(), Status::Succeeded, "{length}: {outcome:?}");
        assert_eq!(server.requests()[n].body.len(), length);
    }
}
