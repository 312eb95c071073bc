//! Runs against a backend on loopback TCP, some of which lose their host.

use crate::{HttpSse, journal::Journal, state::State};
use executor_runtime_sdk::{
    Context, FailureStatus, HostDeath, Invocation, Level, Outcome, RunError, TestHost,
};
use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    sync::mpsc::{Receiver, channel},
};

/// What a counting backend sends: events 1 to `last`, from the one after `Last-Event-ID`, and then the end.
fn backend(last: usize) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (asked, requests) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            let mut reader = BufReader::new(&stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                reader.read_line(&mut head).unwrap();
            }
            let head = head.to_ascii_lowercase();
            let after: usize = head
                .split_once("last-event-id: ")
                .and_then(|(_, rest)| rest.lines().next()?.parse().ok())
                .unwrap_or(0);
            if asked
                .send(format!("{} {after}", head.lines().next().unwrap()))
                .is_err()
            {
                return;
            }
            let mut body = String::new();
            for n in after + 1..=last {
                body += &format!("id: {n}\ndata: {n}\n\n");
            }
            body += &format!("event: end\nid: {}\ndata:\n\n", last + 1);
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{body}"
            );
            // A host that has died does not read it.
            let _ = (&stream).write_all(answer.as_bytes());
        }
    });
    (url, requests)
}

fn invocation(url: &str) -> Invocation {
    Invocation::new("http_sse")
        .with("http.url", format!("{url}/start"))
        .with("http.method", "GET")
        .with("sse.success_events", "end")
        .with("sse.reconnect_seconds", "0.05")
}

fn expected(last: usize) -> String {
    let mut lines: String = (1..=last)
        .map(|n| format!("{{\"event\":\"message\",\"id\":\"{n}\",\"data\":\"{n}\"}}\n"))
        .collect();
    lines += &format!("{{\"event\":\"end\",\"id\":\"{}\",\"data\":\"\"}}\n", last + 1);
    lines
}

#[test]
fn every_event_is_a_line() {
    let (url, requests) = backend(3);
    let host = TestHost::new();
    let outcome = host.run(&HttpSse, &invocation(&url)).unwrap();
    assert_eq!(
        String::from_utf8(host.artifact("events").unwrap()).unwrap(),
        expected(3)
    );
    for (key, value) in [
        ("sse.events", "4"),
        ("sse.cursor", "4"),
        ("sse.reconnects", "0"),
        ("sse.end", "end"),
    ] {
        assert_eq!(outcome.get_receipt(key), Some(value), "{key}");
    }
    assert_eq!(requests.recv().unwrap(), "get /start http/1.1 0");
}

#[test]
fn a_host_that_dies_at_any_byte_costs_no_event_and_brings_none_twice() {
    let length = expected(5).len() as u64;
    for byte in 0..=length {
        let (url, _requests) = backend(5);
        let invocation = invocation(&url);
        let death = HostDeath::AtBytes(byte);
        let next = TestHost::new().run_until_death(death, &HttpSse, &invocation);
        next.run(&HttpSse, &invocation).unwrap();
        assert_eq!(
            String::from_utf8(next.artifact("events").unwrap()).unwrap(),
            expected(5),
            "{byte}"
        );
    }
}

#[test]
fn a_host_that_dies_at_any_checkpoint_does_not_either() {
    for number in 1..=2 {
        let (url, requests) = backend(5);
        let invocation = invocation(&url);
        let death = HostDeath::AtCheckpoint(number);
        let next = TestHost::new().run_until_death(death, &HttpSse, &invocation);
        let outcome = next.run(&HttpSse, &invocation).unwrap();
        assert_eq!(outcome.get_receipt("http.resumed"), Some("true"));
        assert_eq!(
            String::from_utf8(next.artifact("events").unwrap()).unwrap(),
            expected(5)
        );
        // Once the end is known, the backend is left alone.
        assert_eq!(requests.try_iter().count(), 3 - number as usize);
    }
}

#[test]
fn a_run_that_was_started_is_not_started_again() {
    let (url, requests) = backend(5);
    let invocation = invocation(&url).with("http.method", "POST");
    let next = TestHost::new().run_until_death(HostDeath::AtCheckpoint(1), &HttpSse, &invocation);
    let error = next.run(&HttpSse, &invocation).unwrap_err();
    assert_eq!(
        (error.status(), error.kind()),
        (FailureStatus::Failed, "stream_ended")
    );
    assert_eq!(requests.try_iter().count(), 1);
}

#[test]
fn an_unreadable_checkpoint_is_a_failure_and_no_second_kickoff() {
    let error = TestHost::new()
        .resumed("what?")
        .run(&HttpSse, &invocation("http://127.0.0.1:1"))
        .unwrap_err();
    assert_eq!(
        (error.status(), error.kind()),
        (FailureStatus::Failed, "invalid_checkpoint")
    );
    assert_eq!(error.get_receipt("error.transient"), Some("false"));
}

#[test]
fn a_place_that_no_checkpoint_holds_is_warned_of_once() {
    fn run(_: &Invocation, ctx: &mut Context) -> Result<Outcome, RunError> {
        let state = State {
            id: "x".repeat(70_000),
            ..State::default()
        };
        let mut journal = Journal::begin(ctx)?;
        journal.keep(ctx, &state);
        journal.keep(ctx, &state);
        Ok(Outcome::succeeded())
    }
    let host = TestHost::new();
    host.run(&run, &Invocation::new("http_sse")).unwrap();
    let [(Level::Warn, text)] = &host.log()[..] else {
        panic!("one warning: {:?}", host.log());
    };
    let expected = "if the host dies, this run can't be resumed: ";
    assert!(text.starts_with(expected), "{text}");
}
