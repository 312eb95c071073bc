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
    a_failure_for_want_of_success_states_says_so,
    a_kickoff_may_answer_with_the_result,
    any_other_200_is_an_acknowledgement,
    other_kickoff_codes_are_failures,
    a_kickoff_may_be_answered_as_the_invocation_says,
    a_missing_run_id_is_a_failure,
    a_path_that_begins_as_a_json_path_is_explained,
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
    a_result_is_fetched_after_a_success_and_every_run_cleaned_up,
    a_cleanup_that_fails_is_told_and_no_failure,
    a_result_that_cant_be_had_is_a_failure,
    a_run_that_is_stopped_is_cleaned_up_within_its_grace,
    a_run_that_waits_for_a_person_needs_input,
    what_may_still_be_under_way_is_not_to_be_tried_again,
    what_the_backend_says_of_a_failure_is_in_the_summary,
    polls_have_a_method_and_a_body_and_any_plain_status,
    intervals_grow_where_that_is_asked_for,
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
    assert!(
        begun.elapsed() >= Duration::from_millis(90),
        "one interval between polls"
    );
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

fn a_failure_for_want_of_success_states_says_so(kind: &Kind) {
    let why = ", which is not one of http.poll_success_states (completed)";
    for (success, expected) in [(None, why), (Some("done"), "")] {
        let server = Scripted::sequence(vec![accepted(), status("passed")]);
        let mut invocation = to(kind, &server)
            .with("http.poll_terminal_states", "passed,failed")
            .with("http.poll_error_path", "run.status");
        if let Some(success) = success {
            invocation = invocation.with("http.poll_success_states", success);
        }
        let result = kind.run(&invocation);
        assert_eq!((result.status, code(&result)), (Status::Failed, "backend_status"));
        assert_eq!(
            summary(&result),
            format!("backend reported terminal status: passed{expected}: passed")
        );
    }
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
    let others = " (to allow others: metadata key 'http.kickoff_codes', in a recipe set by its file)";
    for (status, others) in [(201, others), (400, ""), (500, "")] {
        let (result, lines) = run(kind, vec![Answer::new(status, "no room")]);
        assert_eq!((result.status, code(&result)), (Status::Failed, "http_status"));
        let expected = format!("kickoff: expected HTTP 202 or 200{others}, got HTTP {status}: no room");
        assert_eq!(summary(&result), expected);
        assert_eq!(lines.len(), 1);
    }
}

fn a_kickoff_may_be_answered_as_the_invocation_says(kind: &Kind) {
    // As 202 means it: what its body says of the run is not the end.
    let body = r#"{"run": {"status": "completed"}, "data": {"runs": [{"id": 5}]}}"#;
    let server = Scripted::sequence(vec![Answer::new(201, body), status("completed")]);
    let invocation = to(kind, &server).with("http.kickoff_codes", "201,203");
    let result = kind.run(&invocation);
    assert_eq!(result.status, Status::Succeeded, "{result:?}");
    assert_eq!(server.lines(), ["POST /start", "GET /runs/5"]);
    for (codes, list) in [("203", "200 or 203"), ("203,206,207", "200, 203, 206 or 207")] {
        let server = Scripted::start(|_, _| Answer::new(201, "made"));
        let result = kind.run(&to(kind, &server).with("http.kickoff_codes", codes));
        let expected = format!(
            "kickoff: expected HTTP 202, {list} (metadata key 'http.kickoff_codes'), got HTTP 201: made"
        );
        assert_eq!(summary(&result), expected);
    }
    // After another code the answer is not read whole, and the run could not be followed.
    for codes in ["409", "201,302"] {
        let server = Scripted::start(|_, _| Answer::new(409, STARTED));
        let result = kind.run(&to(kind, &server).with("http.kickoff_codes", codes));
        assert_eq!(
            (result.status, code(&result)),
            (Status::Rejected, "invalid_metadata")
        );
        assert!(
            summary(&result).contains("expected HTTP codes from 200 to 299"),
            "{result:?}"
        );
        assert!(server.lines().is_empty(), "{:?}", server.lines());
    }
}

