//! The recipes `openai_response` and `openai_response_stream`, against a server that answers as
//! <https://platform.openai.com/docs/guides/background> describes.

use super::{body, events, official, summary};
use executor_runtime_protocol::{RuntimeResult, Status};
use executor_runtime_tests::{
    Invocation,
    installed::Installed,
    scripted::{Answer, Scripted},
};
use serde_json::json;
use std::{fs, time::Duration};

#[test]
fn a_response_in_the_background_is_asked_for_and_waited_for() {
    let place = official("openai_response");
    let server = Scripted::start(|request, n| match (&*request.line(), n) {
        ("POST /v1/responses", _) => Answer::new(
            200,
            json!({"id": "resp_1", "object": "response", "status": "queued"}).to_string(),
        ),
        (_, 1) => Answer::new(200, json!({"id": "resp_1", "status": "in_progress"}).to_string()),
        _ => Answer::new(
            200,
            json!({"id": "resp_1", "status": "completed", "output": []}).to_string(),
        ),
    });
    let question = "Say \"hi\",\nthen {{openai.api_key}} \\ \u{1f980}";
    let invocation = place.invocation(&[
        ("openai.url", &server.url("/v1")),
        ("openai.api_key", "sk-1"),
        ("openai.model", "gpt-5"),
        ("openai.input", question),
        ("openai.max_output_tokens", "100"),
        ("openai.tools", r#"[{"type": "web_search"}]"#),
        ("openai.poll_seconds", "0.05"),
    ]);
    let result = place.run(&invocation).expect(Status::Succeeded);
    let kept = fs::read_to_string(&result.artifacts[0].path).unwrap();
    assert!(kept.contains("\"completed\""), "{kept}");
    let requests = server.requests();
    assert_eq!(
        body(&requests[0]),
        json!({"model": "gpt-5", "input": question, "background": true, "max_output_tokens": 100,
               "tools": [{"type": "web_search"}]})
    );
    assert!(
        requests
            .iter()
            .all(|request| request.header("authorization") == "Bearer sk-1")
    );
    assert_eq!(
        server.lines(),
        [
            "POST /v1/responses",
            "GET /v1/responses/resp_1",
            "GET /v1/responses/resp_1"
        ]
    );
    // Nothing of the key is in what is left of the run.
    assert!(!serde_json::to_string(&result).unwrap().contains("sk-1"));
}

#[test]
fn a_response_that_fails_says_why() {
    let place = official("openai_response");
    for (answer, words) in [
        (
            json!({"status": "failed", "error": {"code": "server_error", "message": "no room"}, "incomplete_details": null}),
            "failed: no room",
        ),
        (
            json!({"status": "incomplete", "error": null, "incomplete_details": {"reason": "max_output_tokens"}}),
            "incomplete: max_output_tokens",
        ),
        (json!({"status": "cancelled", "error": null}), "cancelled"),
    ] {
        let server = Scripted::start(move |request, _| match &*request.method {
            "POST" => Answer::new(200, json!({"id": "resp_1", "status": "queued"}).to_string()),
            _ => Answer::new(200, answer.to_string()),
        });
        let result = place.run(&ask(&place, &server)).expect(Status::Failed);
        assert_eq!(
            summary(&result),
            format!("backend reported terminal status: {words}")
        );
    }
}

fn ask(place: &Installed, server: &Scripted) -> Invocation {
    place.invocation(&[
        ("openai.url", &server.url("/v1")),
        ("openai.api_key", "sk-1"),
        ("openai.model", "gpt-5"),
        ("openai.input", "Hello"),
    ])
}

/// An event of the stream, whose data has `fields`.
fn event(name: &str, number: usize, fields: serde_json::Value) -> String {
    let mut data = json!({"type": name, "sequence_number": number});
    let data_fields = data.as_object_mut().unwrap();
    data_fields.extend(fields.as_object().unwrap().clone());
    format!("event: {name}\ndata: {data}\n\n")
}

/// An event that has the response, in this state.
fn state(name: &str, number: usize, status: &str) -> String {
    let response = json!({"id": "resp_1", "status": status, "error": null, "incomplete_details": null});
    event(name, number, json!({"response": response}))
}

fn beginning() -> String {
    [
        state("response.created", 0, "queued"),
        state("response.in_progress", 1, "in_progress"),
        event("response.output_text.delta", 2, json!({"delta": "Hel"})),
    ]
    .concat()
}

fn end() -> String {
    let delta = event("response.output_text.delta", 3, json!({"delta": "lo"}));
    delta + &state("response.completed", 4, "completed")
}

fn assert_complete(result: &RuntimeResult) {
    let numbers: Vec<_> = events(result)
        .iter()
        .map(|event| event["sequence_number"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4]);
}

#[test]
fn a_streamed_response_goes_on_after_the_last_event() {
    let place = official("openai_response_stream");
    let server = Scripted::sequence(vec![Answer::broken_events(&beginning()), Answer::events(&end())]);
    let invocation = ask(&place, &server).metadata("openai.max_output_tokens", "100");
    let result = place.run(&invocation).expect(Status::Succeeded);
    assert_complete(&result);
    for (key, value) in [
        ("http.run_id", "resp_1"),
        ("sse.end", "completed"),
        ("sse.cursor", "4"),
        ("plugin.recipe", "openai-response-stream"),
    ] {
        assert_eq!(result.metadata[key], value, "{key}");
    }
    assert_eq!(
        server.lines(),
        [
            "POST /v1/responses",
            "GET /v1/responses/resp_1?stream=true&starting_after=2"
        ]
    );
    let requests = server.requests();
    assert_eq!(
        body(&requests[0]),
        json!({"model": "gpt-5", "input": "Hello", "max_output_tokens": 100, "background": true, "stream": true})
    );
    for request in &requests {
        assert_eq!(request.header("authorization"), "Bearer sk-1");
        assert_eq!(request.header("accept"), "text/event-stream");
    }
    assert!(!serde_json::to_string(&result).unwrap().contains("sk-1"));
}

#[test]
fn a_stream_that_tells_no_end_is_asked_about() {
    let place = official("openai_response_stream");
    let server = Scripted::start(|request, _| match &*request.line() {
        "POST /v1/responses" => Answer::events(&(beginning() + &end().replace("completed", "in_progress"))),
        "GET /v1/responses/resp_1" => {
            Answer::new(200, json!({"id": "resp_1", "status": "completed"}).to_string())
        }
        _ => Answer::events(""),
    });
    let result = place.run(&ask(&place, &server)).expect(Status::Succeeded);
    assert_complete(&result);
    assert_eq!(
        server.lines(),
        [
            "POST /v1/responses",
            "GET /v1/responses/resp_1?stream=true&starting_after=4",
            "GET /v1/responses/resp_1",
        ]
    );
}

#[test]
fn a_streamed_response_that_fails_says_why() {
    let place = official("openai_response_stream");
    let response = |status: &str, more: serde_json::Value| {
        let mut response =
            json!({"id": "resp_1", "status": status, "error": null, "incomplete_details": null});
        response
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json!({"response": response})
    };
    for (last, words) in [
        (
            event(
                "response.failed",
                3,
                response("failed", json!({"error": {"code": "x", "message": "no room"}})),
            ),
            "failed: no room",
        ),
        (
            event(
                "response.incomplete",
                3,
                response(
                    "incomplete",
                    json!({"incomplete_details": {"reason": "max_output_tokens"}}),
                ),
            ),
            "incomplete: max_output_tokens",
        ),
        (
            event(
                "error",
                3,
                json!({"code": "x", "message": "too many", "param": null}),
            ),
            "error: too many",
        ),
    ] {
        let server = Scripted::sequence(vec![Answer::events(&(beginning() + &last))]);
        let result = place.run(&ask(&place, &server)).expect(Status::Failed);
        assert_eq!(summary(&result), format!("backend reported the end: {words}"));
        assert_eq!(server.lines(), ["POST /v1/responses"]);
    }
}

#[test]
fn a_streamed_response_that_takes_too_long_is_cancelled() {
    let place = official("openai_response_stream");
    let server = Scripted::start(|_, n| match n {
        0 => Answer::endless_events(&beginning(), "", Duration::from_millis(50)),
        _ => Answer::new(200, json!({"id": "resp_1", "status": "cancelled"}).to_string()),
    });
    let invocation = ask(&place, &server).timeout(5, 1.0);
    let result = place.run(&invocation).expect(Status::TimedOut);
    assert_eq!(result.metadata["http.cancel_status"], "200");
    assert_eq!(
        server.lines(),
        ["POST /v1/responses", "POST /v1/responses/resp_1/cancel"]
    );
}
