//! The kind `http_sse` on every carrier it has, against a real backend.

use executor_runtime::protocol::{RuntimeResult, Status};
use executor_runtime_tests::{
    amount,
    installed::Installed,
    kind::{Invocation, Kind, artifact},
    on_every_carrier,
    scripted::{Answer, Request, Scripted},
};
use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

on_every_carrier! {
    "http_sse":
    the_kickoffs_answer_is_followed_to_its_end,
    a_name_a_state_or_the_data_is_the_end,
    an_end_without_a_terminal_event_is_no_success,
    a_stream_of_its_own_goes_on_after_the_last_event,
    a_kickoff_may_be_answered_as_the_invocation_says,
    a_cursor_says_where_to_go_on,
    a_location_on_the_same_server_is_where_it_goes_on,
    a_status_url_tells_what_the_stream_does_not,
    a_field_that_is_missing_is_named_with_its_key,
    codes_are_final_or_may_pass,
    what_is_no_event_stream_is_a_failure,
    only_what_is_more_than_its_stream_is_not_to_be_tried_again,
    an_event_that_is_too_long_is_a_failure,
    pings_for_ever_are_silence,
    a_stream_without_end_meets_the_deadline,
}

fn summary(result: &RuntimeResult) -> &str {
    result.error_summary.as_deref().unwrap_or_default()
}

fn code(result: &RuntimeResult) -> &str {
    result.metadata.get("error.kind").map_or("", String::as_str)
}

pub(super) fn to(kind: &Kind, server: &Scripted) -> Invocation {
    kind.invocation(&[
        ("http.url", &server.url("/start")),
        ("sse.terminal_events", "end,error"),
        ("sse.success_events", "end"),
        ("sse.reconnect_seconds", "0.05"),
        ("sse.max_reconnect_seconds", "0.2"),
    ])
}

/// The data of the events in a result's artifact.
fn data(result: &RuntimeResult) -> Vec<String> {
    let lines = String::from_utf8(artifact(result, "events").expect("there is an artifact")).unwrap();
    let data = |line: &str| -> String {
        let line: serde_json::Value = serde_json::from_str(line).expect("each line is JSON");
        line["data"].as_str().expect("each has data").to_owned()
    };
    lines.lines().map(data).collect()
}

fn the_kickoffs_answer_is_followed_to_its_end(kind: &Kind) {
    let events = ": hello\n\nid: 1\nevent: token\ndata: Hel\n\ndata: lo\ndata: \"w\"\n\nevent: ping\ndata: {}\n\nevent: end\nid: 3\ndata\n\ndata: more\n\n";
    let server = Scripted::sequence(vec![Answer::events(events)]);
    let result = kind.run(
        &to(kind, &server)
            .with("http.body", "{}")
            .with("http.header.X-Key", "k"),
    );
    assert_eq!(result.status, Status::Succeeded, "{result:?}");
    assert_eq!(result.exit_code, Some(0));
    let lines = [
        r#"{"event":"token","id":"1","data":"Hel"}"#,
        r#"{"event":"message","id":"1","data":"lo\n\"w\""}"#,
        r#"{"event":"end","id":"3","data":""}"#,
    ];
    let kept = String::from_utf8(artifact(&result, "events").unwrap()).unwrap();
    assert_eq!(kept.lines().collect::<Vec<_>>(), lines);
    let [request] = &server.requests()[..] else {
        panic!("{:?}", server.lines())
    };
    assert_eq!(
        (request.line().as_str(), request.text().as_str()),
        ("POST /start", "{}")
    );
    assert_eq!(request.header("accept"), "text/event-stream");
    assert_eq!(request.header("x-key"), "k");
    for (key, value) in [
        ("http.status", "200"),
        ("sse.events", "3"),
        ("sse.cursor", "3"),
        ("sse.reconnects", "0"),
        ("sse.end", "end"),
    ] {
        assert_eq!(result.metadata[key], value, "{key}");
    }
}

