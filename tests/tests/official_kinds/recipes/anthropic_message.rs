//! The recipe `anthropic_message`, against a server that answers as
//! <https://platform.claude.com/docs/en/build-with-claude/streaming> describes.

use super::{body, events, official, summary};
use executor_runtime_protocol::Status;
use executor_runtime_tests::{
    Invocation,
    installed::Installed,
    scripted::{Answer, Scripted},
};
use serde_json::{Value, json};

fn ask(place: &Installed, server: &Scripted) -> Invocation {
    place.invocation(&[
        ("anthropic.url", &server.url("/v1")),
        ("anthropic.api_key", "sk-1"),
        ("anthropic.model", "claude-sonnet-5"),
        (
            "anthropic.messages",
            r#"[{"role": "user", "content": "Say \"hi\""}]"#,
        ),
    ])
}

fn event(data: &Value) -> String {
    format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap())
}

fn beginning() -> Vec<Value> {
    let message = json!({"id": "msg_1", "type": "message", "role": "assistant", "content": [], "stop_reason": null,
                         "usage": {"input_tokens": 12, "output_tokens": 1}});
    let text = json!({"type": "text", "text": ""});
    vec![
        json!({"type": "message_start", "message": message}),
        json!({"type": "content_block_start", "index": 0, "content_block": text}),
        json!({"type": "ping"}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}}),
    ]
}

fn whole() -> Vec<Value> {
    let rest = [
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null},
               "usage": {"output_tokens": 2}}),
        json!({"type": "message_stop"}),
    ];
    [beginning(), rest.to_vec()].concat()
}

#[test]
fn a_message_is_followed_to_its_end() {
    let place = official("anthropic_message");
    let server = Scripted::sequence(vec![Answer::events(
        &whole().iter().map(event).collect::<String>(),
    )]);
    let invocation = ask(&place, &server)
        .metadata("anthropic.system", "Be brief.\nAlways.")
        .metadata("anthropic.beta", "a-2026-01-01, b-2026-01-01")
        .metadata("anthropic.options", r#"{"temperature": 0.5, "stream": false}"#);
    let result = place.run(&invocation).expect(Status::Succeeded);
    let expected: Vec<_> = whole()
        .into_iter()
        .filter(|data| data["type"] != "ping")
        .collect();
    assert_eq!(events(&result), expected);
    for (key, value) in [
        ("http.run_id", "msg_1"),
        ("sse.end", "message_stop"),
        ("plugin.name", "http-sse"),
        ("plugin.recipe", "anthropic-message"),
    ] {
        assert_eq!(result.metadata[key], value, "{key}");
    }
    let [request] = &server.requests()[..] else {
        panic!("{:?}", server.lines())
    };
    assert_eq!(request.line(), "POST /v1/messages");
    assert_eq!(
        body(request),
        json!({"model": "claude-sonnet-5", "max_tokens": 4096, "stream": true, "temperature": 0.5,
               "system": "Be brief.\nAlways.", "messages": [{"role": "user", "content": "Say \"hi\""}]})
    );
    for (header, value) in [
        ("x-api-key", "sk-1"),
        ("anthropic-version", "2023-06-01"),
        ("anthropic-beta", "a-2026-01-01, b-2026-01-01"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(request.header(header), value);
    }
    assert!(!serde_json::to_string(&result).unwrap().contains("sk-1"));
}

#[test]
fn a_message_that_fails_is_not_asked_for_again() {
    let place = official("anthropic_message");
    let error = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
    let begun: String = beginning().iter().map(event).collect();
    for (answer, words) in [
        (
            Answer::events(&(begun.clone() + &event(&error))),
            "backend reported the end: error: Overloaded",
        ),
        (
            Answer::new(529, error.to_string()),
            "kickoff: expected HTTP 200, got HTTP 529: ",
        ),
        (Answer::broken_events(&begun), "stream: http error: "),
        (
            Answer::events(&begun),
            "stream: the stream ended without a terminal event",
        ),
    ] {
        let server = Scripted::sequence(vec![answer]);
        let result = place.run(&ask(&place, &server)).expect(Status::Failed);
        assert!(summary(&result).starts_with(words), "{}", summary(&result));
        assert_eq!(server.lines(), ["POST /v1/messages"]);
    }
}
