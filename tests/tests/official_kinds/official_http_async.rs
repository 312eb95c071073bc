//! The kind `http_async` on every carrier it has, against a real backend.

use executor_runtime::{
    CancelToken,
    protocol::{RuntimeResult, Status},
};
use executor_runtime_tests::{
    kind::{Invocation, Kind, artifact},
    on_every_carrier,
    scripted::{Answer, Scripted},
};
use std::time::{Duration, Instant};

on_every_carrier! {
    "http_async":
    a_run_is_started_and_polled_to_its_end,
    a_terminal_status_that_is_no_success_is_a_failure,
    a_kickoff_may_answer_with_the_result,
    any_other_200_is_an_acknowledgement,
    other_kickoff_codes_are_failures,
    a_missing_run_id_is_a_failure,
    pending_codes_mean_keep_polling,
    other_poll_codes_are_failures,
    an_unusable_poll_answer_is_a_failure_and_kept,
    as_many_failures_in_a_row_as_allowed_are_tolerated,
    retry_after_is_honoured,
    headers_go_where_they_belong,
    what_is_wrong_is_rejected_by_name,
    a_deadline_in_the_kickoff_says_so,
    a_deadline_in_a_poll_says_so_and_cancels_once,
    a_cancelled_run_tells_the_backend,
    what_a_later_request_cant_have_is_rejected_before_the_kickoff,
    a_run_id_that_makes_no_url_is_a_failure_and_cancels,
}

const STARTED: &str = r#"{"data": {"runs": [{"id": "r/1"}]}}"#;

fn summary(result: &RuntimeResult) -> &str {
    result.error_summary.as_deref().unwrap_or_default()
}

fn code(result: &RuntimeResult) -> &str {
    result.metadata.get("error.kind").map_or("", String::as_str)
}