fn a_name_a_state_or_the_data_is_the_end(kind: &Kind) {
    let cases = [
        (
            "event: error\ndata: {\"why\": \"no room\"}\n\n",
            Some("error: no room"),
        ),
        ("data: {\"run\": {\"status\": \"completed\"}}\n\n", None),
        (
            "data: {\"run\": {\"status\": \"failed\"}, \"why\": \"quota\"}\n\n",
            Some("failed: quota"),
        ),
        (
            "data: {\"run\": {\"status\": \"running\"}}\n\ndata: [DONE]\n\n",
            None,
        ),
    ];
    for (events, failure) in cases {
        let server = Scripted::sequence(vec![Answer::events(events)]);
        let invocation = to(kind, &server)
            .with("sse.terminal_path", "run.status")
            .with("sse.terminal_states", "completed,failed")
            .with("sse.success_data", "[DONE]")
            .with("sse.error_path", "why");
        let result = kind.run(&invocation);
        match failure {
            None => assert_eq!(result.status, Status::Succeeded, "{result:?}"),
            Some(words) => {
                assert_eq!((result.status, code(&result)), (Status::Failed, "backend_status"));
                assert_eq!(summary(&result), format!("backend reported the end: {words}"));
                assert_eq!(result.exit_code, Some(1));
            }
        }
    }
}

fn an_end_without_a_terminal_event_is_no_success(kind: &Kind) {
    // It can't be asked for again: the kickoff would start a second run.
    for (answer, kind_of_error) in [
        (Answer::events("id: 1\ndata: a\n\n"), "stream_ended"),
        (
            Answer::broken_events("id: 1\ndata: a\n\nevent: end\ndata:"),
            "network",
        ),
        (Answer::new(204, ""), "stream_ended"),
    ] {
        let server = Scripted::sequence(vec![answer, Answer::new(200, "")]);
        let invocation = to(kind, &server).with("http.cancel_url_template", server.url("/cancel"));
        let result = kind.run(&invocation);
        assert_eq!(
            (result.status, code(&result)),
            (Status::Failed, kind_of_error),
            "{result:?}"
        );
        assert_eq!(server.lines(), ["POST /start", "POST /cancel"]);
        assert_eq!(result.metadata["http.cancel_status"], "200");
        assert!(artifact(&result, "events").is_some());
    }
    // Nor can one whose events don't say where it was, unless it is said what to do then.
    let whole = "data: a\n\ndata: b\n\nevent: end\ndata: c\n\n";
    for (without, second, expected) in [
        ("fail", "", None),
        ("replay", whole, Some(vec!["a", "b", "c"])),
        ("continue", "event: end\ndata: c\n\n", Some(vec!["a", "b", "c"])),
    ] {
        let server = Scripted::sequence(vec![
            Answer::events("data: a\n\ndata: b\n\n"),
            Answer::events(second),
        ]);
        let invocation = to(kind, &server)
            .with("http.method", "GET")
            .with("sse.without_cursor", without);
        let result = kind.run(&invocation);
        match expected {
            Some(expected) => assert_eq!(data(&result), expected, "{result:?}"),
            None => assert!(
                summary(&result).contains("neither id nor cursor"),
                "{}",
                summary(&result)
            ),
        }
    }
}

