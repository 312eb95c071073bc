//! `https` with the kind `http` on both carriers, through the host's binary: certificates that are made here, by
//! an authority that `SSL_CERT_FILE` names. What is not trusted is refused, and the check that failed is told, in
//! words and once.

mod authority;
mod server;

use authority::{Authority, for_names, self_signed, valid};
use executor_runtime::protocol::{RuntimeResult, Status};
use executor_runtime_tests::{Finished, installed::Installed, kind::artifact};
use rustls::version::{TLS12, TLS13};
use server::{Server, read_record};
use std::{fs, path::Path, time::Duration};

const BOTH: &[&rustls::SupportedProtocolVersion] = &[&TLS12, &TLS13];

fn get(installed: &Installed, url: &str, roots: &Path) -> Finished {
    get_within(installed, url, roots, 30)
}

fn get_within(installed: &Installed, url: &str, roots: &Path, seconds: u64) -> Finished {
    let invocation = installed
        .invocation(&[("http.url", url), ("http.method", "GET")])
        .with("timeout_seconds", seconds)
        .path("artifact_directory", &installed.scene.path("artifacts"));
    let mut host = installed.host();
    host.env("SSL_CERT_FILE", roots).env_remove("SSL_CERT_DIR");
    installed
        .scene
        .run_command(&mut host, invocation.text().as_bytes())
}

#[track_caller]
fn answer(finished: &Finished) -> String {
    let result = finished.expect(Status::Succeeded);
    String::from_utf8(artifact(&result, "response_body").unwrap()).unwrap()
}

/// The summary of a run that failed for want of a secure connection, on both carriers the same.
#[track_caller]
fn failure(url: &str, roots: &str) -> String {
    let [component, native] = Installed::on_both("http").map(|installed| {
        let file = installed.scene.file("roots.pem", roots);
        let result = get(&installed, url, &file).expect(Status::Failed);
        told_as_network_failure(&result)
    });
    assert_eq!(component, native);
    component
}

#[track_caller]
fn told_as_network_failure(result: &RuntimeResult) -> String {
    let summary = result.error_summary.clone().unwrap();
    assert_eq!(result.metadata["error.kind"], "network", "{summary}");
    assert_eq!(result.exit_code, None);
    assert!(result.artifacts.is_empty(), "{result:?}");
    assert!(summary.contains("TLS"), "{summary}");
    assert!(summary.matches("TLS: ").count() < 2, "{summary}");
    summary
}

#[test]
fn a_server_that_the_named_authority_vouches_for_is_trusted() {
    let authority = Authority::new("tests");
    for installed in Installed::on_both("http") {
        let roots = installed.scene.file("roots.pem", &authority.identity.pem);
        for (versions, host) in [
            (&[&TLS12][..], "localhost"),
            (&[&TLS13], "localhost"),
            (BOTH, "127.0.0.1"),
        ] {
            let identity = authority.sign(&for_names(&["other.test", host]));
            let server = Server::secure(identity, &["http/1.1"], versions);
            assert_eq!(answer(&get(&installed, &server.url(host), &roots)), "HTTP/1.1");
        }
        // One certificate that is its own authority, as developers have it.
        let identity = self_signed(&for_names(&["localhost"]));
        let roots = installed.scene.file("own.pem", &identity.pem);
        let server = Server::secure(identity, &[], BOTH);
        assert_eq!(
            answer(&get(&installed, &server.url("localhost"), &roots)),
            "HTTP/1.1"
        );
    }
}

#[test]
fn a_component_speaks_the_newer_protocol_where_the_server_does() {
    let authority = Authority::new("tests");
    for (installed, spoken) in Installed::on_both("http")
        .into_iter()
        .zip(["HTTP/2.0", "HTTP/1.1"])
    {
        let roots = installed.scene.file("roots.pem", &authority.identity.pem);
        let identity = authority.sign(&for_names(&["localhost"]));
        let server = Server::secure(identity, &["h2", "http/1.1"], BOTH);
        assert_eq!(answer(&get(&installed, &server.url("localhost"), &roots)), spoken);
    }
}

#[test]
fn a_certificate_that_is_not_valid_is_refused_by_the_check_that_it_fails() {
    let authority = Authority::new("tests");
    let another = Authority::new("another");
    let own = Authority::new("own");
    let stranger = "certificate signed by an unknown authority";
    for (identity, words) in [
        (another.sign(&for_names(&["localhost"])), stranger),
        (self_signed(&for_names(&["localhost"])), stranger),
        (authority.sign(&valid(2001, 2002)), "certificate expired"),
        (authority.sign(&valid(2101, 2102)), "certificate not valid yet"),
        (
            authority.sign(&for_names(&["other.test", "10.0.0.1"])),
            "certificate not valid for name 'localhost', only for 'other.test', '10.0.0.1'",
        ),
        (
            authority.sign(&for_names(&[])),
            "certificate not valid for name 'localhost', for no name at all",
        ),
        (own.identity, "certificate refused: ca used as end entity"),
    ] {
        let server = Server::secure(identity, &["h2", "http/1.1"], BOTH);
        let summary = failure(&server.url("localhost"), &authority.identity.pem);
        assert_eq!(
            summary,
            format!(
                "http error: TLS: no secure connection to localhost:{}: its certificate is not valid ({words})",
                server.port
            )
        );
    }
}