fn a_missing_run_id_is_a_failure(kind: &Kind) {
    for (body, words) in [
        (
            "{}",
            "kickoff: no field at path 'data.runs.0.id' (http.poll_run_id_path)",
        ),
        ("soon", "kickoff: the answer is not JSON"),
        (
            r#"{"data": {"runs": [{"id": ""}]}}"#,
            "kickoff: the run's id at path 'data.runs.0.id' (http.poll_run_id_path) is empty",
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

fn a_path_that_begins_as_a_json_path_is_explained(kind: &Kind) {
    let server = Scripted::sequence(vec![accepted()]);
    let result = kind.run(&to(kind, &server).with("http.poll_run_id_path", "$.data.runs.0.id"));
    assert_eq!(
        summary(&result),
        "kickoff: no field at path '$.data.runs.0.id' (http.poll_run_id_path); paths have no '$'"
    );
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
        (
            r#"{"run": {}}"#,
            "poll: no field at path 'run.status' (http.poll_status_path)",
        ),
        (
            r#"{"run": {"status": null}}"#,
            "poll: no field at path 'run.status' (http.poll_status_path)",
        ),
        (
            r#"{"run": {"status": {}}}"#,
            "poll: the field at path 'run.status' (http.poll_status_path) is a list or an object",
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
        let begun = Instant::now();
        assert_eq!(kind.run(&to(kind, &server)).status, Status::Succeeded);
        assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
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
        let last = match silent {
            true => "",
            false => "; the last status was 'running', which is none of http.poll_terminal_states",
        };
        assert_eq!(summary(&result), format!("timed out in poll (timeout 1 s){last}"));
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
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

/// With a result and a cleanup call.
fn to_the_end(kind: &Kind, server: &Scripted) -> Invocation {
    to(kind, server)
        .with("http.result_url_template", server.url("/runs/{run_id}/result"))
        .with("http.cleanup_url_template", server.url("/runs/{run_id}"))
}

fn a_result_is_fetched_after_a_success_and_every_run_cleaned_up(kind: &Kind) {
    for (word, expected) in [("completed", Status::Succeeded), ("failed", Status::Failed)] {
        let server = Scripted::start(move |request, _| match &*request.line() {
            "POST /start" => accepted(),
            "GET /runs/r%2F1" => status(word),
            "GET /runs/r%2F1/result" => Answer::new(206, vec![b'x'; 1 << 20]),
            _ => Answer::new(202, ""),
        });
        let invocation = to_the_end(kind, &server).with("http.poll_header.X-Key", "k");
        let result = kind.run(&invocation);
        assert_eq!(result.status, expected, "{result:?}");
        let succeeded = expected == Status::Succeeded;
        let lines = server.lines();
        let after: Vec<_> = lines[2..].iter().map(String::as_str).collect();
        match succeeded {
            true => assert_eq!(after, ["GET /runs/r%2F1/result", "DELETE /runs/r%2F1"]),
            false => assert_eq!(after, ["DELETE /runs/r%2F1"]),
        }
        assert_eq!(result.metadata["http.cleanup_status"], "202");
        assert_eq!(
            result.metadata.get("http.result_status").map(String::as_str),
            succeeded.then_some("206")
        );
        let kept = artifact(&result, "result").map(|bytes| bytes.len());
        assert_eq!(kept, succeeded.then_some(1 << 20));
        assert!(artifact(&result, "final_status").is_some());
        if succeeded {
            assert_eq!(server.requests()[2].header("x-key"), "k");
        }
    }
    // A kickoff that answers with the end is one, too; where none was started there is nothing to clean up.
    let (result, lines) = {
        let server = Scripted::start(|request, _| match &*request.line() {
            "POST /start" => Answer::new(
                200,
                r#"{"run": {"status": "completed"}, "data": {"runs": [{"id": 1}]}}"#,
            ),
            _ => Answer::new(200, "the result"),
        });
        (kind.run(&to_the_end(kind, &server)), server.lines())
    };
    assert_eq!(lines, ["POST /start", "GET /runs/1/result", "DELETE /runs/1"]);
    assert_eq!(artifact(&result, "result").unwrap(), b"the result");
    let server = Scripted::sequence(vec![Answer::new(500, "no room")]);
    assert_eq!(kind.run(&to_the_end(kind, &server)).status, Status::Failed);
    assert_eq!(server.lines(), ["POST /start"]);
}

fn a_cleanup_that_fails_is_told_and_no_failure(kind: &Kind) {
    for (answer, key, value) in [
        (Answer::new(500, "no"), "http.cleanup_status", "500"),
        (
            Answer::Bytes(Vec::new()),
            "http.cleanup_error",
            "closed the connection",
        ),
    ] {
        let server = Scripted::sequence(vec![accepted(), status("completed"), answer]);
        let invocation = to(kind, &server)
            .with("http.cleanup_url_template", server.url("/clean"))
            .with("http.cleanup_method", "PUT");
        let result = kind.run(&invocation);
        assert_eq!(result.status, Status::Succeeded, "{result:?}");
        assert_eq!(server.lines()[2], "PUT /clean");
        assert!(result.metadata[key].contains(value), "{result:?}");
    }
}

fn a_result_that_cant_be_had_is_a_failure(kind: &Kind) {
    let cut = || Answer::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf".to_vec());
    let hangup = || Answer::Bytes(Vec::new());
    for (answers, failures, expected) in [
        (
            vec![Answer::new(404, "gone")],
            "5",
            "result: expected HTTP 2xx, got HTTP 404: gone",
        ),
        (
            vec![Answer::new(503, "busy")],
            "1",
            "result: expected HTTP 2xx, got HTTP 503: busy",
        ),
        (vec![hangup()], "0", "result: http error: "),
        (vec![cut()], "5", "result: http error: "),
    ] {
        let server = Scripted::sequence([vec![accepted(), status("completed")], answers].concat());
        let invocation = to(kind, &server)
            .with("http.result_url_template", server.url("/result"))
            .with("http.poll_max_failures", failures);
        let result = kind.run(&invocation);
        assert_eq!(result.status, Status::Failed, "{result:?}");
        assert!(summary(&result).starts_with(expected), "{}", summary(&result));
        assert_eq!(artifact(&result, "result"), None);
    }
    let answers = vec![
        accepted(),
        status("completed"),
        Answer::new(503, ""),
        hangup(),
        Answer::new(200, "it"),
    ];
    let server = Scripted::sequence(answers);
    let invocation = to(kind, &server)
        .with("http.result_url_template", server.url("/result"))
        .with("http.poll_max_failures", "2");
    let result = kind.run(&invocation);
    assert_eq!(result.status, Status::Succeeded, "{result:?}");
    assert_eq!(artifact(&result, "result").unwrap(), b"it");
}

fn a_run_that_is_stopped_is_cleaned_up_within_its_grace(kind: &Kind) {
    let server = Scripted::start(|request, _| match &*request.line() {
        "POST /start" => accepted(),
        "GET /runs/r%2F1" => status("running"),
        "DELETE /runs/r%2F1" => Answer::new(204, ""),
        // The cancel call is not answered, which leaves the cleanup call its time.
        _ => Answer::Silence,
    });
    let invocation = to_the_end(kind, &server)
        .with("http.cancel_url_template", server.url("/cancel"))
        .with("plugin.grace_seconds", "1")
        .field("timeout_seconds", 1);
    let begun = Instant::now();
    let result = kind.run(&invocation);
    assert_eq!(
        (result.status, code(&result)),
        (Status::TimedOut, "timeout"),
        "{result:?}"
    );
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert!(result.metadata.contains_key("http.cancel_error"), "{result:?}");
    assert_eq!(result.metadata["http.cleanup_status"], "204");
    let lines = server.lines();
    assert_eq!(lines[lines.len() - 2..], ["POST /cancel", "DELETE /runs/r%2F1"]);
}

fn a_run_that_waits_for_a_person_needs_input(kind: &Kind) {
    let waiting = Answer::new(
        200,
        r#"{"run": {"status": "requires_action"}, "ask": "Which of the two?"}"#,
    );
    let server = Scripted::sequence(vec![accepted(), status("running"), waiting]);
    let invocation = to(kind, &server)
        .with("http.poll_input_states", "paused, requires_action")
        .with("http.cancel_url_template", server.url("/cancel"));
    let result = kind.run(&invocation.clone().with("http.poll_error_path", "ask"));
    assert_eq!(
        (result.status, code(&result)),
        (Status::Failed, "needs_input"),
        "{result:?}"
    );
    assert_eq!(
        summary(&result),
        "the run waits for input: requires_action: Which of the two?"
    );
    assert_eq!(result.metadata["http.run_status"], "requires_action");
    assert_eq!(server.lines().len(), 3, "it is not cancelled");
    let result = kind.run(&invocation);
    assert_eq!(summary(&result), "the run waits for input: requires_action");
}

fn what_may_still_be_under_way_is_not_to_be_tried_again(kind: &Kind) {
    let running = || vec![accepted(), status("running")];
    for (case, answers, transient) in [
        ("refused", vec![Answer::new(500, "")], "true"),
        ("busy", vec![Answer::new(429, "")], "true"),
        ("unknown", vec![Answer::new(404, "")], "false"),
        ("given up", vec![Answer::new(504, "")], "false"),
        ("not allowed", vec![Answer::new(201, STARTED)], "false"),
        ("no id", vec![Answer::new(202, "{}")], "false"),
        ("no answer", vec![Answer::Bytes(Vec::new())], "false"),
        (
            "half an answer",
            vec![Answer::Bytes(
                b"HTTP/1.1 202 Accepted\r\ncontent-length: 100\r\n\r\n{".to_vec(),
            )],
            "false",
        ),
        ("lost", [running(), vec![Answer::new(404, "")]].concat(), "false"),
        ("failed", [running(), vec![status("failed")]].concat(), "true"),
        ("asks", [running(), vec![status("paused")]].concat(), "false"),
    ] {
        let server = Scripted::sequence(answers);
        let result = kind.run(&to(kind, &server).with("http.poll_input_states", "paused"));
        assert_eq!(result.status, Status::Failed, "{case}: {result:?}");
        assert_eq!(
            result.metadata["error.transient"], transient,
            "{case}: {result:?}"
        );
    }
    let done = vec![accepted(), status("completed"), Answer::new(404, "")];
    let server = Scripted::sequence(done);
    let result = kind.run(&to(kind, &server).with("http.result_url_template", server.url("/result")));
    assert_eq!(result.metadata["error.transient"], "false", "{result:?}");
    let asks = Scripted::sequence(vec![accepted(), Answer::new(200, "{}")]);
    let result = kind.run(&to(kind, &asks).with("http.method", "GET"));
    assert_eq!(result.metadata["error.transient"], "true", "{result:?}");
    for (answered, cancel, transient) in [
        (true, None, "false"),
        (true, Some(500), "false"),
        (true, Some(204), "true"),
        (false, None, "false"),
    ] {
        let server = Scripted::start(move |request, _| match (&*request.line(), cancel) {
            ("POST /start", _) if !answered => Answer::Silence,
            ("POST /start", _) => accepted(),
            ("POST /cancel", Some(code)) => Answer::new(code, ""),
            _ => status("running"),
        });
        let mut invocation = to(kind, &server).field("timeout_seconds", 1);
        if cancel.is_some() {
            invocation = invocation.with("http.cancel_url_template", server.url("/cancel"));
        }
        let result = kind.run(&invocation);
        assert_eq!(result.status, Status::TimedOut, "{result:?}");
        assert_eq!(
            result.metadata["error.transient"], transient,
            "cancel: {cancel:?}"
        );
    }
}

fn what_the_backend_says_of_a_failure_is_in_the_summary(kind: &Kind) {
    for (error, expected) in [
        (r#""out of quota""#, ": out of quota"),
        (r#"{"code": 7}"#, r#": {"code": 7}"#),
        ("null", ""),
    ] {
        let failed = format!(r#"{{"run": {{"status": "failed", "error": {error}}}}}"#);
        let server = Scripted::sequence(vec![accepted(), Answer::new(200, failed)]);
        let result = kind.run(&to(kind, &server).with("http.poll_error_path", "run.error"));
        assert_eq!((result.status, code(&result)), (Status::Failed, "backend_status"));
        assert_eq!(
            summary(&result),
            format!("backend reported terminal status: failed{expected}")
        );
    }
}

fn polls_have_a_method_and_a_body_and_any_plain_status(kind: &Kind) {
    let done = |value: &str| Answer::new(200, format!(r#"{{"run": {{"status": {value}}}}}"#));
    for (running, ended) in [("false", "true"), ("1", "2.50")] {
        let server = Scripted::sequence(vec![accepted(), done(running), done(ended)]);
        let invocation = to(kind, &server)
            .with("http.poll_url_template", server.url("/state"))
            .with("http.poll_method", "post")
            .with("http.poll_body", r#"{"id": "{run_id}"}"#)
            .with("http.poll_terminal_states", ended)
            .with("http.poll_success_states", ended);
        let result = kind.run(&invocation);
        assert_eq!(result.status, Status::Succeeded, "{result:?}");
        assert_eq!(result.metadata["http.run_status"], ended);
        assert_eq!(server.lines(), ["POST /start", "POST /state", "POST /state"]);
        for poll in &server.requests()[1..] {
            assert_eq!(poll.text(), r#"{"id": "r/1"}"#);
            assert_eq!(poll.header("content-type"), "application/json");
        }
    }
}

fn intervals_grow_where_that_is_asked_for(kind: &Kind) {
    let running = vec![status("running"); 5];
    let server = Scripted::sequence([vec![accepted()], running, vec![status("completed")]].concat());
    let invocation = to(kind, &server)
        .with("http.poll_backoff", "3")
        .with("http.poll_max_interval_seconds", "0.2");
    let begun = Instant::now();
    assert_eq!(kind.run(&invocation).status, Status::Succeeded);
    // 50, 150, 200, 200, 200 ms, and not 5 times the first.
    assert!(
        begun.elapsed() >= Duration::from_millis(790),
        "{:?}",
        begun.elapsed()
    );
}