fn a_stream_of_its_own_goes_on_after_the_last_event(kind: &Kind) {
    let server = Scripted::start(|request, n| match (&*request.line(), n) {
        ("POST /start", _) => Answer::new(202, r#"{"run": "r/1"}"#),
        (_, 1) => Answer::broken_events("id: 1\ndata: a\n\nid: 2\nda"),
        // Nothing new.
        (_, 2) => Answer::events("id: 1\ndata: a\n\n"),
        (_, 3) => Answer::events("retry: 10\nid: 2\ndata: b\n\n"),
        // What it had before, and more.
        _ => Answer::events("id: 2\ndata: b\n\nid: 3\ndata: c\n\nevent: end\ndata: d\n\n"),
    });
    let invocation = to(kind, &server)
        .with("sse.stream_url_template", server.url("/runs/{run_id}/events"))
        .with("sse.run_id_path", "run");
    let result = kind.run(&invocation);
    assert_eq!(result.status, Status::Succeeded, "{result:?}");
    assert_eq!(data(&result), ["a", "b", "c", "d"]);
    let requests = server.requests();
    assert!(
        requests[1..]
            .iter()
            .all(|request| request.line() == "GET /runs/r%2F1/events")
    );
    let places: Vec<_> = requests[1..]
        .iter()
        .map(|request| request.header("last-event-id"))
        .collect();
    assert_eq!(places, ["", "1", "1", "2"]);
    assert_eq!(result.metadata["sse.reconnects"], "3");
    assert_eq!(result.metadata["http.run_id"], "r/1");
}

fn a_kickoff_may_be_answered_as_the_invocation_says(kind: &Kind) {
    for codes in ["201", "204"] {
        let server = Scripted::start(|request, _| match &*request.line() {
            "POST /start" => Answer::new(201, r#"{"run": "r1"}"#),
            _ => Answer::events("event: end\ndata: d\n\n"),
        });
        let invocation = to(kind, &server)
            .with("sse.stream_url_template", server.url("/runs/{run_id}/events"))
            .with("sse.run_id_path", "run")
            .with("http.kickoff_codes", codes);
        let result = kind.run(&invocation);
        if codes == "201" {
            assert_eq!(result.status, Status::Succeeded, "{result:?}");
            assert_eq!(server.lines(), ["POST /start", "GET /runs/r1/events"]);
        } else {
            assert_eq!((result.status, code(&result)), (Status::Failed, "http_status"));
            let expected =
                "kickoff: expected HTTP 202, 200 or 204 (metadata key 'http.kickoff_codes'), got HTTP 201";
            assert_eq!(
                result.metadata["error.transient"], "false",
                "it has started something"
            );
            let summary = result.error_summary.unwrap_or_default();
            assert!(summary.starts_with(expected), "{summary}");
        }
    }
    // Without a stream of its own the kickoff's answer is the stream.
    let server = Scripted::start(|_, _| Answer::new(201, ""));
    let result = kind.run(&to(kind, &server).with("http.kickoff_codes", "201"));
    assert_eq!(
        (result.status, code(&result)),
        (Status::Rejected, "invalid_metadata")
    );
    assert!(server.lines().is_empty(), "{:?}", server.lines());
}

fn a_cursor_says_where_to_go_on(kind: &Kind) {
    let event = |n: usize, status: &str| {
        format!("data: {{\"n\": {n}, \"response\": {{\"id\": \"resp_1\", \"status\": \"{status}\"}}}}\n\n")
    };
    let first = event(0, "queued") + &event(1, "running");
    // It repeats what it should not.
    let second = event(1, "running") + &event(2, "running") + &event(3, "completed");
    let server = Scripted::sequence(vec![Answer::broken_events(&first), Answer::events(&second)]);
    let invocation = to(kind, &server)
        .without("sse.success_events")
        .with("sse.terminal_path", "response.status")
        .with("sse.terminal_states", "completed,failed")
        .with("sse.run_id_path", "response.id")
        .with("sse.cursor_path", "n")
        .with(
            "sse.reconnect_url_template",
            server.url("/responses/{run_id}?stream=true&starting_after={cursor}"),
        );
    let result = kind.run(&invocation);
    assert_eq!(result.status, Status::Succeeded, "{result:?}");
    assert_eq!(
        server.lines(),
        [
            "POST /start",
            "GET /responses/resp_1?stream=true&starting_after=1"
        ]
    );
    assert_eq!(data(&result).len(), 4);
    assert_eq!(result.metadata["sse.cursor"], "3");
}

fn a_location_on_the_same_server_is_where_it_goes_on(kind: &Kind) {
    let elsewhere = Scripted::sequence(vec![Answer::events("event: end\ndata\n\n")]);
    for (location, is_used) in [
        ("/runs/7/stream?a=b".to_owned(), true),
        (elsewhere.url("/x"), false),
    ] {
        let server = Scripted::sequence(vec![
            Answer::events("id: 1\ndata: a\n\n").header("location", &location),
            Answer::events("id: 2\nevent: end\ndata: b\n\n"),
        ]);
        let result = kind.run(&to(kind, &server).with("http.header.Authorization", "s3cret"));
        if is_used {
            assert_eq!(result.status, Status::Succeeded, "{result:?}");
            assert_eq!(server.lines(), ["POST /start", "GET /runs/7/stream?a=b"]);
            assert_eq!(server.requests()[1].header("last-event-id"), "1");
            assert_eq!(data(&result), ["a", "b"]);
        } else {
            assert_eq!(code(&result), "stream_ended", "{result:?}");
        }
    }
    assert!(elsewhere.requests().is_empty());
}

fn a_status_url_tells_what_the_stream_does_not(kind: &Kind) {
    for (state, expected) in [("completed", Status::Succeeded), ("failed", Status::Failed)] {
        let server = Scripted::start(move |request, n| match (&*request.line(), n) {
            ("POST /start", _) => Answer::events("data: {\"id\": 7}\n\n"),
            (_, 1) => Answer::new(200, r#"{"status": "running"}"#),
            (_, 2) => Answer::new(503, ""),
            _ => Answer::new(200, format!(r#"{{"status": "{state}"}}"#)),
        });
        let invocation = to(kind, &server)
            .with("sse.run_id_path", "id")
            .with("sse.status_url_template", server.url("/runs/{run_id}"))
            .with("sse.status_path", "status")
            .with("sse.status_terminal_states", "completed,failed");
        let result = kind.run(&invocation);
        assert_eq!(result.status, expected, "{result:?}");
        assert_eq!(result.metadata["sse.end"], state);
        assert_eq!(
            server.lines(),
            ["POST /start", "GET /runs/7", "GET /runs/7", "GET /runs/7"]
        );
    }
}

fn a_field_that_is_missing_is_named_with_its_key(kind: &Kind) {
    let server = Scripted::sequence(vec![Answer::new(202, "{}")]);
    let invocation = to(kind, &server)
        .with("sse.run_id_path", "id")
        .with("sse.stream_url_template", server.url("/runs/{run_id}"));
    let result = kind.run(&invocation);
    assert_eq!(
        (code(&result), summary(&result)),
        (
            "invalid_response",
            "kickoff: no field at path 'id' (sse.run_id_path)"
        )
    );
    let server = Scripted::sequence(vec![Answer::events("data: x\n\n"), Answer::new(200, "{}")]);
    let invocation = to(kind, &server)
        .with("sse.status_url_template", server.url("/status"))
        .with("sse.status_path", "$.status")
        .with("sse.status_terminal_states", "completed");
    let result = kind.run(&invocation);
    assert_eq!(
        (code(&result), summary(&result)),
        (
            "invalid_response",
            "status: no field at path '$.status' (sse.status_path); paths have no '$'"
        )
    );
}

fn codes_are_final_or_may_pass(kind: &Kind) {
    let end = || Answer::events("id: 2\nevent: end\ndata\n\n");
    let first = || Answer::events("id: 1\ndata: a\n\n");
    for passing in [408, 425, 429, 500, 503] {
        let server = Scripted::sequence(vec![first(), Answer::new(passing, "busy"), end()]);
        let result = kind.run(&to(kind, &server).with("http.method", "GET"));
        assert_eq!(result.status, Status::Succeeded, "{passing}: {result:?}");
    }
    for last in [400, 401, 404, 410] {
        let server = Scripted::sequence(vec![first(), Answer::new(last, "no"), end()]);
        let result = kind.run(&to(kind, &server).with("http.method", "GET"));
        assert_eq!((result.status, code(&result)), (Status::Failed, "http_status"));
        assert_eq!(
            summary(&result),
            format!("stream: expected HTTP 200, got HTTP {last}: no")
        );
        assert_eq!(server.lines().len(), 2);
    }
    // A kickoff is sent once.
    let server = Scripted::sequence(vec![Answer::new(503, "busy"), end()]);
    let result = kind.run(&to(kind, &server));
    assert_eq!(summary(&result), "kickoff: expected HTTP 200, got HTTP 503: busy");
    // So many in a row, and a new event makes them none.
    let answers = |failures: usize| {
        let failing = vec![Answer::new(503, "down"); failures];
        [
            vec![first()],
            failing,
            vec![Answer::events("id: 2\ndata: b\n\n"), Answer::new(503, ""), end()],
        ]
        .concat()
    };
    for (failures, expected) in [(2, Status::Succeeded), (3, Status::Failed)] {
        let server = Scripted::sequence(answers(failures));
        let invocation = to(kind, &server)
            .with("http.method", "GET")
            .with("sse.max_failures", "3");
        let result = kind.run(&invocation);
        assert_eq!(result.status, expected, "{result:?}");
        if expected == Status::Failed {
            assert_eq!(
                summary(&result),
                "stream, 4 times in a row: expected HTTP 200, got HTTP 503: down"
            );
        }
    }
}

fn what_is_no_event_stream_is_a_failure(kind: &Kind) {
    for (answer, found) in [
        (
            Answer::new(200, "<html>").header("content-type", "text/html"),
            "'text/html'",
        ),
        (
            Answer::new(200, "data: x\n\n").header("content-type", "x bogus"),
            "'x bogus'",
        ),
        (Answer::new(200, "data: x\n\n"), "none"),
    ] {
        let server = Scripted::sequence(vec![answer]);
        let result = kind.run(&to(kind, &server));
        assert_eq!(
            (result.status, code(&result)),
            (Status::Failed, "invalid_response")
        );
        let expected = format!("kickoff: expected content-type text/event-stream, got {found}: ");
        assert!(summary(&result).starts_with(&expected), "{}", summary(&result));
    }
    for content_type in [
        "text/event-stream",
        "Text/Event-Stream;charset=utf-8",
        "text/event-stream;x=bogus",
        "text/event-stream;",
    ] {
        let answer = Answer::new(200, "event: end\ndata\n\n").header("content-type", content_type);
        let server = Scripted::sequence(vec![answer]);
        assert_eq!(
            kind.run(&to(kind, &server)).status,
            Status::Succeeded,
            "{content_type}"
        );
    }
}

fn only_what_is_more_than_its_stream_is_not_to_be_tried_again(kind: &Kind) {
    for (located, cancel, transient) in [
        (false, None, "true"),
        (true, None, "false"),
        (true, Some(500), "false"),
        (true, Some(204), "true"),
        (false, Some(500), "false"),
    ] {
        let server = Scripted::start(move |request, _| match (&*request.line(), cancel) {
            ("POST /start", _) if located => {
                Answer::events("id: 1\ndata: a\n\n").header("location", "/runs/1")
            }
            ("POST /start", _) => Answer::events("id: 1\ndata: a\n\n"),
            ("POST /cancel", Some(code)) => Answer::new(code, ""),
            _ => Answer::new(404, ""),
        });
        let mut invocation = to(kind, &server);
        if cancel.is_some() {
            invocation = invocation.with("http.cancel_url_template", server.url("/cancel"));
        }
        let result = kind.run(&invocation);
        assert_eq!(result.status, Status::Failed, "{result:?}");
        let case = format!("located: {located}, cancel: {cancel:?}: {result:?}");
        assert_eq!(result.metadata["error.transient"], transient, "{case}");
    }
}

fn an_event_that_is_too_long_is_a_failure(kind: &Kind) {
    let endless = Answer::Endless {
        head: b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: a\n\ndata: ".to_vec(),
        piece: vec![b'x'; 16 * 1024],
        pause: Duration::ZERO,
    };
    let server = Scripted::sequence(vec![endless]);
    let result = kind.run(&to(kind, &server).with("sse.max_event_bytes", "100000"));
    assert_eq!(
        (result.status, code(&result)),
        (Status::Failed, "event_too_long"),
        "{result:?}"
    );
    assert_eq!(data(&result), ["a"]);
}

fn pings_for_ever_are_silence(kind: &Kind) {
    let pings = ": ping\n\nevent: ping\ndata: {}\n\n";
    let ticking = Duration::from_millis(20);
    let server = Scripted::sequence(vec![
        Answer::endless_events("id: 1\ndata: a\n\n", pings, ticking),
        Answer::endless_events("", "", Duration::from_millis(100)),
        Answer::endless_events("", pings, ticking),
    ]);
    let invocation = to(kind, &server)
        .with("http.method", "GET")
        .with("sse.idle_timeout_seconds", "0.2")
        .with("sse.max_failures", "2");
    let begun = Instant::now();
    let result = kind.run(&invocation);
    assert_eq!(
        (result.status, code(&result)),
        (Status::Failed, "idle_timeout"),
        "{result:?}"
    );
    assert_eq!(
        summary(&result),
        "stream, 3 times in a row: no event came within 0.2 s"
    );
    assert_eq!(server.lines().len(), 3);
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!(data(&result), ["a"]);
}

fn a_stream_without_end_meets_the_deadline(kind: &Kind) {
    for pause in [Duration::ZERO, Duration::from_millis(10)] {
        let server = Scripted::start(move |request, _| match &*request.method {
            "DELETE" => Answer::new(204, ""),
            _ => Answer::endless_events("", &"data: again and again\n\n".repeat(10), pause),
        });
        let invocation = to(kind, &server)
            .with("http.cancel_url_template", server.url("/cancel"))
            .with("http.cancel_method", "DELETE")
            .field("timeout_seconds", 1);
        let begun = Instant::now();
        let result = kind.run(&invocation);
        assert_eq!(
            (result.status, code(&result)),
            (Status::TimedOut, "timeout"),
            "{result:?}"
        );
        assert_eq!(summary(&result), "timed out in stream (timeout 1 s)");
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert_eq!(server.lines(), ["POST /start", "DELETE /cancel"]);
        assert_eq!(data(&result).len().to_string(), result.metadata["sse.events"]);
    }
}

/// The number after which a request asks for events.
fn after(request: &Request) -> usize {
    request.header("last-event-id").parse().unwrap_or(0)
}

/// Events with these numbers as ids and data.
fn numbered(numbers: std::ops::RangeInclusive<usize>) -> String {
    numbers.map(|n| format!("id: {n}\ndata: {n}\n\n")).collect()
}

/// What is left of a stream of `last` events and its end.
pub(super) fn rest(request: &Request, last: usize) -> String {
    format!(
        "{}id: {}\nevent: end\ndata: end\n\n",
        numbered(after(request) + 1..=last),
        last + 1
    )
}

pub(super) fn assert_each_once(result: &RuntimeResult, last: usize) {
    let expected: Vec<_> = (1..=last)
        .map(|n| n.to_string())
        .chain(["end".to_owned()])
        .collect();
    assert!(data(result) == expected, "{:?}", result.metadata);
}

#[test]
fn a_stream_that_is_cut_at_any_byte_has_every_event_once() {
    const LAST: usize = 4;
    let kind = Kind::component("http_sse");
    let length = rest_of_all(LAST).len();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    let (cut, breaks) = (number / 2, number.is_multiple_of(2));
                    if cut > length {
                        return;
                    }
                    let server = Scripted::start(move |request, n| {
                        let whole = rest(request, LAST);
                        match n {
                            0 if breaks => Answer::broken_events(&whole[..cut]),
                            0 => Answer::events(&whole[..cut]),
                            _ => Answer::events(&whole),
                        }
                    });
                    let invocation = to(&kind, &server)
                        .with("http.method", "GET")
                        .field("invocation_id", format!("cut-{number}"));
                    let result = kind.run(&invocation);
                    assert_eq!(result.status, Status::Succeeded, "at {cut}: {result:?}");
                    assert_each_once(&result, LAST);
                }
            });
        }
    });
}