#[test]
fn a_server_that_breaks_off_the_handshake_is_told_as_such() {
    let authority = Authority::new("tests");
    let alert = |description: u8| vec![21, 3, 1, 0, 2, 2, description];
    for (server, words) in [
        (
            Server::answering_hello(alert(40)),
            "the server aborted it: handshake failure",
        ),
        (
            Server::answering_hello(alert(70)),
            "the server aborted it: protocol version",
        ),
        (
            Server::answering_hello(old_hello()),
            "the handshake failed (the server speaks only a version of TLS older than 1.2)",
        ),
        (
            Server::answering_hello(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
            "the handshake failed (the server does not speak TLS)",
        ),
    ] {
        let summary = failure(&server.url("localhost"), &authority.identity.pem);
        assert_eq!(
            summary,
            format!(
                "http error: TLS: no secure connection to localhost:{}: {words}",
                server.port
            )
        );
    }
}

#[test]
fn a_connection_that_breaks_in_the_handshake_is_told_as_such() {
    for server in [
        Server::plain(|mut stream| {
            read_record(&mut stream)?;
            stream.shutdown(std::net::Shutdown::Both)
        }),
        // What is not read when it closes makes the system reset the connection.
        Server::plain(|stream| stream.peek(&mut [0]).map(drop)),
    ] {
        let summary = failure(&server.url("localhost"), &Authority::new("tests").identity.pem);
        assert_eq!(
            summary,
            format!(
                "http error: localhost:{} closed the connection before its answer was complete (in the TLS \
                 handshake)",
                server.port
            )
        );
    }
}

/// A server's hello in TLS 1.0.
fn old_hello() -> Vec<u8> {
    let mut hello = vec![3, 1];
    hello.extend([7; 32]);
    // No session, TLS_RSA_WITH_AES_128_CBC_SHA, no compression.
    hello.extend([0, 0, 0x2f, 0]);
    let length = hello.len() as u8;
    [&[22, 3, 1, 0, length + 4, 2, 0, 0, length], &hello[..]].concat()
}

#[test]
fn a_body_that_may_have_been_cut_on_the_way_is_no_whole_one() {
    let authority = Authority::new("tests");
    let whole = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody";
    let open = "HTTP/1.1 200 OK\r\n\r\nbody";
    for installed in Installed::on_both("http") {
        let roots = installed.scene.file("roots.pem", &authority.identity.pem);
        for (answered, says_so, good) in [
            (whole, true, true),
            (whole, false, true),
            (open, true, true),
            // Anybody can close a connection; the server has not said that this was all.
            (open, false, false),
        ] {
            let identity = authority.sign(&for_names(&["localhost"]));
            let server = Server::closing(identity, answered, says_so);
            let finished = get(&installed, &server.url("localhost"), &roots);
            if good {
                assert_eq!(answer(&finished), "body");
            } else {
                broke_off(&finished);
            }
        }
        let identity = authority.sign(&for_names(&["localhost"]));
        let server = Server::secure(identity, &["h2", "http/1.1"], BOTH);
        broke_off(&get(&installed, &(server.url("localhost") + "broken"), &roots));
    }
}

#[track_caller]
fn broke_off(finished: &Finished) {
    let result = finished.expect(Status::Failed);
    let summary = result.error_summary.unwrap();
    assert_eq!(result.metadata["error.kind"], "network", "{summary}");
    assert!(summary.starts_with("http error: localhost:"), "{summary}");
    assert!(result.artifacts.is_empty());
}

#[test]
fn a_server_that_never_ends_the_handshake_times_out() {
    let authority = Authority::new("tests");
    let server = Server::answering_hello(Vec::new());
    for installed in Installed::on_both("http") {
        let roots = installed.scene.file("roots.pem", &authority.identity.pem);
        // Loading and compiling are not what is timed here.
        get(&installed, "https://127.0.0.1:1/", &roots).expect(Status::Failed);
        let finished = get_within(&installed, &server.url("localhost"), &roots, 1);
        let result = finished.expect(Status::TimedOut);
        assert_eq!(
            result.error_summary.as_deref(),
            Some("timed out in the http request (timeout 1 s)")
        );
        assert!(finished.wall < Duration::from_millis(2500), "{:?}", finished.wall);
    }
}

#[test]
fn roots_that_cant_be_had_are_named() {
    let authority = Authority::new("tests");
    let server = Server::secure(authority.sign(&for_names(&["localhost"])), &["h2"], BOTH);
    let url = server.url("localhost");
    let broken = authority.identity.pem.replacen('M', "*", 1);
    for (content, words) in [
        (None, "can't be read: no such file or directory"),
        (Some(""), "holds no certificate in PEM form"),
        (Some("no certificate\n\0"), "holds no certificate in PEM form"),
        (
            Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            "holds no certificate that can be parsed",
        ),
        (Some(broken.as_str()), "is not well-formed PEM"),
    ] {
        for (installed, asked) in Installed::on_both("http").into_iter().zip([
            "the host has no working HTTP client for it",
            "TLS: no secure connection to",
        ]) {
            let roots = installed.scene.path("roots.pem");
            if let Some(content) = content {
                fs::write(&roots, content).unwrap();
            }
            let summary = told_as_network_failure(&get(&installed, &url, &roots).expect(Status::Failed));
            let expected = format!(
                "no trusted root certificates: SSL_CERT_FILE '{}' {words}",
                roots.display()
            );
            assert!(summary.starts_with("http error: "), "{summary}");
            assert!(summary.contains(&expected), "{summary}");
            assert!(summary.contains(asked), "{summary}");
        }
    }
}

#[test]
fn without_tls_nobody_looks_for_roots() {
    let server = executor_runtime_tests::scripted::Scripted::sequence(vec![
        executor_runtime_tests::scripted::Answer::new(200, "plain"),
    ]);
    for installed in Installed::on_both("http") {
        let finished = get(&installed, &server.url("/"), Path::new("/nonexistent"));
        assert_eq!(answer(&finished), "plain");
    }
}
