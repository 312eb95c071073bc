//! An interrupted run that is resumed, with a backend on loopback TCP.

use crate::HttpAsync;
use executor_runtime_sdk::{FailureStatus, Invocation, Level, TestHost};
use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    thread::JoinHandle,
    time::Duration,
};

/// Answers one request for each body, and returns the lines that asked for them.
fn backend(bodies: &'static [&'static str]) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let answer = |body: &&str| {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(&stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                reader.read_line(&mut head).unwrap();
            }
            let length = body.len();
            let answer =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
            (&stream).write_all(answer.as_bytes()).unwrap();
            head.lines().next().unwrap_or_default().to_owned()
        };
        bodies.iter().map(answer).collect()
    });
    (url, thread)
}

fn invocation(url: &str) -> Invocation {
    Invocation::new("http_async")
        .with("http.url", format!("{url}/start"))
        .with("http.poll_url_template", format!("{url}/runs/{{run_id}}"))
        .with("http.poll_run_id_path", "id")
        .with("http.poll_status_path", "status")
        .with("http.poll_terminal_states", "completed,failed")
        .with("http.poll_interval_seconds", "0.05")
}

#[test]
fn the_runs_id_is_checkpointed_and_a_resumed_run_starts_no_other() {
    let (url, thread) = backend(&[r#"{"id": "a/b"}"#, r#"{"status": "completed"}"#]);
    let first = TestHost::new();
    first.run(&HttpAsync, &invocation(&url)).unwrap();
    assert_eq!(
        thread.join().unwrap(),
        ["POST /start HTTP/1.1", "GET /runs/a%2Fb HTTP/1.1"]
    );
    let state = first.checkpoint().unwrap();

    let (url, thread) = backend(&[r#"{"status": "completed"}"#]);
    let outcome = TestHost::new()
        .resumed(state)
        .run(&HttpAsync, &invocation(&url))
        .unwrap();
    assert_eq!(thread.join().unwrap(), ["GET /runs/a%2Fb HTTP/1.1"]);
    assert_eq!(outcome.get_receipt("http.resumed"), Some("true"));
    assert_eq!(outcome.get_receipt("http.run_id"), Some("a/b"));
}

#[test]
fn progress_is_told_as_the_backend_says() {
    let (url, thread) = backend(&[
        r#"{"id": 7}"#,
        r#"{"status": "running", "done": 0.25}"#,
        r#"{"status": "completed"}"#,
    ]);
    let host = TestHost::new();
    let of = |url: &str| invocation(url).with("http.poll_progress_path", "done");
    host.run(&HttpAsync, &of(&url)).unwrap();
    // The last poll says nothing of it, but has another status.
    assert_eq!(host.progress(), Some((None, "completed".to_owned())));
    thread.join().unwrap();

    let (url, thread) = backend(&[r#"{"id": 7}"#, r#"{"status": "completed", "done": "100%"}"#]);
    let host = TestHost::new();
    host.run(&HttpAsync, &of(&url)).unwrap();
    assert_eq!(host.progress(), Some((Some(1.0), "completed".to_owned())));
    thread.join().unwrap();
}

#[test]
fn a_run_out_of_time_says_the_beginning_of_its_last_status() {
    let status = "\u{1b}[31m".to_owned() + &"x".repeat(1000);
    let body = serde_json::json!({ "id": 7, "status": status }).to_string();
    let body: &str = body.leak();
    let (url, thread) = backend(vec![body, body].leak());
    let invocation = invocation(&url).with("http.poll_interval_seconds", "60");
    let host = TestHost::new().deadline(Duration::from_secs(1));
    let error = host.run(&HttpAsync, &invocation).unwrap_err();
    thread.join().unwrap();
    let shown = format!("\\u{{1b}}[31m{}", "x".repeat(195));
    assert_eq!(
        error.summary(),
        format!(
            "timed out in poll; the last status was '{shown}', which is none of http.poll_terminal_states"
        )
    );
    assert_eq!(error.status(), FailureStatus::TimedOut);
}

#[test]
fn a_run_whose_end_is_known_is_not_polled_again_and_cleaned_up() {
    for (state, expected) in [
        (
            r#"{"run_id":"7","ended":{"status":"completed"}}"#,
            &["GET /result/7 HTTP/1.1", "DELETE /runs/7 HTTP/1.1"][..],
        ),
        (
            r#"{"run_id":"7","ended":{"status":"completed"},"result_status":200}"#,
            &["DELETE /runs/7 HTTP/1.1"],
        ),
        (
            r#"{"run_id":"7","ended":{"status":"failed","words":"no room"}}"#,
            &["DELETE /runs/7 HTTP/1.1"],
        ),
    ] {
        let (url, thread) = backend(match expected.len() {
            1 => &["{}"],
            _ => &["{}", "{}"],
        });
        let invocation = invocation(&url)
            .with("http.result_url_template", format!("{url}/result/{{run_id}}"))
            .with("http.cleanup_url_template", format!("{url}/runs/{{run_id}}"));
        let ended = TestHost::new().resumed(state).run(&HttpAsync, &invocation);
        assert_eq!(thread.join().unwrap(), expected);
        match ended {
            Ok(outcome) => assert_eq!(outcome.get_receipt("http.result_status"), Some("200")),
            Err(error) => assert_eq!(
                error.summary(),
                "backend reported terminal status: failed: no room"
            ),
        }
    }
}

#[test]
fn an_id_that_no_checkpoint_holds_means_that_the_run_cant_be_resumed() {
    let body: &str = format!(r#"{{"id": "{}", "status": "completed"}}"#, "x".repeat(70_000)).leak();
    let started: &str = body.replace("completed", "running").leak();
    let (url, thread) = backend(vec![started, body].leak());
    let invocation = invocation(&url).with("http.poll_url_template", format!("{url}/runs"));
    let host = TestHost::new();
    host.run(&HttpAsync, &invocation).unwrap();
    thread.join().unwrap();
    let [(Level::Warn, text)] = &host.log()[..] else {
        panic!("one warning: {:?}", host.log());
    };
    let expected = "if the host dies, this run can't be resumed: ";
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn an_unreadable_checkpoint_is_a_failure_and_no_second_kickoff() {
    let error = TestHost::new()
        .resumed("what?")
        .run(&HttpAsync, &invocation("http://127.0.0.1:1"))
        .unwrap_err();
    assert_eq!(
        (error.status(), error.kind()),
        (FailureStatus::Failed, "invalid_checkpoint")
    );
    assert_eq!(error.get_receipt("error.transient"), Some("false"));
}