fn rest_of_all(last: usize) -> String {
    format!(
        "{}id: {}\nevent: end\ndata: end\n\n",
        numbered(1..=last),
        last + 1
    )
}

#[test]
fn a_server_that_restarts_costs_no_event() {
    let kind = Kind::component("http_sse");
    let first = Scripted::sequence(vec![Answer::endless_events(
        &numbered(1..=3),
        ": ping\n\n",
        Duration::from_millis(20),
    )]);
    let address = first.authority().to_owned();
    let invocation = to(&kind, &first)
        .with("http.method", "GET")
        .with("sse.max_failures", "100");
    let first = Mutex::new(Some(first));
    let result = thread::scope(|scope| {
        let run = scope.spawn(|| kind.run(&invocation.clone().with("sse.idle_timeout_seconds", "0.5")));
        let gone = first.lock().unwrap().take().unwrap();
        gone.wait_for(1);
        drop(gone);
        // Its connection stays, and brings nothing more. When that is noticed, nobody is there for a while.
        thread::sleep(Duration::from_millis(900));
        let second = Scripted::at(&address, |request, _| Answer::events(&rest(request, 5)));
        let result = run.join().unwrap();
        assert_eq!(after(&second.requests()[0]), 3);
        result
    });
    assert_eq!(result.status, Status::Succeeded, "{result:?}");
    assert_each_once(&result, 5);
}

