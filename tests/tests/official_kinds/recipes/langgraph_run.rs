//! The recipe `langgraph_run`, against a server that does what a real one does only by chance: cuts, missing ends, cancelled
//! runs. It answers as the server of `real_langgraph` does.

use super::{body, events, official, summary};
use executor_runtime_protocol::Status;
use executor_runtime_tests::{
    Invocation,
    installed::Installed,
    scripted::{Answer, Scripted},
};
use serde_json::json;
use std::time::Duration;

const THREAD: &str = "/threads/3f0c6d3e-0000-4000-8000-000000000001";

fn run(place: &Installed, server: &Scripted) -> Invocation {
    place.invocation(&[
        ("langgraph.url", &server.url("/")),
        ("langgraph.assistant_id", "agent"),
        ("langgraph.thread_id", "3f0c6d3e-0000-4000-8000-000000000001"),
        ("langgraph.input", r#"{"steps": 2}"#),
    ])
}

fn metadata() -> String {
    "event: metadata\ndata: {\"run_id\":\"r-1\",\"attempt\":1}\nid: 10-0\n\n".to_owned()
}

fn values(number: usize) -> String {
    format!("event: values\ndata: {{\"done\":{number}}}\nid: 1{number}-0\n\n")
}

fn status(status: &str) -> Answer {
    Answer::new(200, json!({"run_id": "r-1", "status": status}).to_string())
}

/// As the server tells where the stream of a new run is.
fn located(answer: Answer) -> Answer {
    answer.header("location", format!("{THREAD}/runs/r-1/stream"))
}

#[test]
fn the_end_of_a_stream_is_an_end_if_the_server_says_so() {
    let place = official("langgraph_run");
    for (state, expected) in [
        ("success", Status::Succeeded),
        ("error", Status::Failed),
        ("interrupted", Status::Failed),
    ] {
        let server = Scripted::start(move |request, n| match (&*request.method, n) {
            ("POST", _) => located(Answer::events(&(metadata() + &values(1)))),
            // It was cut there, and goes on.
            (_, 1) => Answer::events(&values(2)),
            _ if request.target.ends_with("/stream") => Answer::events(""),
            (_, 3) => status("running"),
            _ => status(state),
        });
        let invocation = run(&place, &server)
            .id("the run")
            .metadata("langgraph.api_key", "k")
            .metadata("langgraph.stream_mode", "values, custom")
            .metadata("langgraph.options", r#"{"multitask_strategy": "reject"}"#);
        let result = place.run(&invocation).expect(expected);
        assert_eq!(result.metadata["sse.end"], state);
        assert_eq!(events(&result).len(), 3);
        let [stream, asked] = ["/runs/r-1/stream", "/runs/r-1"].map(|of| format!("GET {THREAD}{of}"));
        assert_eq!(
            server.lines(),
            [
                &format!("POST {THREAD}/runs/stream"),
                &stream,
                &stream,
                &asked,
                &stream,
                &asked
            ]
            .map(String::clone)
        );
        let requests = server.requests();
        assert_eq!(
            body(&requests[0]),
            json!({"assistant_id": "agent", "input": {"steps": 2}, "stream_mode": ["values", "custom"],
                   "multitask_strategy": "reject", "metadata": {"invocation_id": "the run"}, "if_not_exists": "create",
                   "on_disconnect": "continue", "stream_resumable": true})
        );
        let places: Vec<_> = requests[1..3]
            .iter()
            .map(|request| request.header("last-event-id"))
            .collect();
        assert_eq!(places, ["11-0", "12-0"]);
        assert!(requests.iter().all(|request| request.header("x-api-key") == "k"));
    }
}

#[test]
fn a_stream_that_broke_off_before_its_first_event_is_read_from_the_beginning() {
    let place = official("langgraph_run");
    let server = Scripted::start(|_, n| match n {
        0 => located(Answer::events("")),
        _ => Answer::events(&(metadata() + &values(1) + "event: end\ndata\n\n")),
    });
    let result = place.run(&run(&place, &server)).expect(Status::Succeeded);
    assert_eq!(events(&result).len(), 3);
    let requests = server.requests();
    assert_eq!(
        (
            requests.len(),
            requests[1].line(),
            requests[1].header("last-event-id")
        ),
        (2, format!("GET {THREAD}/runs/r-1/stream"), "-1")
    );
}

#[test]
fn a_run_that_asks_a_person_needs_input_and_goes_on_with_the_answer() {
    let place = official("langgraph_run");
    let server = Scripted::start(|request, _| match &*request.method {
        "POST" if request.text().contains("resume") => {
            Answer::events(&(metadata() + &values(1) + "event: end\ndata\n\n"))
        }
        "POST" => located(Answer::events(
            &(metadata()
                + "event: values\ndata: {\"__interrupt__\": [{\"value\": {\"question\": \"Go on?\"}}]}\nid: 11-0\n\n"),
        )),
        _ if request.target.ends_with("/stream") => Answer::events(""),
        _ => status("success"),
    });
    let result = place.run(&run(&place, &server)).expect(Status::Failed);
    assert_eq!(result.metadata["error.kind"], "needs_input");
    assert_eq!(result.metadata["error.transient"], "false");
    assert_eq!(
        summary(&result),
        "the run waits for input: {\"question\": \"Go on?\"}"
    );
    assert!(
        server.lines().iter().all(|line| !line.contains("cancel")),
        "{:?}",
        server.lines()
    );
    let answer = place
        .invocation(&[
            ("langgraph.url", &server.url("")),
            ("langgraph.assistant_id", "agent"),
            ("langgraph.thread_id", "3f0c6d3e-0000-4000-8000-000000000001"),
            ("langgraph.command", r#"{"resume": "yes"}"#),
        ])
        .id("answer");
    place.run(&answer).expect(Status::Succeeded);
    let last = body(server.requests().last().unwrap());
    assert_eq!(
        (&last["command"], last.get("input")),
        (&json!({"resume": "yes"}), None)
    );
}

#[test]
fn a_run_that_fails_or_takes_too_long_is_told_as_such() {
    let place = official("langgraph_run");
    let error = "event: error\ndata: {\"error\":\"ValueError\",\"message\":\"unlucky\"}\nid: 12-0\n\n";
    let server = Scripted::sequence(vec![located(Answer::events(&(metadata() + error)))]);
    let result = place.run(&run(&place, &server)).expect(Status::Failed);
    assert_eq!(summary(&result), "backend reported the end: error: unlucky");

    let server = Scripted::start(|_, n| match n {
        0 => Answer::endless_events(&metadata(), ": ping\n\n", Duration::from_millis(50)),
        _ => Answer::new(202, ""),
    });
    let invocation = run(&place, &server).timeout(5, 1.0);
    let result = place.run(&invocation).expect(Status::TimedOut);
    assert_eq!(result.metadata["http.cancel_status"], "202");
    assert_eq!(server.lines()[1..], [format!("POST {THREAD}/runs/r-1/cancel")]);
}
