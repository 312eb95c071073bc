//! The clients of a host that serves: what they ask for, what they print, and what they say of a host that fails.

mod served;

use executor_runtime_tests::{
    Finished, Scene, Setup,
    scripted::{Answer, Request, Scripted},
    serving::socket,
};
use serde_json::{Value, json};
use std::{
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

/// A scene with a host that serves by a script.
struct Stage {
    scene: Scene,
    host: Scripted,
}

impl Stage {
    fn new(script: impl Fn(&Request, usize) -> Answer + Send + Sync + 'static) -> Self {
        let scene = Scene::new();
        let host = Scripted::unix(&socket(&scene), script);
        Self { scene, host }
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Finished {
        run(&self.scene, arguments)
    }
}

#[track_caller]
fn run(scene: &Scene, arguments: &[&str]) -> Finished {
    scene.run_command(&mut client(scene, arguments), b"")
}

/// A client of the host of the scene, not started.
fn client(scene: &Scene, arguments: &[&str]) -> Command {
    let mut command = scene.host(arguments);
    command
        .env("EXECUTOR_RUNTIME_SOCKET", socket(scene))
        .env("NO_COLOR", "1");
    command
}

fn summary(id: &str, status: &str) -> Value {
    let started = (status != "pending").then_some("2026-05-06T10:00:01.000000Z");
    let is_over = !matches!(status, "pending" | "running");
    json!({
        "invocation_id": id, "runtime_name": "n", "runtime_kind": "subprocess", "status": status,
        "accepted_at": "2026-05-06T10:00:00.000000Z", "started_at": started,
        "finished_at": is_over.then_some("2026-05-06T10:00:03.500000Z"),
        "exit_code": null, "error_kind": null, "error_summary": null, "cancel_requested": false,
        "a_new_field": [1],
    })
}

fn result(id: &str, status: &str, exit_code: Option<i64>) -> Value {
    json!({
        "schema_version": "0.1", "contract_kind": "runtime_result", "invocation_id": id, "runtime_name": "n",
        "runtime_kind": "subprocess", "status": status, "exit_code": exit_code,
        "started_at": "2026-05-06T10:00:00Z", "finished_at": "2026-05-06T10:00:01Z", "stdout_path": null,
        "stderr_path": null, "artifacts": [], "error_summary": null, "metadata": {},
    })
}

fn answer(code: u16, document: &Value) -> Answer {
    Answer::new(code, document.to_string()).header("content-type", "application/json")
}

fn problem(code: u16, detail: &str) -> Answer {
    let document = json!({"type": "about:blank", "title": "No", "status": code, "detail": detail});
    Answer::new(code, document.to_string()).header("content-type", "application/problem+json")
}

/// A body that comes in pieces; it comes to its end, or breaks off.
fn pieces(pieces: &[&str], is_whole: bool) -> Answer {
    let mut bytes = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for piece in pieces {
        bytes.extend(format!("{:x}\r\n{piece}\r\n", piece.len()).into_bytes());
    }
    if is_whole {
        bytes.extend(b"0\r\n\r\n");
    }
    Answer::Bytes(bytes)
}

#[track_caller]
fn document(finished: &Finished) -> Value {
    serde_json::from_slice(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {finished:?}"))
}

#[test]
fn output_goes_on_where_its_connection_broke() {
    let stage = Stage::new(|request, number| match &*request.target {
        "/v1/runs/x" if number < 4 => answer(200, &summary("x", "running")),
        "/v1/runs/x" => answer(200, &summary("x", "succeeded")),
        "/v1/runs/x/logs/stdout?offset=0&follow=true" => pieces(&["hel", "lo "], false),
        // A host that is being stopped comes to an end, too.
        "/v1/runs/x/logs/stdout?offset=6&follow=true" => pieces(&["wor"], true),
        "/v1/runs/x/logs/stdout?offset=9" => Answer::new(200, "ld\0\n"),
        other => panic!("{other}"),
    });
    let finished = stage.run(&["logs", "-f", "x"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(finished.stdout, b"hello world\0\n");
    assert_eq!(finished.stderr, "");
}

#[test]
fn output_is_followed_through_a_restart_of_the_host() {
    let scene = Scene::new();
    let path = socket(&scene);
    let first = Scripted::unix(&path, |request, _| match &*request.target {
        "/v1/runs/x" => answer(200, &summary("x", "running")),
        _ => pieces(&["before "], false),
    });
    let mut command = scene.host(&["logs", "-f", "x"]);
    let child = command.env("EXECUTOR_RUNTIME_SOCKET", &path).spawn().unwrap();
    first.wait_for(2);
    drop(first);
    let second = Scripted::unix(&path, |request, _| match &*request.target {
        "/v1/runs/x" => answer(200, &summary("x", "failed")),
        "/v1/runs/x/logs/stdout?offset=7" => Answer::new(200, "after"),
        other => panic!("{other}"),
    });
    let finished = scene.finish(child);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(finished.stdout, b"before after");
    drop(second);
}

#[test]
fn a_part_of_the_output_or_the_other_stream_is_printed_on_request() {
    let stage = Stage::new(|request, _| match &*request.target {
        "/v1/runs/x" => answer(200, &summary("x", "running")),
        "/v1/runs/x/logs/stderr?offset=3" => Answer::new(200, "rest"),
        "/v1/runs/x/logs/stdout?offset=0" => Answer::new(200, "out"),
        "/v1/runs/x/logs/stderr?offset=0" => Answer::new(200, "err"),
        _ => problem(416, "the output has 3 bytes"),
    });
    assert_eq!(
        stage.run(&["logs", "--stderr", "--offset", "3", "x"]).stdout,
        b"rest"
    );
    let both = stage.run(&["logs", "--both", "x"]);
    assert_eq!((&*both.stdout, &*both.stderr), (&b"out"[..], "err"));
    let beyond = stage.run(&["logs", "--offset", "9", "x"]);
    assert_eq!(beyond.code, Some(2));
    assert!(
        beyond.stderr.starts_with("error: the output has 3 bytes"),
        "{beyond:?}"
    );
    // The reader of the output has gone.
    let mut command = stage.scene.host(&["logs", "x"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command
        .env("EXECUTOR_RUNTIME_SOCKET", socket(&stage.scene))
        .stdout(writer);
    let unread = stage.scene.run_command(&mut command, b"");
    assert_eq!((unread.code, &*unread.stderr), (Some(141), ""));
}

#[test]
fn an_id_is_an_id_whatever_is_in_it() {
    let stage = Stage::new(|_, _| problem(404, "no such run"));
    let place = socket(&stage.scene);
    for (id, segment, shown) in [
        ("../x", "%2E%2E%2Fx", "../x"),
        ("..", "%2E%2E", ".."),
        ("a/b?c#d", "a%2Fb%3Fc%23d", "a/b?c#d"),
        ("%2F", "%252F", "%2F"),
        ("für 1", "f%C3%BCr%201", "für 1"),
        (
            "a\nerror: b\u{1b}[2J",
            "a%0Aerror%3A%20b%1B%5B2J",
            r"a\nerror: b\u{1b}[2J",
        ),
        ("-n", "-n", "-n"),
    ] {
        for (command, method, rest) in [
            ("cancel", "POST", "/cancel"),
            ("wait", "GET", "/result?wait=1"),
            ("logs", "GET", ""),
        ] {
            let finished = stage.run(&[command, "--", id]);
            assert_eq!(finished.code, Some(2), "{finished:?}");
            let expected = format!("error: no run with id '{shown}' on unix:{}\n", place.display());
            assert_eq!(finished.stderr, expected);
            let line = format!("{method} /v1/runs/{segment}{rest}");
            assert_eq!(stage.host.lines().last(), Some(&line));
        }
    }
}

#[test]
fn a_host_that_says_no_is_quoted() {
    let stage = Stage::new(|request, _| match (&*request.method, &*request.target) {
        ("POST", "/v1/runs?queue_timeout=1") => problem(409, "another invocation has the id 'i'"),
        ("POST", "/v1/runs?queue_timeout=2") => {
            problem(429, "1000 runs wait already").header("retry-after", 7)
        }
        ("POST", "/v1/runs?queue_timeout=3") => problem(503, "the host is closing"),
        ("POST", "/v1/runs") => Answer::new(500, "<html>").header("content-type", "text/html"),
        ("GET", _) => answer(200, &json!({"runs": 7})),
        (method, target) => panic!("{method} {target}"),
    });
    let place = socket(&stage.scene);
    let place = place.display();
    for (arguments, code, expected) in [
        (
            &["submit", "--queue-timeout", "1", "--", "true"][..],
            2,
            format!("error: another invocation has the id 'i' (answered by unix:{place})\n"),
        ),
        (
            &["submit", "--queue-timeout", "2s", "--", "true"],
            6,
            format!("error: 1000 runs wait already; try again in 7 s (answered by unix:{place})\n"),
        ),
        (
            &["submit", "--queue-timeout", "3", "--", "true"],
            6,
            format!("error: the host is closing (answered by unix:{place})\n"),
        ),
        (
            &["submit", "--", "true"],
            2,
            format!(
                "error: the answer of '{place}' is not one of `executor-runtime serve`: status 500 Internal Server \
                 Error, without a problem document\n"
            ),
        ),
        (
            &["ps"],
            2,
            format!(
                "error: the answer of '{place}' is not one of `executor-runtime serve`: invalid type: integer `7`, \
                 expected a sequence at line 1 column 9\n"
            ),
        ),
    ] {
        let finished = stage.run(arguments);
        assert_eq!(
            (&*finished.stderr, finished.code),
            (&*expected, Some(code)),
            "{arguments:?}"
        );
        assert!(finished.stdout.is_empty());
    }
}

#[test]
fn a_host_that_is_not_there_is_told_from_one_that_does_not_answer() {
    let scene = Scene::new();
    let absent = |finished: Finished, place: &str| {
        assert_eq!(finished.code, Some(6), "{finished:?}");
        let expected = format!(
            "error: nothing serves at '{place}'; start `executor-runtime serve`, or name its socket with --socket\n"
        );
        assert_eq!(finished.stderr, expected);
    };
    let dead = scene.path("dead.sock").display().to_string();
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    let default = scene.path("runtime-of-user/executor-runtime/api.sock");
    absent(scene.run_with(&["ps"], b""), &default.display().to_string());
    absent(run(&scene, &["wait", "x"]), &socket(&scene).display().to_string());
    absent(run(&scene, &["logs", "-f", "x", "--socket", &dead]), &dead);
    absent(
        run(&scene, &["submit", "--socket", &dead, "--wait", "--", "true"]),
        &dead,
    );
    let mut nowhere = scene.host(&["prune", "--older-than", "7d"]);
    let finished = scene.run_command(nowhere.env_remove("XDG_RUNTIME_DIR"), b"");
    assert_eq!(finished.code, Some(2));
    assert!(
        finished.stderr.contains("name its socket with --socket"),
        "{finished:?}"
    );

    let stage = Stage::new(|_, _| Answer::Silence);
    let commands: [(&[&str], u32); 4] = [
        (&["ps"], 10),
        (&["logs", "-f", "x"], 10),
        (&["wait", "x"], 11),
        (&["submit", "--wait", "--", "true"], 10),
    ];
    thread::scope(|scope| {
        for (arguments, seconds) in commands {
            let stage = &stage;
            scope.spawn(move || {
                let finished = stage.run(arguments);
                assert_eq!(finished.code, Some(6), "{finished:?}");
                let expected = format!(
                    "error: no answer from '{}' within {seconds} s: the host there is stuck or overloaded\n",
                    socket(&stage.scene).display()
                );
                assert_eq!(finished.stderr, expected, "{arguments:?}");
            });
        }
    });
}

#[test]
fn what_is_submitted_says_where_and_nothing_of_our_environment() {
    let stage = Stage::new(|request, number| {
        let invocation: Value = serde_json::from_slice(&request.body).unwrap();
        let id = invocation["invocation_id"].as_str().unwrap();
        answer(if number == 0 { 202 } else { 200 }, &summary(id, "pending"))
    });
    let submit = |arguments: &[&str]| {
        let mut command = stage.scene.host(&[&["submit"], arguments].concat());
        command
            .env("EXECUTOR_RUNTIME_SOCKET", socket(&stage.scene))
            .env("PASSED", "p=1")
            .env("SECRET", "s");
        let finished = stage.scene.run_command(&mut command, b"");
        assert_eq!(finished.code, Some(0), "{finished:?}");
        let request = stage.host.requests().pop().unwrap();
        assert_eq!(request.line(), "POST /v1/runs");
        assert_eq!(request.header("content-type"), "application/json");
        (finished, serde_json::from_slice::<Value>(&request.body).unwrap())
    };
    let root = stage.scene.root().canonicalize().unwrap();
    let below = |name: &str| root.join(name).display().to_string();
    let words = [
        "--env",
        "PASSED",
        "--env",
        "SET=v",
        "--cwd",
        "sub",
        "--input",
        "in",
        "--artifacts",
        "kept",
    ];
    let more = [
        "--output",
        "result.json",
        "--id",
        "i",
        "--timeout",
        "30s",
        "--grace",
        "1",
        "--",
        "make",
        "-j",
    ];
    let (finished, sent) = submit(&[&words[..], &more].concat());
    assert_eq!(
        sent,
        json!({
            "schema_version": "0.1", "contract_kind": "runtime_invocation", "invocation_id": "i",
            "runtime_name": "prompt", "runtime_kind": "subprocess", "working_directory": below("sub"),
            "command": ["make", "-j"], "environment": {"PASSED": "p=1", "SET": "v"}, "timeout_seconds": 30,
            "input_payload_path": below("in"), "output_result_path": below("result.json"),
            "artifact_directory": below("kept"), "metadata": {"subprocess.grace_seconds": "1"},
        })
    );
    assert_eq!(document(&finished), summary("i", "pending"));

    let file = stage.scene.file(
        "invocation.json",
        stage
            .scene
            .script("true")
            .with("working_directory", "sub")
            .id("f")
            .text(),
    );
    let (finished, sent) = submit(&[file.to_str().unwrap(), "--format", "human"]);
    assert_eq!(sent["working_directory"], below("sub"));
    assert_eq!(sent["environment"], json!({}));
    assert_eq!(String::from_utf8_lossy(&finished.stdout), "f\n");
    assert_eq!(
        finished.stderr,
        "note: the host has had this run already (pending)\n"
    );

    let requests = stage.host.requests().len();
    for (arguments, expected) in [
        (
            &["submit", "--env", "UNSET_VARIABLE", "--", "true"][..],
            "there is no such variable here",
        ),
        (&["submit", "--"], "no command after --"),
        (
            &["submit", "--propagate-exit-code", "--", "true"],
            "--wait|--follow",
        ),
        (
            &["submit", "--follow", "--format", "json", "--", "true"],
            "give --wait instead",
        ),
        (&["submit", "nowhere.json"], "does not exist"),
    ] {
        let finished = stage.run(arguments);
        assert_eq!(finished.code, Some(2), "{finished:?}");
        assert!(finished.stderr.contains(expected), "{finished:?}");
    }
    assert_eq!(stage.host.requests().len(), requests, "nothing was sent");
}

#[test]
fn an_answer_that_was_lost_is_asked_for_again() {
    let stage = Stage::new(|request, number| match number {
        0 => Answer::Bytes(Vec::new()),
        _ => {
            let sent: Value = serde_json::from_slice(&request.body).unwrap();
            answer(200, &summary(sent["invocation_id"].as_str().unwrap(), "running"))
        }
    });
    let finished = stage.run(&["submit", "--id", "i", "--", "true"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let requests = stage.host.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].body, requests[1].body);
}

#[test]
fn runs_are_listed_page_after_page() {
    let stage = Stage::new(|request, _| {
        let page = |runs: &[(&str, &str)], next: Option<&str>| {
            let runs: Vec<_> = runs.iter().map(|(id, status)| summary(id, status)).collect();
            answer(200, &json!({"runs": runs, "next_cursor": next}))
        };
        match &*request.target {
            "/v1/runs?limit=3" => page(&[("a", "failed"), ("b", "running")], Some("c/1")),
            "/v1/runs?cursor=c%2F1&limit=1" => page(&[("c", "cancelled"), ("d", "failed")], Some("c/2")),
            "/v1/runs?status=pending&limit=100" => page(&[("y", "pending"), ("z", "pending")], None),
            "/v1/runs?status=running&limit=100" => page(&[("x", "running"), ("z", "running")], None),
            "/v1/runs?status=timed_out&kind=http&since=2026-05-06T10%3A00%3A00%2B02%3A00&limit=5" => {
                page(&[], None)
            }
            other => panic!("{other}"),
        }
    });
    let ids = |arguments: &[&str]| {
        let finished = stage.run(arguments);
        assert_eq!(finished.code, Some(0), "{finished:?}");
        let page = document(&finished);
        let runs = page["runs"].as_array().unwrap();
        let ids: Vec<_> = runs
            .iter()
            .map(|run| run["invocation_id"].as_str().unwrap().to_owned())
            .collect();
        assert!(runs.iter().all(|run| run["a_new_field"] == json!([1])), "{page}");
        (ids.join(" "), page["next_cursor"].clone())
    };
    assert_eq!(
        ids(&["ps", "--all", "-n", "3"]),
        ("a b c".to_owned(), json!("c/2"))
    );
    assert_eq!(ids(&["ps"]), ("x z y".to_owned(), Value::Null));
    let since = ["--since", "2026-05-06T10:00:00+02:00", "-n5", "--kind", "http"];
    assert_eq!(
        ids(&[&["ps", "--status", "timed_out"], &since[..]].concat()),
        (String::new(), Value::Null)
    );

    assert_eq!(
        ids(&[&["ps", "--all", "--status", "timed_out"], &since[..]].concat()),
        (String::new(), Value::Null)
    );

    let mut command = stage.scene.host(&["ps", "--all", "-n3"]);
    command
        .env("EXECUTOR_RUNTIME_SOCKET", socket(&stage.scene))
        .env("NO_COLOR", "1");
    let shown = Setup::columns(30).start(&mut command).finish();
    let rows: Vec<_> = shown.shown.lines().map(str::trim_end).collect();
    assert_eq!(rows[0], "ID  STATUS     AGE   TIME", "{shown:?}");
    assert!(
        rows[1].starts_with("a   failed     ") && rows[1].ends_with("  2.5s"),
        "{shown:?}"
    );
    assert_eq!(rows[4..], ["there are more; -n tells how many to list"]);
    for (arguments, expected) in [
        (&["ps", "--status", "done"][..], "[possible values: pending,"),
        (&["ps", "--since", "yesterday"], "expected a time, such as"),
        (&["ps", "--kind", "No"], "expected a lower-case letter"),
        (&["ps", "-n", "0"], "'0'"),
    ] {
        let finished = stage.run(arguments);
        assert_eq!(finished.code, Some(2));
        assert!(finished.stderr.contains(expected), "{finished:?}");
    }
}

#[test]
fn the_end_of_a_run_is_waited_for_and_exits_as_run_does() {
    let broken = AtomicUsize::new(0);
    let stage = Stage::new(move |request, _| {
        let id = request.target.split('/').nth(3).unwrap();
        let (status, code) = match id {
            "good" => ("succeeded", Some(0)),
            "bad" => ("failed", Some(7)),
            "late" => ("timed_out", None),
            "gone" => ("cancelled", None),
            "no" => ("rejected", None),
            // It takes three requests, the second of which gets no answer.
            "slow" => match broken.fetch_add(1, Ordering::SeqCst) {
                0 => return answer(202, &summary(id, "running")),
                1 => return Answer::Bytes(Vec::new()),
                _ => ("succeeded", Some(0)),
            },
            "endless" => {
                thread::sleep(Duration::from_millis(20));
                return answer(202, &summary(id, "running"));
            }
            _ => return problem(404, "no such run"),
        };
        answer(200, &result(id, status, code))
    });
    for (ids, code) in [
        (&["good"][..], 0),
        (&["bad"], 1),
        (&["no"], 3),
        (&["late"], 124),
        (&["gone"], 130),
        (&["slow"], 0),
        (&["good", "slow", "good"], 0),
        (&["good", "gone"], 1),
        (&["good", "unknown", "bad"], 2),
        (&["--propagate-exit-code", "bad"], 7),
        (&["--timeout", "0.1", "endless"], 5),
        (&["--timeout", "0.1", "endless", "bad"], 5),
    ] {
        let finished = stage.run(&[&["wait"], ids].concat());
        assert_eq!(finished.code, Some(code), "{ids:?}: {finished:?}");
        let text = String::from_utf8(finished.stdout).unwrap();
        let mut printed: Vec<_> = text
            .lines()
            .map(|line| {
                serde_json::from_str::<Value>(line).unwrap()["invocation_id"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        let mut expected: Vec<_> = ids
            .iter()
            .filter(|id| !id.starts_with('-') && !["0.1", "endless", "unknown"].contains(id))
            .map(|id| (*id).to_owned())
            .collect();
        printed.sort();
        expected.sort();
        expected.dedup();
        assert_eq!(printed, expected, "{ids:?}");
    }
    let human = stage.run(&["wait", "bad", "--format", "human"]);
    assert_eq!(
        String::from_utf8_lossy(&human.stdout),
        "failed bad, exit code 7\n"
    );
}

#[test]
fn runs_are_cancelled_and_forgotten() {
    let stage = Stage::new(|request, _| match &*request.line() {
        "POST /v1/runs/a/cancel" | "POST /v1/runs/a/cancel?immediate=true" => {
            answer(202, &summary("a", "running"))
        }
        "POST /v1/runs/b/cancel" => answer(202, &summary("b", "cancelled")),
        "POST /v1/runs/c/cancel" => answer(200, &summary("c", "timed_out")),
        "POST /v1/prune" => {
            let asked: Value = serde_json::from_slice(&request.body).unwrap();
            assert_eq!(asked["older_than_seconds"], 604_800);
            let captures = u64::from(asked["captures"] == true);
            answer(
                200,
                &json!({"runs": 3, "captures": captures, "captures_kept": 2 * captures}),
            )
        }
        _ => problem(404, "no such run"),
    });
    let finished = stage.run(&["cancel", "a", "b", "unknown", "c", "a"]);
    assert_eq!(finished.code, Some(2));
    let ids = document(&finished);
    let ids: Vec<_> = ids["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| &run["invocation_id"])
        .collect();
    assert_eq!(ids, ["a", "b", "c"]);
    let human = stage.run(&["cancel", "a", "b", "c", "--format", "human"]);
    assert_eq!(
        String::from_utf8_lossy(&human.stdout),
        "a: asked to stop\nb: cancelled\nc: had ended: timed out\n"
    );
    assert_eq!(stage.run(&["cancel", "--now", "a"]).code, Some(0));

    let pruned = stage.run(&["prune", "--older-than", "7d", "--captures"]);
    assert_eq!(
        document(&pruned),
        json!({"runs": 3, "captures": 1, "captures_kept": 2})
    );
    let human = stage.run(&["prune", "--older-than", "7d", "--format", "human"]);
    assert_eq!(
        String::from_utf8_lossy(&human.stdout),
        "removed 3 runs from the journal\n"
    );
    assert_eq!(stage.run(&["prune"]).code, Some(2), "how long ago has to be said");
}

#[test]
fn a_run_that_was_submitted_is_waited_for_and_shown() {
    let stage = Stage::new(|request, _| match &*request.line() {
        "POST /v1/runs" => answer(202, &summary("i", "pending")),
        "GET /v1/runs/i" => answer(200, &summary("i", "failed")),
        "GET /v1/runs/i/logs/stdout?offset=0" => Answer::new(200, "its output"),
        "GET /v1/runs/i/logs/stderr?offset=0" => Answer::new(200, "its errors\n"),
        "GET /v1/runs/i/result?wait=1" => answer(200, &result("i", "failed", Some(7))),
        other => panic!("{other}"),
    });
    let submit = ["submit", "--id", "i"];
    let waited = stage.run(&[&submit[..], &["--wait", "--", "true"]].concat());
    assert_eq!(waited.code, Some(1));
    assert_eq!(document(&waited), result("i", "failed", Some(7)));
    let followed = stage.run(&[&submit[..], &["--follow", "--propagate-exit-code", "--", "true"]].concat());
    assert_eq!((&*followed.stdout, followed.code), (&b"its output"[..], Some(7)));
    assert_eq!(followed.stderr, "its errors\nfailed i, exit code 7\n");

    let mut command = stage.scene.host(&[&submit[..], &["-f", "--", "true"]].concat());
    command
        .env("EXECUTOR_RUNTIME_SOCKET", socket(&stage.scene))
        .env("NO_COLOR", "1");
    let shown = Setup::columns(100).raw_and_apart().start(&mut command).finish();
    assert_eq!(shown.shown, "its output\nfailed i, exit code 7\n");
    assert_eq!(
        shown.errors,
        "submitted i; Ctrl-C ends this command, and not the run\nits errors\n"
    );
}