#[test]
fn ids_that_are_missing_or_repeated_cost_no_event_and_bring_none_twice() {
    let kind = Kind::component("http_sse");
    // Every third event has an id, and the server goes on from there; or it has one for all; or it begins anew each time.
    let event = |n: usize, id: Option<usize>| match id {
        Some(id) => format!("id: {id}\ndata: {n}\n\n"),
        None => format!("data: {n}\n\n"),
    };
    let every_third = move |from: usize, to: usize| -> String {
        (from..=to).map(|n| event(n, (n % 3 == 0).then_some(n))).collect()
    };
    let end = "id: 99\nevent: end\ndata: end\n\n";
    type Script = Box<dyn Fn(&Request, usize) -> String + Send + Sync>;
    let servers: [(&str, Script); 3] = [
        (
            "ids are missing",
            Box::new(move |request, n| match n {
                0..5 => every_third(after(request) + 1, 2 * n + 4),
                _ => every_third(after(request) + 1, 20) + end,
            }),
        ),
        (
            "it begins with the last event",
            Box::new(move |request, n| match n {
                0..5 => numbered(after(request).max(1)..=after(request) + 3),
                _ => numbered(after(request)..=20) + end,
            }),
        ),
        (
            "it begins anew",
            Box::new(move |_, n| match n {
                0..5 => numbered(1..=2 * n + 4),
                _ => numbered(1..=20) + end,
            }),
        ),
    ];
    for (what, script) in servers {
        let server = Scripted::start(move |request, n| match n % 2 {
            0 => Answer::events(&script(request, n)),
            _ => Answer::broken_events(&script(request, n)),
        });
        let result = kind.run(&to(&kind, &server).with("http.method", "GET"));
        assert_eq!(result.status, Status::Succeeded, "{what}: {result:?}");
        let numbers: Vec<_> = (1..=20)
            .map(|n| n.to_string())
            .chain(["end".to_owned()])
            .collect();
        assert_eq!(data(&result), numbers, "{what}");
    }
}

