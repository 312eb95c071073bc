//! Real dispatchers: threads that listen on a Unix socket or on loopback TCP.

use crate::Manual;
use executor_runtime_sdk::{FailureStatus, Invocation, Outcome, RunError, TestHost};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    os::unix::net::UnixListener,
    thread::JoinHandle,
    time::{Duration, Instant},
};

fn result(invocation: &Value) -> Value {
    json!({
        "schema_version": "0.1", "contract_kind": "runtime_result",
        "invocation_id": invocation["invocation_id"], "runtime_name": invocation["runtime_name"],
        "runtime_kind": "manual", "status": "succeeded", "exit_code": 7,
        "started_at": "2026-01-02T03:04:05Z", "finished_at": "2026-01-02T03:04:06Z",
        "stdout_path": null, "stderr_path": null, "artifacts": [], "error_summary": null,
        "metadata": {"worker": "w1"}
    })
}

struct Dispatcher {
    directory: tempfile::TempDir,
    /// What it was sent.
    thread: JoinHandle<Value>,
}

impl Dispatcher {
    fn new(answer: impl FnOnce(&Value) -> Vec<u8> + Send + 'static) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("d")).unwrap();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            assert!(line.ends_with('\n'));
            let invocation = serde_json::from_str(&line).unwrap();
            // The plugin hangs up on an answer that is too long.
            let _ = stream.write_all(&answer(&invocation));
            invocation
        });
        Self { directory, thread }
    }

    fn invocation(&self) -> Invocation {
        let path = self.directory.path().join("d");
        Invocation::new("manual").with("manual.socket", path.to_str().unwrap())
    }
}

fn answered(answer: impl FnOnce(&Value) -> Vec<u8> + Send + 'static) -> Result<Outcome, RunError> {
    let dispatcher = Dispatcher::new(answer);
    let outcome = TestHost::new().run(&Manual, &dispatcher.invocation());
    dispatcher.thread.join().unwrap();
    outcome
}

fn edited(edit: impl FnOnce(&mut Value) + Send + 'static) -> Result<Outcome, RunError> {
    answered(|invocation| {
        let mut result = result(invocation);
        edit(&mut result);
        format!("{result}\n").into_bytes()
    })
}

#[test]
fn the_dispatchers_result_is_returned() {
    let outcome = edited(|_| {}).unwrap();
    assert_eq!(outcome.get_exit_code(), Some(7));
    assert_eq!(outcome.get_receipt("worker"), Some("w1"));
    assert!(
        outcome
            .get_receipt("manual.dispatcher")
            .unwrap()
            .starts_with("unix:/")
    );
    // The last line needs no end.
    assert!(answered(|invocation| result(invocation).to_string().into_bytes()).is_ok());
}

#[test]
fn the_dispatcher_gets_the_whole_invocation() {
    let dispatcher = Dispatcher::new(|invocation| result(invocation).to_string().into_bytes());
    let invocation = dispatcher.invocation().with("own.key", "line\nbreak");
    TestHost::new().run(&Manual, &invocation).unwrap();
    let sent = dispatcher.thread.join().unwrap();
    assert_eq!(sent, serde_json::to_value(&*invocation).unwrap());
    assert_eq!(sent["metadata"]["own.key"], "line\nbreak");
}

#[test]
fn an_unsuccessful_result_keeps_status_code_and_words() {
    for (status, expected) in [
        ("failed", FailureStatus::Failed),
        ("rejected", FailureStatus::Rejected),
        ("timed_out", FailureStatus::TimedOut),
        ("cancelled", FailureStatus::Cancelled),
    ] {
        let error = edited(move |result| {
            result["status"] = status.into();
            result["error_summary"] = "no luck".into();
            result["metadata"]["error.kind"] = "out_of_luck".into();
        })
        .unwrap_err();
        assert_eq!(
            (error.status(), error.kind(), error.summary()),
            (expected, "out_of_luck", "no luck")
        );
        assert_eq!(error.get_exit_code(), Some(7));
        assert_eq!(error.get_receipt("worker"), Some("w1"));
    }
    let error = edited(|result| result["status"] = "failed".into()).unwrap_err();
    assert_eq!(error.kind(), "dispatcher_reported");
    assert_eq!(
        error.summary(),
        "the dispatcher reported 'failed' without an error_summary"
    );
}

#[test]
fn an_answer_that_is_no_result_of_this_invocation_says_why() {
    type Break = fn(&mut Value);
    let cases: [(Break, &str); 8] = [
        (
            |r| r["invocation_id"] = "x".into(),
            "is for another invocation: invocation_id is 'x', expected 'test'",
        ),
        (
            |r| r["runtime_name"] = "x".into(),
            "is for another invocation: runtime_name is 'x', expected 'manual'",
        ),
        (
            |r| r["runtime_kind"] = "http".into(),
            "is for another invocation: runtime_kind is 'http'",
        ),
        (
            |r| r["status"] = "running".into(),
            "has the status 'running', which is not final",
        ),
        (
            |r| r["finished_at"] = "2026-01-02T03:04:04.9Z".into(),
            "has the finished_at '2026-01-02T03:04:04.9Z', which is before its started_at '2026-01-02T03:04:05Z'",
        ),
        (|r| r["status"] = "done".into(), "is not a valid RuntimeResult: "),
        (|r| *r = json!({}), "is not a valid RuntimeResult: "),
        (|r| *r = json!("ok"), "is not a valid RuntimeResult: "),
    ];
    for (edit, words) in cases {
        let error = edited(edit).unwrap_err();
        assert_eq!(
            (error.status(), error.kind()),
            (FailureStatus::Failed, "dispatcher_protocol")
        );
        assert!(
            error
                .summary()
                .starts_with(&format!("the dispatcher's answer {words}")),
            "{error}"
        );
    }
    for (answer, words) in [
        ("\n", "is empty"),
        ("", "is empty"),
        ("{\n", "is not a valid RuntimeResult: "),
    ] {
        let error = answered(|_| answer.into()).unwrap_err();
        assert_eq!(error.kind(), "dispatcher_protocol");
        assert!(
            error
                .summary()
                .starts_with(&format!("the dispatcher's answer {words}")),
            "{error}"
        );
    }
}