fn status(status: &str) -> Answer {
    Answer::new(200, format!(r#"{{"run": {{"status": "{status}"}}}}"#))
}

fn accepted() -> Answer {
    Answer::new(202, STARTED)
}

fn to(kind: &Kind, server: &Scripted) -> Invocation {
    kind.invocation(&[
        ("http.url", &server.url("/start")),
        ("http.poll_url_template", &server.url("/runs/{run_id}")),
        ("http.poll_run_id_path", "data.runs.0.id"),
        ("http.poll_status_path", "run.status"),
        ("http.poll_terminal_states", "completed, failed"),
        ("http.poll_interval_seconds", "0.05"),
    ])
}

fn run(kind: &Kind, answers: Vec<Answer>) -> (RuntimeResult, Vec<String>) {
    let server = Scripted::sequence(answers);
    (kind.run(&to(kind, &server)), server.lines())
}

fn a_run_is_started_and_polled_to_its_end(kind: &Kind) {
    let server = Scripted::sequence(vec![
        accepted(),
        status("queued"),
        status("running"),
        status("completed"),
    ]);
    let begun = Instant::now();
    let result = kind.run(&to(kind, &server).with("http.body", "{}"));
    assert_eq!(result.status, Status::Succeeded, "{result:?}");
    assert_eq!(result.exit_code, Some(0));
    assert_eq!(
        server.lines(),
        [
            "POST /start",
            "GET /runs/r%2F1",
            "GET /runs/r%2F1",
            "GET /runs/r%2F1"
        ]
    );
    let at: Vec<_> = server.requests().iter().map(|request| request.at).collect();
    assert!(
        at[3] - at[1] >= Duration::from_millis(90),
        "one interval between polls"
    );
    assert!(begun.elapsed() < Duration::from_secs(10));
    for (key, value) in [
        ("http.run_id", "r/1"),
        ("http.polls", "3"),
        ("http.run_status", "completed"),
    ] {
        assert_eq!(result.metadata[key], value);
    }
    assert_eq!(
        artifact(&result, "final_status").unwrap(),
        br#"{"run": {"status": "completed"}}"#
    );
}

fn a_terminal_status_that_is_no_success_is_a_failure(kind: &Kind) {
    let (result, _) = run(kind, vec![accepted(), status("failed")]);
    assert_eq!((result.status, code(&result)), (Status::Failed, "backend_status"));
    assert_eq!(result.exit_code, Some(1));
    assert_eq!(summary(&result), "backend reported terminal status: failed");
    assert!(artifact(&result, "final_status").is_some());
}

fn a_kickoff_may_answer_with_the_result(kind: &Kind) {
    for (word, expected, exit) in [("completed", Status::Succeeded, 0), ("failed", Status::Failed, 1)] {
        let (result, lines) = run(kind, vec![status(word)]);
        assert_eq!(
            (result.status, result.exit_code),
            (expected, Some(exit)),
            "{result:?}"
        );
        assert_eq!(lines, ["POST /start"]);
        assert_eq!(result.metadata["http.polls"], "0");
        assert!(artifact(&result, "final_status").is_some());
    }
}

fn any_other_200_is_an_acknowledgement(kind: &Kind) {
    let server = Scripted::sequence(vec![Answer::new(200, "accepted"), status("completed")]);
    let invocation = to(kind, &server).with("http.poll_url_template", server.url("/status"));
    assert_eq!(kind.run(&invocation).status, Status::Succeeded);
    assert_eq!(server.lines(), ["POST /start", "GET /status"]);
    let started = r#"{"run": {"status": "started"}, "data": {"runs": [{"id": 5}]}}"#;
    let (result, lines) = run(kind, vec![Answer::new(200, started), status("completed")]);
    assert_eq!(result.status, Status::Succeeded, "{result:?}");
    assert_eq!(lines, ["POST /start", "GET /runs/5"]);
}

fn other_kickoff_codes_are_failures(kind: &Kind) {
    for status in [201, 400, 500] {
        let (result, lines) = run(kind, vec![Answer::new(status, "no room")]);
        assert_eq!((result.status, code(&result)), (Status::Failed, "http_status"));
        let expected = format!("kickoff: expected HTTP 202 or 200, got HTTP {status}: no room");
        assert_eq!(summary(&result), expected);
        assert_eq!(lines.len(), 1);
    }
}

fn a_missing_run_id_is_a_failure(kind: &Kind) {
    for (body, words) in [
        ("{}", "kickoff: no field at path 'data.runs.0.id'"),
        ("soon", "kickoff: the answer is not JSON"),
        (
            r#"{"data": {"runs": [{"id": ""}]}}"#,
            "kickoff: the run's id at path 'data.runs.0.id' is empty",
        ),
    ] {
        let (result, _) = run(kind, vec![Answer::new(202, body)]);
        assert_eq!(
            (result.status, code(&result)),
            (Status::Failed, "invalid_response")
        );
        assert!(summary(&result).starts_with(words), "{}", summary(&result));
    }
}

fn pending_codes_mean_keep_polling(kind: &Kind) {
    let server = Scripted::sequence(vec![
        accepted(),
        Answer::new(404, "not yet"),
        Answer::new(503, ""),
        status("completed"),
    ]);
    let invocation = to(kind, &server).with("http.poll_pending_codes", "404, 503");
    assert_eq!(kind.run(&invocation).status, Status::Succeeded);
    assert_eq!(server.lines().len(), 4);
}

fn other_poll_codes_are_failures(kind: &Kind) {
    for status in [202, 404, 500] {
        let (result, lines) = run(kind, vec![accepted(), Answer::new(status, "gone")]);
        assert_eq!((result.status, code(&result)), (Status::Failed, "http_status"));
        assert_eq!(
            summary(&result),
            format!("poll: expected HTTP 200, got HTTP {status}: gone")
        );
        assert_eq!(lines.len(), 2);
    }
}

fn an_unusable_poll_answer_is_a_failure_and_kept(kind: &Kind) {
    for (body, words) in [
        ("<html>", "poll: the answer is not JSON"),
        (r#"{"run": {}}"#, "poll: no field at path 'run.status'"),
        (
            r#"{"run": {"status": null}}"#,
            "poll: no field at path 'run.status'",
        ),
        (
            r#"{"run": {"status": {}}}"#,
            "poll: the field at path 'run.status' is a list or an object",
        ),
    ] {
        let (result, _) = run(kind, vec![accepted(), Answer::new(200, body)]);
        assert_eq!(
            (result.status, code(&result)),
            (Status::Failed, "invalid_response")
        );
        assert!(summary(&result).starts_with(words), "{}", summary(&result));
        assert_eq!(artifact(&result, "final_status").unwrap(), body.as_bytes());
    }
}

fn as_many_failures_in_a_row_as_allowed_are_tolerated(kind: &Kind) {
    let hangup = || Answer::Bytes(Vec::new());
    let cut = || Answer::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"run\"".to_vec());
    let answers = |tail: Vec<Answer>| {
        let head = vec![
            accepted(),
            Answer::new(500, ""),
            hangup(),
            status("running"),
            cut(),
            Answer::new(502, ""),
        ];
        [head, tail].concat()
    };
    let server = Scripted::sequence(answers(vec![status("completed")]));
    let result = kind.run(&to(kind, &server).with("http.poll_max_failures", "2"));
    assert_eq!(result.status, Status::Succeeded, "{result:?}");

    let server = Scripted::sequence(answers(vec![Answer::new(503, "down"), status("completed")]));
    let result = kind.run(&to(kind, &server).with("http.poll_max_failures", "2"));
    assert_eq!(result.status, Status::Failed);
    assert_eq!(
        summary(&result),
        "poll, 3 times in a row: expected HTTP 200, got HTTP 503: down"
    );

    let (result, _) = run(kind, vec![accepted(), hangup()]);
    assert_eq!((result.status, code(&result)), (Status::Failed, "network"));
    assert!(
        summary(&result).starts_with("poll: http error: "),
        "{}",
        summary(&result)
    );
}

fn retry_after_is_honoured(kind: &Kind) {
    for value in ["1", "Wed, 21 Oct 2015 12:00:01 GMT"] {
        let pending = status("running")
            .header("retry-after", value)
            .header("date", "Wed, 21 Oct 2015 12:00:00 GMT");
        let server = Scripted::sequence(vec![accepted(), pending, status("completed")]);
        assert_eq!(kind.run(&to(kind, &server)).status, Status::Succeeded);
        let requests = server.requests();
        let waited = requests[2].at - requests[1].at;
        assert!(waited >= Duration::from_millis(950), "{waited:?}");
    }
}

fn headers_go_where_they_belong(kind: &Kind) {
    let server = Scripted::sequence(vec![accepted(), status("completed")]);
    let invocation = to(kind, &server)
        .with("http.header.X-All", "a")
        .with("http.header.X-Both", "common")
        .with("http.poll_header.X-Both", "poll");
    assert_eq!(kind.run(&invocation).status, Status::Succeeded);
    let [kickoff, poll] = &server.requests()[..] else {
        panic!("two requests are sent");
    };
    assert_eq!(
        (kickoff.header("x-all"), kickoff.header("x-both")),
        ("a", "common")
    );
    assert_eq!((poll.header("x-all"), poll.header("x-both")), ("a", "poll"));
}

fn what_is_wrong_is_rejected_by_name(kind: &Kind) {
    let server = Scripted::sequence(vec![accepted(), status("completed")]);
    let good = to(kind, &server);
    for (key, value) in [
        ("http.url", "x"),
        ("http.poll_url_template", "http://h/{id}"),
        ("http.poll_status_path", ""),
        ("http.poll_terminal_states", " , "),
        ("http.poll_interval_seconds", "-1"),
        ("http.poll_interval_seconds", "0"),
        ("http.poll_interval_seconds", "0.04"),
        ("http.poll_pending_codes", "404,soon"),
        ("http.poll_max_failures", "-1"),
        ("http.body", "{"),
        ("http.body_format", "xml"),
        ("http.cancel_method", "A B\u{7f}"),
    ] {
        let invocation = good
            .clone()
            .with("http.cancel_url_template", server.url("/cancel"));
        let result = kind.run(&invocation.with(key, value));
        assert_eq!(result.status, Status::Rejected, "{key}: {result:?}");
        assert!(summary(&result).contains(key), "{key}: {}", summary(&result));
    }
    for key in [
        "http.url",
        "http.poll_url_template",
        "http.poll_status_path",
        "http.poll_terminal_states",
    ] {
        let result = kind.run(&good.clone().without(key));
        assert_eq!(result.status, Status::Rejected, "{key}");
        assert!(summary(&result).contains(key), "{key}: {}", summary(&result));
    }
    let result = kind.run(&good.without("http.poll_run_id_path"));
    assert_eq!(result.status, Status::Rejected);
    assert!(
        summary(&result).contains("'http.poll_run_id_path' is missing"),
        "{}",
        summary(&result)
    );
    assert!(server.requests().is_empty());
}

fn a_deadline_in_the_kickoff_says_so(kind: &Kind) {
    let server = Scripted::sequence(vec![Answer::Silence]);
    let invocation = to(kind, &server)
        .with("http.cancel_url_template", server.url("/cancel/{run_id}"))
        .field("timeout_seconds", 1);
    let result = kind.run(&invocation);
    assert_eq!(
        (result.status, code(&result)),
        (Status::TimedOut, "timeout"),
        "{result:?}"
    );
    assert_eq!(summary(&result), "timed out in kickoff (timeout 1 s)");
    assert_eq!(server.lines(), ["POST /start"]);
    assert!(result.metadata["http.cancel_error"].contains("the run's id was not known"));
}

fn a_deadline_in_a_poll_says_so_and_cancels_once(kind: &Kind) {
    for silent in [false, true] {
        let server = Scripted::start(move |request, _| match &*request.line() {
            "POST /start" => accepted(),
            "GET /runs/r%2F1" if silent => Answer::Silence,
            "GET /runs/r%2F1" => status("running"),
            _ => Answer::new(204, ""),
        });
        let invocation = to(kind, &server)
            .with("http.header.X-All", "a")
            .with("http.cancel_url_template", server.url("/cancel/{run_id}"))
            .with("http.cancel_method", "DELETE")
            .field("timeout_seconds", 1);
        let begun = Instant::now();
        let result = kind.run(&invocation);
        assert_eq!(
            (result.status, code(&result)),
            (Status::TimedOut, "timeout"),
            "{result:?}"
        );
        assert_eq!(summary(&result), "timed out in poll (timeout 1 s)");
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        let requests = server.requests();
        let cancels: Vec<_> = requests
            .iter()
            .filter(|request| request.method == "DELETE")
            .collect();
        assert_eq!(cancels.len(), 1, "{result:?}");
        assert_eq!(requests.last().unwrap().target, "/cancel/r%2F1");
        assert_eq!(cancels[0].header("x-all"), "a");
        assert_eq!(result.metadata["http.cancel_status"], "204");
        assert_eq!(artifact(&result, "final_status").is_some(), !silent);
    }
}

fn a_cancelled_run_tells_the_backend(kind: &Kind) {
    let server = Scripted::start(|request, _| match &*request.line() {
        "POST /start" => accepted(),
        "GET /runs/r%2F1" => status("running"),
        _ => Answer::Silence,
    });
    let invocation = to(kind, &server)
        .with("http.poll_interval_seconds", "60")
        .with("http.cancel_url_template", server.url("/cancel"))
        .with("plugin.grace_seconds", "0.4");
    let cancel = CancelToken::new();
    let (result, took) = std::thread::scope(|scope| {
        let run = scope.spawn(|| kind.run_until(&invocation, &cancel));
        server.wait_for(2);
        cancel.cancel();
        let begun = Instant::now();
        (run.join().unwrap(), begun.elapsed())
    });
    assert_eq!(
        (result.status, code(&result)),
        (Status::Cancelled, "cancelled"),
        "{result:?}"
    );
    assert_eq!(summary(&result), "cancelled in poll");
    assert_eq!(server.lines(), ["POST /start", "GET /runs/r%2F1", "POST /cancel"]);
    // The backend does not answer: the run ends within its grace all the same.
    assert!(took < Duration::from_millis(700), "{took:?}");
    assert!(result.metadata.contains_key("http.cancel_error"), "{result:?}");
}

fn what_a_later_request_cant_have_is_rejected_before_the_kickoff(kind: &Kind) {
    let server = Scripted::sequence(vec![accepted(), status("completed")]);
    for (key, value) in [
        ("http.poll_header.Host", "x".to_owned()),
        ("http.poll_header.Proxy-Authorization", "x".to_owned()),
        ("http.poll_header.Transfer-Encoding", "chunked".to_owned()),
        ("http.header.Host", "x".to_owned()),
        ("http.cancel_method", "CONNECT".to_owned()),
        ("http.method", "CONNECT".to_owned()),
        (
            "http.poll_url_template",
            server.url("/{run_id}").replace("//", "//u:p@"),
        ),
    ] {
        let invocation = to(kind, &server).with("http.cancel_url_template", server.url("/cancel"));
        let result = kind.run(&invocation.with(key, value));
        assert_eq!(result.status, Status::Rejected, "{key}: {result:?}");
        assert_eq!(server.lines(), [""; 0], "{key}: nothing is sent");
    }
}

fn a_run_id_that_makes_no_url_is_a_failure_and_cancels(kind: &Kind) {
    for (cancel, lines) in [
        ("/cancel", &["POST /start", "POST /cancel"][..]),
        ("/cancel/{run_id}", &["POST /start"]),
    ] {
        let id = "x".repeat(100_000);
        let started = Answer::new(202, format!(r#"{{"data": {{"runs": [{{"id": "{id}"}}]}}}}"#));
        let server = Scripted::sequence(vec![started, Answer::new(204, "")]);
        let result = kind.run(&to(kind, &server).with("http.cancel_url_template", server.url(cancel)));
        assert_eq!(
            (result.status, code(&result)),
            (Status::Failed, "invalid_run_id"),
            "{result:?}"
        );
        assert!(
            summary(&result).starts_with("poll: the run's id that the backend gave (100000 bytes"),
            "{}",
            summary(&result)
        );
        assert_eq!(server.lines(), lines);
        let told = ["http.cancel_status", "http.cancel_error"].map(|key| result.metadata.contains_key(key));
        assert_eq!(told, [lines.len() == 2, lines.len() == 1]);
    }
}