#[test]
fn hosts_that_are_killed_at_random_moments_lose_no_event_and_bring_none_twice() {
    const PART: usize = 300;
    let deaths = amount(4, 100);
    let last = (deaths + 1) * PART;
    let place = Installed::component("http_sse");
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    // Each host is sent some more, and then pings until it is killed.
    let server = Scripted::start(move |request, n| {
        let begin = after(request);
        count.fetch_add(1, Ordering::SeqCst);
        match n < deaths {
            true => Answer::endless_events(
                &numbered(begin + 1..=(begin + PART).min(last)),
                ": ping\n\n",
                Duration::from_millis(5),
            ),
            false => Answer::events(&rest(request, last)),
        }
    });
    let invocation = place
        .invocation(&[
            ("http.url", &server.url("/events")),
            ("http.method", "GET"),
            ("sse.success_events", "end"),
        ])
        .id("the-run");
    for number in 0..deaths {
        let mut host = place.start(&invocation);
        server.wait_for(number + 1);
        let random = RandomState::new().hash_one(number) % 250;
        thread::sleep(Duration::from_millis(random));
        host.kill().unwrap();
        host.wait().unwrap();
        // The lock goes with the last of its processes.
        place.scene.assert_nothing_left_within(Duration::from_secs(10));
    }
    let result = place.run(&invocation).expect(Status::Succeeded);
    assert_each_once(&result, last);
    let places: Vec<_> = server.requests().iter().map(after).collect();
    assert_eq!(places.len(), deaths + 1, "{places:?}");
    assert!(places.is_sorted(), "{places:?}");
}