#[test]
fn an_endless_answer_is_cut_off() {
    let error = answered(|_| vec![b' '; 40 << 20]).unwrap_err();
    assert_eq!(error.kind(), "dispatcher_protocol");
    assert_eq!(
        error.summary(),
        "the dispatcher's answer is longer than 16777216 bytes"
    );
}

#[test]
fn files_and_times_are_the_dispatchers() {
    let artifact = json!({
        "schema_version": "0.1", "contract_kind": "artifact_descriptor", "artifact_id": "report",
        "path": "/var/report", "kind": "report", "description": "", "metadata": {}
    });
    for status in ["succeeded", "failed"] {
        let artifact = artifact.clone();
        let outcome = edited(move |result| {
            result["status"] = status.into();
            result["stdout_path"] = "/var/out".into();
            result["artifacts"] = json!([artifact]);
        });
        let delegated_run = match &outcome {
            Ok(outcome) => outcome.get_delegated_run(),
            Err(error) => error.get_delegated_run(),
        };
        let delegated_run = delegated_run.unwrap();
        assert_eq!(delegated_run.stdout_path.as_deref(), Some("/var/out"));
        assert_eq!(delegated_run.artifacts[0].path, "/var/report");
        assert_eq!(delegated_run.started_at.as_str(), "2026-01-02T03:04:05Z");
    }
}

#[test]
fn a_silent_dispatcher_is_left_at_the_deadline_or_when_told_to() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("d");
    // Nobody accepts: the connection waits in the queue.
    let _listener = UnixListener::bind(&path).unwrap();
    let invocation = Invocation::new("manual").with("manual.socket", path.to_str().unwrap());
    let begun = Instant::now();
    let late = TestHost::new()
        .deadline(Duration::from_millis(50))
        .run(&Manual, &invocation)
        .unwrap_err();
    assert_eq!(late.status(), FailureStatus::TimedOut);
    assert_eq!(late.summary(), "timed out in the dispatcher's run");
    let host = TestHost::new();
    host.stop_after(Duration::from_millis(50));
    let stopped = host.run(&Manual, &invocation).unwrap_err();
    assert_eq!(stopped.status(), FailureStatus::Cancelled);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_missing_dispatcher_is_a_failure_that_names_it() {
    let invocation = Invocation::new("manual").with("manual.socket", "/nonexistent/d");
    let error = TestHost::new().run(&Manual, &invocation).unwrap_err();
    assert_eq!((error.status(), error.kind()), (FailureStatus::Failed, "network"));
    assert!(
        error
            .summary()
            .starts_with("dispatcher socket '/nonexistent/d': no connection: "),
        "{error}"
    );

    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let host = TestHost::new().config("dispatcher.manual", &format!("http://{unused}/"));
    let error = host.run(&Manual, &Invocation::new("manual")).unwrap_err();
    assert_eq!(
        error.summary(),
        format!("http error: connection refused by {unused}")
    );
}

#[test]
fn a_dispatcher_is_asked_over_http() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let mut heads = Vec::new();
        for (code, good) in [("200 OK", true), ("500 Oops", false)] {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(&stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                reader.read_line(&mut head).unwrap();
            }
            let length = head.to_ascii_lowercase();
            let length = length.split("content-length: ").nth(1).unwrap();
            let mut body = vec![0; length.split('\r').next().unwrap().parse().unwrap()];
            reader.read_exact(&mut body).unwrap();
            let answer = if good {
                result(&serde_json::from_slice(&body).unwrap()).to_string()
            } else {
                "broken".to_owned()
            };
            let length = answer.len();
            let head_out =
                format!("HTTP/1.1 {code}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
            (&stream)
                .write_all(format!("{head_out}{answer}").as_bytes())
                .unwrap();
            heads.push(head);
        }
        heads
    });
    let invocation = Invocation::new("manual").with("manual.url", format!("http://{address}/run?k=s3cret"));
    let outcome = TestHost::new().run(&Manual, &invocation).unwrap();
    assert_eq!(outcome.get_exit_code(), Some(7));
    assert_eq!(
        outcome.get_receipt("manual.dispatcher"),
        Some(&*format!("http://{address}/run"))
    );
    let error = TestHost::new().run(&Manual, &invocation).unwrap_err();
    assert_eq!(error.kind(), "dispatcher_protocol");
    assert_eq!(error.summary(), "the dispatcher's answer is HTTP 500: broken");
    let heads = thread.join().unwrap();
    assert!(
        heads[0].starts_with("POST /run?k=s3cret HTTP/1.1\r\n"),
        "{}",
        heads[0]
    );
    assert!(
        heads[0].contains("content-type: application/json\r\n"),
        "{}",
        heads[0]
    );
}
