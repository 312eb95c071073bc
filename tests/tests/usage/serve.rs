//! `serve`: the HTTP API, used well and badly.

use executor_runtime_protocol::{RuntimeResult, Status};
use executor_runtime_tests::{
    Invocation, Scene, assert_golden, eventually, fixtures,
    installed::Installed,
    readme::section,
    scripted::{Answer, Scripted},
    serving::{self, Connection, Event, Following, Serving},
    status_field,
};
use serde_json::{Value, json};
use std::{
    fs::{self, Permissions},
    net::TcpStream,
    os::{
        fd::AsRawFd,
        unix::{
            ffi::OsStrExt,
            fs::PermissionsExt,
            net::{UnixDatagram, UnixListener},
            process::CommandExt,
        },
    },
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

const TOKEN: &str = "a-token-of-enough-characters";

/// Most memory that a process has had at a time, in bytes.
fn peak(serving: &Serving) -> u64 {
    let field = status_field(serving.pid(), "VmHWM").expect("it is running");
    let kilobytes: u64 = field.trim_end_matches(" kB").trim().parse().expect("a number");
    kilobytes * 1024
}

/// A run that has to be accepted.
#[track_caller]
fn submit(serving: &Serving, invocation: &Invocation) -> Value {
    serving.post("/v1/runs", &invocation.text()).expect(202).json()
}

/// Has a run stop, which it may do at once.
#[track_caller]
fn cancel(serving: &Serving, id: &str) {
    let answer = serving.post(&format!("/v1/runs/{id}/cancel"), "");
    assert!(matches!(answer.status(), 200 | 202), "{answer:?}");
}

/// The result of a run, which has to come.
#[track_caller]
fn result(serving: &Serving, id: &str) -> RuntimeResult {
    let answer = serving.get(&format!("/v1/runs/{id}/result?wait=60")).expect(200);
    RuntimeResult::from_json(&answer.body).unwrap_or_else(|error| panic!("{error}"))
}

/// All events of a run, from the beginning.
fn events(serving: &Serving, id: &str) -> Vec<Event> {
    let mut following = Following::start(serving.connect(), id, None);
    std::iter::from_fn(|| following.next()).collect()
}

/// A file with the token, of this mode.
fn token_file(scene: &Scene, token: &str, mode: u32) -> String {
    let path = scene.file("token", token);
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    path.display().to_string()
}

#[test]
fn a_run_is_submitted_shown_waited_for_listed_and_followed() {
    let scene = Scene::new();
    let serving = Serving::start(&scene, &[]);
    assert_eq!(
        serving.said(),
        format!("serving on unix:{}\n", scene.path("api.sock").display())
    );
    assert_eq!(
        serving.get("/healthz").expect(200).json(),
        json!({"status": "ok"})
    );
    let invocation = scene.script("echo out; echo err >&2; exit 3").id("first");
    let accepted = serving.post("/v1/runs", &invocation.text()).expect(202);
    assert_eq!(accepted.header("location"), "/v1/runs/first");
    assert_eq!(accepted.header("content-type"), "application/json");
    let accepted = accepted.json();
    assert_eq!(accepted["invocation_id"], "first");
    assert_eq!(accepted["runtime_kind"], "subprocess");

    let told = result(&serving, "first");
    assert_eq!(told.exit_code, Some(3));
    assert_eq!(told.metadata["error.kind"], "exit_status");
    let shown = serving.get("/v1/runs/first").expect(200).json();
    assert_eq!(shown["status"], "failed");
    assert_eq!(shown["exit_code"], 3);
    assert_eq!(shown["error_kind"], "exit_status");
    assert!(shown["finished_at"].is_string(), "{shown}");

    assert_eq!(
        serving.get("/v1/runs/first/logs/stdout").expect(200).body,
        b"out\n"
    );
    assert_eq!(
        serving.get("/v1/runs/first/logs/stderr").expect(200).body,
        b"err\n"
    );
    assert_eq!(
        serving.get("/v1/runs/first/artifacts/stdout").expect(200).body,
        b"out\n"
    );
    // What is lost is not nothing.
    fs::remove_file(told.stdout_path.unwrap()).unwrap();
    let gone = serving.get("/v1/runs/first/logs/stdout").expect_problem(410);
    assert!(gone.contains("is not there any more"), "{gone}");

    let kinds: Vec<_> = events(&serving, "first")
        .into_iter()
        .map(|event| event.kind)
        .collect();
    assert_eq!(kinds.first().map(String::as_str), Some("accepted"), "{kinds:?}");
    assert_eq!(kinds.last().map(String::as_str), Some("ended"), "{kinds:?}");
    assert!(kinds.iter().any(|kind| kind == "started"), "{kinds:?}");

    for number in 0..5 {
        submit(&serving, &scene.script("exit 0").id(&format!("later-{number}")));
        result(&serving, &format!("later-{number}"));
    }
    let ids = |answer: &Value| -> Vec<String> {
        let runs = answer["runs"].as_array().expect("a list");
        let id = |run: &Value| run["invocation_id"].as_str().expect("a text").to_owned();
        runs.iter().map(id).collect()
    };
    let page = serving.get("/v1/runs?limit=4").expect(200).json();
    assert_eq!(ids(&page), ["later-4", "later-3", "later-2", "later-1"]);
    let next = page["next_cursor"].as_str().expect("there are more");
    let page = serving
        .get(&format!("/v1/runs?limit=4&cursor={next}"))
        .expect(200)
        .json();
    assert_eq!(ids(&page), ["later-0", "first"]);
    assert!(page["next_cursor"].is_null());
    let failed = serving
        .get("/v1/runs?status=failed&kind=subprocess")
        .expect(200)
        .json();
    assert_eq!(ids(&failed), ["first"]);
    assert_eq!(ids(&serving.get("/v1/runs?kind=http").json()), [] as [&str; 0]);
    let since = shown["finished_at"].as_str().expect("a time");
    assert_eq!(
        ids(&serving.get(&format!("/v1/runs?since={since}")).json()).len(),
        5
    );

    let kinds = serving.get("/v1/kinds").expect(200).json();
    let listed = scene.run_with(&["kinds", "--format", "json"], b"");
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(kinds["kinds"], listed);

    let metrics = String::from_utf8(serving.get("/metrics").expect(200).body).unwrap();
    for sample in [
        "executor_runtime_runs_ended_total{status=\"failed\"} 1\n",
        "executor_runtime_runs_ended_total{status=\"succeeded\"} 5\n",
        "executor_runtime_runs_queued 0\n",
        "executor_runtime_runs_running_max 256\n",
    ] {
        assert!(metrics.contains(sample), "{sample}{metrics}");
    }

    let pruned = serving.post("/v1/prune", r#"{"older_than_seconds": 3600, "captures": true}"#);
    assert_eq!(
        pruned.expect(200).json(),
        json!({"runs": 0, "captures": 0, "captures_kept": 0})
    );
    let pruned = serving
        .post("/v1/prune", r#"{"older_than_seconds": 0}"#)
        .expect(200)
        .json();
    assert_eq!(pruned["runs"], 6);
    assert_eq!(ids(&serving.get("/v1/runs").json()), [] as [&str; 0]);
    assert!(scene.capture("first").exists());
}

#[test]
fn the_same_document_many_times_at_once_is_one_run_and_another_one_is_a_conflict() {
    let scene = Scene::new();
    let serving = Serving::start(&scene, &[]);
    let document = scene.script("echo ran >> ran; sleep 0.2").id("once").text();
    let codes: Vec<u16> = thread::scope(|scope| {
        let clients: Vec<_> = (0..3)
            .map(|client| {
                let (serving, document) = (&serving, &document);
                scope.spawn(move || {
                    let mut connection = serving.connect();
                    let times = [4, 3, 3][client];
                    // All at once: the answers come in order.
                    for _ in 0..times {
                        connection.send("POST", "/v1/runs", &[], document.as_bytes());
                    }
                    (0..times)
                        .map(|_| connection.answer().status())
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect()
    });
    assert_eq!(codes.len(), 10);
    assert_eq!(codes.iter().filter(|code| **code == 202).count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == 200).count(), 9, "{codes:?}");
    let first = serving.get("/v1/runs/once/result?wait=60").expect(200).body;
    for _ in 0..9 {
        assert_eq!(
            serving.get("/v1/runs/once/result?wait=60").expect(200).body,
            first
        );
    }
    assert_eq!(fs::read_to_string(scene.path("ran")).unwrap(), "ran\n");
    let started = events(&serving, "once");
    let started = started.iter().filter(|event| event.kind == "started").count();
    assert_eq!(started, 1);
    // Also after its end.
    assert_eq!(serving.post("/v1/runs", &document).status(), 200);
    let other = scene.script("echo other").id("once").text();
    serving.post("/v1/runs", &other).expect_problem(409);
}

#[test]
fn who_waits_is_answered_at_the_end_or_in_time() {
    let scene = Scene::new();
    let serving = Serving::start(&scene, &[]);
    submit(
        &serving,
        &scene.script("until [ -e go ]; do sleep 0.01; done").id("held"),
    );
    let early = serving.get("/v1/runs/held/result").expect(202).json();
    assert_eq!(early["invocation_id"], "held");
    let waited = serving.get("/v1/runs/held/result?wait=0.3").expect(202).json();
    assert_eq!(waited["status"], "running");
    let mut waiting = serving.connect();
    waiting.send("GET", "/v1/runs/held/result?wait=60", &[], b"");
    scene.file("go", "");
    assert_eq!(waiting.answer().expect(200).json()["status"], "succeeded");
    for bad in ["-1", "3601", "x", "NaN", "1e400"] {
        let answer = serving.get(&format!("/v1/runs/held/result?wait={bad}"));
        answer.expect_problem(400);
    }
    for path in ["", "/result", "/events", "/logs/stdout", "/artifacts/stdout"] {
        serving.get(&format!("/v1/runs/none{path}")).expect_problem(404);
    }
    serving.post("/v1/runs/none/cancel", "").expect_problem(404);
}

#[test]
fn a_run_is_cancelled_wherever_it_is() {
    let scene = Scene::new();
    let serving = Serving::start(&scene, &["-j1"]);
    submit(
        &serving,
        &scene
            .script("trap 'exit 0' TERM; touch up; sleep 600 & wait")
            .id("running"),
    );
    submit(&serving, &scene.script("touch never").id("queued"));
    eventually("the run being up", || scene.path("up").exists().then_some(()));
    let queued = serving.post("/v1/runs/queued/cancel", "");
    assert!(matches!(queued.status(), 200 | 202), "{queued:?}");
    assert_eq!(result(&serving, "queued").status.as_str(), "cancelled");
    let cancelled = serving.post("/v1/runs/running/cancel", "").expect(202).json();
    assert_eq!(cancelled["cancel_requested"], true);
    assert_eq!(result(&serving, "running").status.as_str(), "cancelled");
    assert_eq!(
        serving.post("/v1/runs/running/cancel", "").expect(200).json()["status"],
        "cancelled"
    );
    assert!(!scene.path("never").exists());

    let stubborn = scene.script("trap '' TERM; touch stubborn; while :; do sleep 1; done");
    submit(&serving, &stubborn.grace(600.0).id("stubborn"));
    eventually("it being up", || scene.path("stubborn").exists().then_some(()));
    serving.post("/v1/runs/stubborn/cancel", "").expect(202);
    serving
        .post("/v1/runs/stubborn/cancel?immediate=true", "")
        .expect(202);
    assert_eq!(result(&serving, "stubborn").status.as_str(), "cancelled");
}

#[test]
fn a_follower_that_comes_back_misses_no_event_and_gets_none_twice() {
    let scene = Scene::new();
    let serving = Serving::start(&scene, &[]);
    let script = "for n in 1 2 3; do until [ -e go$n ]; do sleep 0.01; done; echo $n; done";
    submit(&serving, &scene.script(script).id("talks"));
    let mut seen = Vec::<Event>::new();
    for step in 1..=3 {
        let last = seen.last().map(|event| event.id);
        let mut following = Following::start(serving.connect(), "talks", last);
        scene.file(&format!("go{step}"), "");
        // The run says something in each step; the connection is lost after that.
        let bytes = 2 * step;
        loop {
            let event = following.next().expect("the run goes on, or has just ended");
            let done = event.data["stdout"].as_u64() >= Some(bytes);
            let is_end = event.kind == "ended";
            seen.push(event);
            if done || is_end {
                break;
            }
        }
    }
    if seen.last().is_none_or(|event| event.kind != "ended") {
        let mut following = Following::start(serving.connect(), "talks", seen.last().map(|event| event.id));
        seen.extend(std::iter::from_fn(|| following.next()));
    }
    let ids: Vec<_> = seen.iter().map(|event| event.id).collect();
    assert!(ids.is_sorted_by(|one, next| one < next), "{ids:?}");
    for event in &seen {
        assert_eq!(event.data["sequence"], event.id);
        assert_eq!(event.data["type"], event.kind);
        assert!(event.data["time"].is_string());
    }
    let kinds: Vec<_> = seen.iter().map(|event| event.kind.as_str()).collect();
    let without_output: Vec<_> = kinds.iter().filter(|kind| **kind != "output").collect();
    assert_eq!(without_output.first(), Some(&&"accepted"));
    assert_eq!(without_output.get(1), Some(&&"started"));
    assert_eq!(without_output.last(), Some(&&"ended"));
    assert_eq!(kinds.iter().filter(|kind| **kind == "ended").count(), 1);
    // Also by the parameter, and after the end.
    let mut late = serving.connect();
    let before_last = ids[ids.len() - 1] - 1;
    late.send(
        "GET",
        &format!("/v1/runs/talks/events?after={before_last}"),
        &[],
        b"",
    );
    let answer = late.answer().expect(200);
    let text = String::from_utf8(answer.body).unwrap();
    assert!(
        text.contains("event: ended\n") && !text.contains("event: output"),
        "{text}"
    );
    let mut late = serving.connect();
    late.send("GET", "/v1/runs/talks/events", &[("Last-Event-ID", "x")], b"");
    late.answer().expect_problem(400);
}

/// A host with this plugin.
fn serving_with(place: &Installed) -> Serving {
    Serving::started(
        &place.scene,
        place.equip(&mut serving::command(&place.scene, &[])),
    )
}

/// What a plugin does is told while it does it, on either carrier, and to a follower that loses its connection after each
/// event as well.
#[test]
fn a_follower_is_told_what_a_plugin_logs_keeps_and_writes() {
    let server = Scripted::start(|_, _| Answer::drip("the beginning"));
    for file in [
        fixtures::component("fixture-greet"),
        fixtures::native("fixture-greet"),
    ] {
        let place = Installed::file("greet", &file);
        let serving = serving_with(&place);
        let invocation = place
            .invocation(&[
                ("greet.name", "Ada"),
                ("greet.first", "one,two"),
                ("greet.remember", "yes"),
                ("greet.url", &server.url("/")),
            ])
            .id("talks")
            .with("timeout_seconds", 60);
        submit(&serving, &invocation);
        let mut seen = Vec::<Event>::new();
        let is_page = |event: &Event| event.data["artifact_id"] == "page";
        while !seen
            .iter()
            .any(|event| is_page(event) && event.data["bytes"].as_u64() >= Some(16))
        {
            let last = seen.last().map(|event| event.id);
            let mut following = Following::start(serving.connect(), "talks", last);
            let event = following.next().expect("the run goes on");
            assert_ne!(event.kind, "ended", "{event:?}");
            seen.push(event);
        }
        // What there is of it can be read.
        let read = serving.get("/v1/runs/talks/artifacts/page").expect(200);
        assert!(read.body.starts_with(b"the beginning   "), "{read:?}");
        cancel(&serving, "talks");
        let told = result(&serving, "talks");
        let mut following = Following::start(serving.connect(), "talks", seen.last().map(|event| event.id));
        seen.extend(std::iter::from_fn(|| following.next()));

        assert!(seen.is_sorted_by(|one, next| one.id < next.id), "{seen:#?}");
        let kinds: Vec<_> = seen.iter().map(|event| event.kind.as_str()).collect();
        assert_eq!(kinds[..2], ["accepted", "started"]);
        assert_eq!(kinds[kinds.len() - 1], "ended");
        let logged = seen.iter().find(|event| event.kind == "log").expect("it logs");
        assert_eq!(logged.data["message"], "greeting Ada");
        assert_eq!(logged.data["level"], "info");
        assert_eq!(
            (&logged.data["line"], &logged.data["left_out"]),
            (&json!(1), &json!(0))
        );
        let kept = seen
            .iter()
            .find(|event| event.kind == "checkpoint")
            .expect("it keeps");
        assert_eq!(kept.data["bytes"], "Ada;".len());
        for name in ["one", "two"] {
            let mut about = seen.iter().filter(|event| event.data["artifact_id"] == name);
            let last = about.next_back().expect("it is written");
            assert_eq!(last.data["finished"], true);
            let bytes = last.data["bytes"].as_u64().expect("a number");
            let listed = told
                .artifacts
                .iter()
                .find(|artifact| artifact.artifact_id == name);
            assert_eq!(
                listed.expect("it is listed").metadata["size_bytes"],
                bytes.to_string()
            );
        }
        let page: Vec<_> = seen.iter().filter(|event| is_page(event)).collect();
        assert!(page.is_sorted_by(|one, next| one.data["bytes"].as_u64() < next.data["bytes"].as_u64()));
        assert!(page.iter().all(|event| event.data["finished"] == false));
        // One that comes late sees the newest of each, and nothing that another was not told.
        let late = events(&serving, "talks");
        assert!(
            late.iter().all(|event| seen.contains(event)),
            "{late:#?}\n{seen:#?}"
        );
        let lines = |events: &[Event]| events.iter().filter(|event| event.kind == "log").count();
        assert_eq!(lines(&late), lines(&seen));
        assert_eq!(late.iter().filter(|event| is_page(event)).count(), 1);
    }
}

#[test]
fn what_a_plugin_logs_too_much_is_left_out_and_counted() {
    let place = Installed::file("behaviours", &fixtures::component("fixture-behaviours"));
    let serving = serving_with(&place);
    submit(
        &serving,
        &place
            .invocation(&[("fixture.behaviour", "log_flood")])
            .id("floods"),
    );
    let told = result(&serving, "floods");
    let dropped: u64 = told.metadata["plugin.log_dropped"].parse().unwrap();
    assert!(dropped > 0);
    let events = events(&serving, "floods");
    let lines: Vec<_> = events.iter().filter(|event| event.kind == "log").collect();
    assert!((1..=200).contains(&lines.len()), "{}", lines.len());
    let last = lines.last().unwrap();
    assert_eq!(last.data["level"], "warn");
    let text = format!(
        "{} lines were left out: the run logged too many",
        last.data["left_out"]
    );
    assert_eq!(last.data["message"], text);
    assert!(last.data["left_out"].as_u64().unwrap() <= dropped);
}

#[test]
fn artifacts_of_a_command_are_told_at_its_end() {
    let scene = Scene::new();
    let serving = Serving::start(&scene, &[]);
    let script = "mkdir $RXP_ARTIFACTS_DIR/deep; printf 12345 >$RXP_ARTIFACTS_DIR/deep/a; : >$RXP_ARTIFACTS_DIR/b; echo x";
    submit(&serving, &scene.script(script).id("makes"));
    result(&serving, "makes");
    let told: Vec<_> = events(&serving, "makes")
        .into_iter()
        .filter(|event| event.kind == "artifact")
        .map(|event| {
            let [id, bytes, finished] =
                ["artifact_id", "bytes", "finished"].map(|key| event.data[key].clone());
            json!([id, bytes, finished])
        })
        .collect();
    assert_eq!(
        told,
        [
            json!(["artifacts/b", 0, true]),
            json!(["artifacts/deep/a", 5, true])
        ]
    );
}

#[test]
fn output_is_read_by_offset_and_range() {
    let scene = Scene::new();
    let serving = Serving::start(&scene, &[]);
    submit(&serving, &scene.script("printf 0123456789").id("ten"));
    result(&serving, "ten");
    let path = "/v1/runs/ten/logs/stdout";
    let whole = serving.get(path).expect(200);
    assert_eq!(whole.header("content-length"), "10");
    assert_eq!(whole.header("accept-ranges"), "bytes");
    assert_eq!(whole.header("content-type"), "application/octet-stream");
    for (query, body) in [
        ("?offset=4", "456789"),
        ("?offset=10", ""),
        ("?offset=4&follow=true", "456789"),
        ("?follow=true", "0123456789"),
    ] {
        let answer = serving.get(&format!("{path}{query}")).expect(200);
        assert_eq!(answer.body, body.as_bytes(), "{query}");
    }
    for query in [
        "?offset=11",
        "?offset=11&follow=true",
        "?offset=18446744073709551615",
    ] {
        let answer = serving.get(&format!("{path}{query}"));
        answer.expect_problem(416);
        assert_eq!(answer.header("content-range"), "bytes */10");
    }
    for (range, status, body) in [
        ("bytes=2-4", 206, "234"),
        ("bytes=7-", 206, "789"),
        ("bytes=-2", 206, "89"),
        ("bytes=4-2", 200, "0123456789"),
        ("bytes=0-1,3-4", 200, "0123456789"),
    ] {
        let mut connection = serving.connect();
        connection.send("GET", path, &[("Range", range)], b"");
        let answer = connection.answer().expect(status);
        assert_eq!(answer.body, body.as_bytes(), "{range}");
        if range == "bytes=2-4" {
            assert_eq!(answer.header("content-range"), "bytes 2-4/10");
        }
    }
    let mut connection = serving.connect();
    connection.send("GET", path, &[("Range", "bytes=10-")], b"");
    connection.answer().expect_problem(416);
    connection.send("HEAD", path, &[], b"");
    let head = connection.head();
    assert_eq!(
        (head.status, head.headers["content-length"].as_str()),
        (200, "10")
    );
}

/// One that follows, one that is slow, and one that comes late see the same bytes as the file has, and the host does not
/// hold them.
#[test]
fn a_growing_output_is_followed_byte_for_byte_and_takes_no_memory() {
    const LINES: usize = 800_000;
    const LENGTH: usize = LINES * 64;
    let scene = Scene::new();
    let serving = Serving::start(&scene, &[]);
    let script = format!("touch up; until [ -e go ]; do sleep 0.01; done; seq -f '%063.0f' {LINES}");
    submit(&serving, &scene.script(&script).id("long"));
    eventually("the run being up", || scene.path("up").exists().then_some(()));
    let before = serving.resident();
    let (most, complete) = thread::scope(|scope| {
        let followers: Vec<_> = [0, 1, 2]
            .map(|slowness| {
                let serving = &serving;
                scope.spawn(move || {
                    let mut connection = serving.connect();
                    connection.send("GET", "/v1/runs/long/logs/stdout?follow=true", &[], b"");
                    assert_eq!(connection.head().status, 200);
                    let mut received = Vec::with_capacity(LENGTH);
                    while let Some(piece) = connection.piece().expect("the stream ends in good order") {
                        received.extend(piece);
                        // About a second and two more in all.
                        if slowness > 0 && received.len() % 16 == 0 {
                            thread::sleep(Duration::from_micros(1000 * slowness));
                        }
                    }
                    received
                })
            })
            .into_iter()
            .collect();
        scene.file("go", "");
        let mut most = 0;
        while followers.iter().any(|follower| !follower.is_finished()) {
            most = most.max(serving.resident());
            thread::sleep(Duration::from_millis(5));
        }
        let received = followers.into_iter().map(|follower| follower.join().unwrap());
        (most, received.collect::<Vec<_>>())
    });
    let file = fs::read(result(&serving, "long").stdout_path.unwrap()).unwrap();
    assert_eq!(file.len(), LENGTH);
    for received in complete {
        assert_eq!(received.len(), LENGTH);
        assert!(received == file, "a follower got other bytes");
    }
    let late = serving
        .get("/v1/runs/long/logs/stdout?offset=51199000")
        .expect(200);
    assert!(late.body == file[51_199_000..], "late");
    let grown = most.saturating_sub(before);
    println!(
        "resident memory grew by {} KiB for {} MiB",
        grown >> 10,
        (3 * LENGTH) >> 20
    );
    assert!(grown < 16 << 20, "the host grew by {grown} bytes");
}

#[test]
fn a_reader_that_stops_holds_nothing_up() {
    let scene = Scene::new();
    let serving = Serving::start(&scene, &[]);
    submit(&serving, &scene.script("seq -f '%063.0f' 500000").id("long"));
    let mut stopped: Vec<_> = (0..20)
        .map(|_| {
            let mut connection = serving.connect();
            connection.send("GET", "/v1/runs/long/logs/stdout?follow=true", &[], b"");
            connection
        })
        .collect();
    assert_eq!(result(&serving, "long").status.as_str(), "succeeded");
    let resident = serving.resident();
    assert!(resident < 150 << 20, "{resident} bytes");
    assert_eq!(stopped[7].answer().expect(200).body.len(), 500_000 * 64);
    // Clients that vanish.
    drop(stopped);
    serving.get("/healthz").expect(200);
}

#[test]
fn ids_and_names_are_no_paths() {
    let scene = Scene::new();
    let serving = Serving::start(&scene, &[]);
    scene.file("secret", "secret");
    let encoded = "%2E%2E%2F%20%25%C3%A4%3F%23";
    let invocation = scene.script("echo in").id("../ %ä?#");
    let accepted = serving.post("/v1/runs", &invocation.text()).expect(202);
    assert_eq!(accepted.header("location"), "/v1/runs/..%2F%20%25%C3%A4%3F%23");
    for id in [encoded, "..%2F%20%25%C3%A4%3F%23"] {
        assert_eq!(result(&serving, id).status.as_str(), "succeeded");
        assert_eq!(serving.get(&format!("/v1/runs/{id}/logs/stdout")).body, b"in\n");
    }
    submit(&serving, &scene.script("echo dots").id(".."));
    assert_eq!(result(&serving, "%2E%2E").status.as_str(), "succeeded");
    submit(&serving, &scene.script("echo plain").id("plain"));
    result(&serving, "plain");
    for path in [
        "plain/logs/..%2F..%2F..%2Fsecret",
        "plain/logs/../../../secret",
        "plain/logs/%2Fetc%2Fpasswd",
        "plain/logs/stdout%00",
        "plain/artifacts/..%2F..%2F..%2Fsecret",
        "plain/artifacts/stdout.txt",
        "plain/artifacts/%2Fetc%2Fpasswd",
        "plain/artifacts/..%2Fplain%2Fstdout.txt",
        "..%2Fplain/logs/stdout",
        "plain%2F..%2Fplain/result",
        "..%2F..%2Fsecret/logs/stdout",
    ] {
        let answer = serving.get(&format!("/v1/runs/{path}"));
        answer.expect_problem(404);
        assert!(!String::from_utf8_lossy(&answer.body).contains("root:"));
    }
    for path in ["%FF", "%FF/result", "plain/artifacts/%FF"] {
        serving.get(&format!("/v1/runs/{path}")).expect_problem(400);
    }
}

#[test]
fn nobody_gets_in_over_tcp_without_the_token() {
    let scene = Scene::new();
    let token = token_file(&scene, &format!("{TOKEN}\n"), 0o600);
    let options = [
        "--listen",
        "127.0.0.1:0",
        "--token-file",
        &token,
        "--allow-host",
        "Build.example",
    ];
    let serving = Serving::start(&scene, &options);
    let address = serving.address();
    let ask = |path: &str, headers: &[(&str, &str)]| {
        let mut connection = Connection::tcp(address);
        connection.send("GET", path, headers, b"");
        connection.answer()
    };
    let right = format!("Bearer {TOKEN}");
    let authorised = ("Authorization", right.as_str());
    ask("/v1/runs", &[authorised]).expect(200);
    ask("/healthz", &[]).expect(200);
    for wrong in [
        "",
        "Bearer",
        "Bearer x",
        "Bearer a-token-of-enough-characterS",
        "Basic YTpi",
        TOKEN,
    ] {
        let answer = ask("/v1/runs", &[("Authorization", wrong)]);
        assert_eq!(answer.expect_problem(401), "", "no detail");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
    for path in [
        "/v1/runs",
        "/metrics",
        "/openapi.json",
        "/v1/kinds",
        "/none",
        "/healthz/",
        "//healthz",
    ] {
        ask(path, &[]).expect_problem(401);
    }
    for (host, status) in [
        ("localhost", 200),
        ("127.0.0.1:9", 200),
        ("[::1]", 200),
        ("build.example:80", 200),
        ("evil.example", 421),
        ("10.1.2.3", 421),
        ("", 421),
    ] {
        let answer = ask("/v1/runs", &[("Host", host), authorised]);
        assert_eq!(answer.status(), status, "{host}: {answer:?}");
        // Not even this is told to a page under another name.
        assert_eq!(ask("/healthz", &[("Host", host)]).status(), status, "{host}");
    }
    for origin in ["http://evil.example", "null", "http://localhost"] {
        ask("/v1/runs", &[authorised, ("Origin", origin)]).expect_problem(403);
        let mut connection = serving.connect();
        connection.send("GET", "/v1/runs", &[("Origin", origin)], b"");
        connection.answer().expect_problem(403);
    }
    let mut connection = Connection::tcp(address);
    connection
        .write(b"GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    connection.answer().expect_problem(421);
    let mut connection = Connection::tcp(address);
    connection.write(b"GET /healthz HTTP/1.0\r\n\r\n").unwrap();
    connection.answer().expect_problem(421);
}

#[test]
fn what_others_could_use_is_refused_before_anything_is_served() {
    let scene = Scene::new();
    let refused = |options: &[&str]| {
        let mut command = serving::command(&scene, options);
        let finished = scene.run_command(&mut command, b"");
        assert_eq!(finished.code, Some(2), "{finished:?}");
        finished.stderr
    };
    let assert_says = |said: String, words: &str| assert!(said.contains(words), "{said}");
    assert_says(refused(&["--listen", "127.0.0.1:0"]), "--token-file");
    let open = token_file(&scene, TOKEN, 0o640);
    let listen = ["--listen", "127.0.0.1:0", "--token-file", &open];
    assert_says(refused(&listen), "set its mode to 0600");
    token_file(&scene, "short", 0o600);
    assert_says(refused(&listen), "it needs at least 16");
    token_file(&scene, "two words that are long enough", 0o600);
    assert_says(refused(&listen), "visible ASCII");
    let token = token_file(&scene, TOKEN, 0o600);
    let everywhere = ["--listen", "0.0.0.0:0", "--token-file", &token];
    assert_says(refused(&everywhere), "needs TLS");
    fs::set_permissions(scene.root(), Permissions::from_mode(0o770)).unwrap();
    assert_says(refused(&[]), "can be written by others");
    fs::set_permissions(scene.root(), Permissions::from_mode(0o700)).unwrap();
    scene.file("api.sock", "no socket");
    assert_says(refused(&[]), "is no socket");
    fs::remove_file(scene.path("api.sock")).unwrap();
    let state = scene.path("state");
    fs::create_dir_all(&state).unwrap();
    fs::set_permissions(&state, Permissions::from_mode(0o777)).unwrap();
    assert_says(refused(&[]), "others can write there");
    fs::remove_dir_all(&state).unwrap();

    let mut command = scene.host(&["serve"]);
    command.env_remove("XDG_RUNTIME_DIR");
    let finished = scene.run_command(&mut command, b"");
    assert_says(finished.stderr, "XDG_RUNTIME_DIR is not set");
}

#[test]
fn the_socket_is_for_this_user_alone_and_a_stale_one_is_replaced() {
    let scene = Scene::new();
    let socket = scene.path("api.sock");
    // Left by a process that is gone.
    drop(UnixListener::bind(&socket).unwrap());
    let serving = Serving::start(&scene, &[]);
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let state = scene.path("other-state");
    let mut second = scene.host(&["serve", "--socket"]);
    second.arg(&socket).arg("--state-dir").arg(&state);
    let finished = scene.run_command(&mut second, b"");
    assert_eq!(finished.code, Some(2), "{finished:?}");
    assert!(
        finished.stderr.contains("already serving at"),
        "{}",
        finished.stderr
    );
    serving.get("/healthz").expect(200);
    serving.signal(libc::SIGTERM);
    assert_eq!(serving.finish().code, Some(0));
    assert!(!socket.exists());

    // The user's own place.
    let runtime = scene.path("runtime");
    fs::create_dir(&runtime).unwrap();
    let mut command = scene.host(&["serve"]);
    command
        .env("XDG_RUNTIME_DIR", &runtime)
        .env("XDG_STATE_HOME", scene.path("state-home"));
    let serving = Serving::started(&scene, &mut command);
    let directory = runtime.join("executor-runtime");
    assert_eq!(
        fs::metadata(&directory).unwrap().permissions().mode() & 0o777,
        0o700
    );
    let mut connection = Connection::unix(&directory.join("api.sock"));
    connection.send("GET", "/healthz", &[], b"");
    connection.answer().expect(200);
    assert!(scene.path("state-home/executor-runtime").is_dir());
    drop(serving);
}

/// The address of a Unix socket, as system calls have it.
fn address_of(path: &Path) -> libc::sockaddr_un {
    // SAFETY: it is a struct of numbers.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    for (to, from) in address.sun_path.iter_mut().zip(path.as_os_str().as_bytes()) {
        *to = *from as libc::c_char;
    }
    address
}

/// Connects and asks; fails if there is an answer.
fn told_nothing(address: &libc::sockaddr_un) -> std::io::Result<()> {
    const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut answer = [0_u8; 16];
    // SAFETY: all pointers are valid for the lengths that go with them.
    let received = unsafe {
        let socket = libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0);
        let length = size_of::<libc::sockaddr_un>() as libc::socklen_t;
        if libc::connect(socket, (&raw const *address).cast(), length) != 0 {
            return Err(std::io::Error::last_os_error());
        }
        libc::send(socket, REQUEST.as_ptr().cast(), REQUEST.len(), libc::MSG_NOSIGNAL);
        libc::recv(socket, answer.as_mut_ptr().cast(), answer.len(), 0)
    };
    match received {
        1.. => Err(std::io::Error::from_raw_os_error(libc::EPROTO)),
        _ => Ok(()),
    }
}

/// Whoever runs the tests may be root; another user can then be tried.
#[test]
fn another_user_at_the_socket_is_told_nothing() {
    // SAFETY: no memory is involved.
    if unsafe { libc::geteuid() } != 0 {
        executor_runtime_tests::not_tested("another user at the socket", "this user is not root");
        return;
    }
    let scene = Scene::new();
    let serving = Serving::start(&scene, &[]);
    // As if someone had opened the door.
    fs::set_permissions(scene.root(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(scene.path("api.sock"), Permissions::from_mode(0o666)).unwrap();
    let socket = scene.path("api.sock");
    let mut nobody = Command::new("/bin/true");
    nobody.uid(65_534).gid(65_534).current_dir("/");
    // SAFETY: between `fork` and `exec` it only connects, writes and reads, with system calls.
    unsafe { nobody.pre_exec(move || told_nothing(&address_of(&socket))) };
    assert!(nobody.status().expect("the other user is told nothing").success());
    serving.get("/healthz").expect(200);
    let said = serving.said();
    assert!(said.contains("a connection of another user"), "{said}");
}

#[test]
fn garbage_is_answered_clearly_and_the_next_request_works() {
    let scene = Scene::new();
    let serving = Serving::start(&scene, &[]);
    let before = serving.resident();
    // Not HTTP: some are answered, all are let go of.
    let mut noise: Vec<u8> = (0..100_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    noise[0] = 0;
    for garbage in [
        &noise[..],
        b"\r\n\r\n\r\n",
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ] {
        let mut connection = serving.connect();
        let _ = connection.write(garbage);
        drop(connection);
        serving.get("/healthz").expect(200);
    }
    let head = format!(
        "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n",
        "x".repeat(1 << 20)
    );
    let mut connection = serving.connect();
    let _ = connection.write(head.as_bytes());
    if let Ok(answer) = connection.try_answer() {
        assert_eq!(answer.status(), 431, "{answer:?}");
    }
    let many: String = (0..500).map(|number| format!("X-{number}: y\r\n")).collect();
    let mut connection = serving.connect();
    let _ = connection.write(format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{many}\r\n").as_bytes());
    assert_eq!(connection.answer().status(), 431);
    // Two hosts are none.
    let mut connection = serving.connect();
    let _ = connection.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n");
    let detail = connection.answer().expect_problem(400);
    assert_eq!(detail, "the request has several Host headers");

    // Announced, and not: neither is taken in.
    let mut connection = serving.connect();
    connection
        .write(b"POST /v1/runs HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
        .unwrap();
    let detail = connection.answer().expect_problem(413);
    assert!(detail.contains("more than 16777216 bytes"), "{detail}");
    let mut connection = serving.connect();
    connection
        .write(b"POST /v1/runs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        .unwrap();
    let piece = [
        format!("{:x}\r\n", 1 << 20).into_bytes(),
        vec![b' '; 1 << 20],
        b"\r\n".to_vec(),
    ]
    .concat();
    // A client that sends all of it before it reads anything has its answer, too.
    for _ in 0..20 {
        connection.write(&piece).unwrap();
    }
    connection.write(b"0\r\n\r\n").unwrap();
    connection.answer().expect_problem(413);
    let mut connection = serving.connect();
    connection
        .try_send("POST", "/v1/runs", &[], &vec![b' '; 20 << 20])
        .unwrap();
    connection.answer().expect_problem(413);
    // One that never stops is let go of.
    let mut connection = serving.connect();
    connection
        .write(b"POST /v1/runs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        .unwrap();
    assert!((0..200).any(|_| connection.write(&piece).is_err()));

    for (body, words) in [
        ("", "not a valid RuntimeInvocation"),
        ("nonsense", "not a valid RuntimeInvocation"),
        (
            "{\"invocation_id\": 1}",
            "not a valid RuntimeInvocation: 5 problems",
        ),
        (&"[".repeat(1 << 20), "not a valid RuntimeInvocation: 1 problem"),
        (
            &format!("[{}0]", "0,".repeat(3_000_000)),
            "not a valid RuntimeInvocation: 1 problem",
        ),
    ] {
        let answer = serving.post("/v1/runs", body);
        let detail = answer.expect_problem(400);
        assert!(detail.starts_with(words), "{detail}");
        let errors = answer.json()["errors"].as_array().unwrap().clone();
        assert!(errors[0]["expected"].is_string(), "{errors:?}");
    }
    for (method, path, status) in [
        ("GET", "/", 404),
        ("GET", "/v2/runs", 404),
        ("GET", "/v1/runs/", 404),
        ("DELETE", "/v1/runs", 405),
        ("PUT", "/v1/runs/x", 405),
        ("GET", "/v1/runs/x/cancel", 405),
        ("GET", "/v1/runs?limit=0", 400),
        ("GET", "/v1/runs?limit=1001", 400),
        ("GET", "/v1/runs?limit=x", 400),
        ("GET", "/v1/runs?status=done", 400),
        ("GET", "/v1/runs?kind=Http", 400),
        ("GET", "/v1/runs?since=yesterday", 400),
        ("GET", "/v1/runs?cursor=!", 400),
        ("GET", "/v1/runs?stauts=failed", 400),
        ("POST", "/v1/runs?queue_timeout=-1", 400),
        ("POST", "/v1/prune", 400),
    ] {
        let detail = serving.request(method, path, "").expect_problem(status);
        assert!(!detail.is_empty(), "{method} {path}");
    }
    serving
        .post("/v1/prune", r#"{"older_than_seconds": -1}"#)
        .expect_problem(400);
    serving
        .post("/v1/prune", r#"{"older_than_secnds": 1}"#)
        .expect_problem(400);
    serving
        .post("/v1/prune", &" ".repeat(1 << 20))
        .expect_problem(413);

    submit(&serving, &scene.script("exit 0").id("after"));
    assert_eq!(result(&serving, "after").status.as_str(), "succeeded");
    let grown = serving.resident().saturating_sub(before);
    println!("resident memory grew by {} KiB over garbage", grown >> 10);
    assert!(grown < 400 << 20, "{grown} bytes");
}

#[test]
fn silent_and_half_finished_clients_hold_nothing() {
    let scene = Scene::new();
    let serving = Serving::start(&scene, &[]);
    let mut silent: Vec<_> = (0..200).map(|_| serving.connect()).collect();
    for (index, connection) in silent.iter_mut().enumerate() {
        match index % 3 {
            0 => {}
            1 => connection.write(b"GET /healthz HT").unwrap(),
            _ => connection
                .write(b"POST /v1/runs HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
                .unwrap(),
        }
    }
    submit(&serving, &scene.script("exit 0").id("among-them"));
    assert_eq!(result(&serving, "among-them").status.as_str(), "succeeded");
    // They don't keep the host from ending either.
    serving.signal(libc::SIGTERM);
    let finished = serving.finish();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(finished.wall < Duration::from_secs(30), "{:?}", finished.wall);
}

#[test]
fn a_full_queue_refuses_and_says_when_to_come_again() {
    let scene = Scene::new();
    let serving = Serving::start(&scene, &["-j1", "--max-queued", "2"]);
    let held = |id: &str| scene.script("until [ -e go ]; do sleep 0.01; done").id(id);
    submit(&serving, &held("running"));
    eventually("it being started", || {
        let shown = serving.get("/v1/runs/running").json();
        (shown["status"] == "running").then_some(())
    });
    submit(&serving, &held("queued-1"));
    submit(&serving, &held("queued-2"));
    let refused = serving.post("/v1/runs", &held("refused").text());
    refused.expect_problem(429);
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    serving.get("/v1/runs/refused").expect_problem(404);
    // What is accepted already is no new run.
    serving.post("/v1/runs", &held("queued-2").text()).expect(200);
    scene.file("go", "");
    for id in ["running", "queued-1", "queued-2"] {
        assert_eq!(result(&serving, id).status.as_str(), "succeeded");
    }
    submit(&serving, &held("refused"));
    assert_eq!(result(&serving, "refused").status.as_str(), "succeeded");
}

/// Many documents as long as may be wait, and are in the journal only; neither does a host that takes them over hold them.
#[test]
fn the_documents_of_runs_that_wait_take_little_memory() {
    const RUNS: usize = 32;
    const BYTES: usize = 15 << 20;
    let scene = Scene::new();
    let serving = Serving::start(&scene, &["--jobs", "1"]);
    let bounded = |serving: &Serving| {
        let peak = peak(serving);
        assert!(peak < (RUNS * BYTES / 2) as u64, "{} MiB", peak >> 20);
    };
    submit(
        &serving,
        &scene.script("until [ -e go ]; do sleep 0.01; done").id("first"),
    );
    let filler = "x".repeat(BYTES);
    let long = |number: usize| {
        let script = scene.script(&format!("echo {number}"));
        script.metadata("filler", &filler).id(&format!("long-{number}"))
    };
    for number in 0..RUNS {
        submit(&serving, &long(number));
    }
    bounded(&serving);
    // The same document is the same run, though only the journal has it.
    serving.post("/v1/runs", &long(RUNS - 1).text()).expect(200);
    serving.signal(libc::SIGKILL);
    drop(serving);
    scene.assert_nothing_left_within(Duration::from_secs(5));

    let serving = Serving::start(&scene, &["--jobs", "1"]);
    scene.file("go", "");
    for number in 0..RUNS {
        let told = result(&serving, &format!("long-{number}"));
        assert_eq!(told.exit_code, Some(0), "{told:?}");
        let read = serving
            .get(&format!("/v1/runs/long-{number}/logs/stdout"))
            .expect(200);
        assert_eq!(read.body, format!("{number}\n").into_bytes());
    }
    bounded(&serving);
}

#[test]
fn paths_that_take_too_much_memory_are_refused_while_they_wait() {
    let scene = Scene::new();
    let serving = Serving::start(&scene, &["--jobs", "1"]);
    submit(&serving, &scene.script("sleep 60").id("first"));
    let long = format!("/{}", "x".repeat(15 << 20));
    let sent = |number: usize| {
        let invocation = scene.script("exit 0").id(&format!("long-{number}"));
        serving.post(
            "/v1/runs",
            &invocation.with("working_directory", long.as_str()).text(),
        )
    };
    for number in 0..2 {
        sent(number).expect(202);
    }
    let refused = sent(2);
    let detail = refused.expect_problem(429);
    assert!(detail.contains("as much memory as they may"), "{detail}");
    assert_eq!(refused.header("retry-after"), "1");
    serving.get("/v1/runs/long-2").expect_problem(404);
    submit(&serving, &scene.script("exit 0").id("short"));
    cancel(&serving, "first");
    for number in 0..2 {
        let told = result(&serving, &format!("long-{number}"));
        assert_eq!(told.status, Status::Rejected);
    }
    sent(2).expect(202);
}

/// A host may die as soon as it has acknowledged that a run is to stop: the run does not begin, or go on, after that.
#[test]
fn a_cancel_that_was_acknowledged_survives_the_host() {
    let scene = Scene::new();
    for round in 0..5 {
        let serving = Serving::start(&scene, &["--jobs", "2"]);
        submit(&serving, &scene.script("sleep 60").id(&format!("first-{round}")));
        let stopping = format!("stopping-{round}");
        let stubborn = format!("trap '' TERM; echo x > stubborn-{round}; while :; do sleep 1; done");
        submit(&serving, &scene.script(&stubborn).id(&stopping));
        scene.await_file(&format!("stubborn-{round}"));
        let queued = format!("queued-{round}");
        submit(
            &serving,
            &scene.script(&format!("touch begun-{round}")).id(&queued),
        );
        cancel(&serving, &queued);
        cancel(&serving, &stopping);
        serving.signal(libc::SIGKILL);
        drop(serving);
        scene.assert_nothing_left_within(Duration::from_secs(5));
        let serving = Serving::start(&scene, &["--jobs", "1"]);
        assert_eq!(
            result(&serving, &queued).status,
            Status::Cancelled,
            "round {round}"
        );
        assert_eq!(result(&serving, &stopping).status, Status::Cancelled);
        assert_eq!(
            result(&serving, &format!("first-{round}")).metadata["error.kind"],
            "host_lost"
        );
        assert!(!scene.path(&format!("begun-{round}")).exists());
        serving.signal(libc::SIGTERM);
        serving.finish();
    }
}

#[test]
fn a_run_with_a_checkpoint_that_was_cancelled_does_not_go_on() {
    for file in [
        fixtures::component("fixture-greet"),
        fixtures::native("fixture-greet"),
    ] {
        let server = Scripted::start(|_, _| Answer::Silence);
        let place = Installed::file("greet", &file);
        let serving = serving_with(&place);
        let invocation = place
            .invocation(&[
                ("greet.name", "Ada"),
                ("greet.remember", "yes"),
                ("greet.url", &server.url("/")),
                ("plugin.grace_seconds", "60"),
            ])
            .id("kept")
            .with("timeout_seconds", 60);
        submit(&serving, &invocation);
        server.wait_for(1);
        let kept = place.scene.capture("kept").join("checkpoint");
        assert!(kept.exists());
        cancel(&serving, "kept");
        serving.signal(libc::SIGKILL);
        drop(serving);
        place.scene.assert_nothing_left_within(Duration::from_secs(5));
        let serving = serving_with(&place);
        assert_eq!(result(&serving, "kept").status, Status::Cancelled);
        assert_eq!(server.requests().len(), 1);
    }
}

#[test]
fn a_run_that_waits_too_long_in_the_queue_is_not_started() {
    let scene = Scene::new();
    let serving = Serving::start(&scene, &["-j1"]);
    submit(
        &serving,
        &scene.script("until [ -e go ]; do sleep 0.01; done").id("running"),
    );
    let late = scene.script("touch late").id("late").text();
    serving.post("/v1/runs?queue_timeout=0.2", &late).expect(202);
    assert_eq!(result(&serving, "late").status.as_str(), "timed_out");
    assert!(!scene.path("late").exists());
    scene.file("go", "");
    result(&serving, "running");
}

#[test]
fn a_signal_cancels_what_runs_keeps_what_waits_and_answers_who_waits() {
    let scene = Scene::new();
    let serving = Serving::start(&scene, &["-j1"]);
    submit(&serving, &scene.script("touch up; sleep 600").id("running"));
    submit(&serving, &scene.script("touch queued-ran").id("queued"));
    eventually("the run being up", || scene.path("up").exists().then_some(()));
    let mut waiting = serving.connect();
    waiting.send("GET", "/v1/runs/running/result?wait=600", &[], b"");
    let mut waiting_for_queued = serving.connect();
    waiting_for_queued.send("GET", "/v1/runs/queued/result?wait=600", &[], b"");
    let mut following = Following::start(serving.connect(), "running", None);
    let mut following_queued = Following::start(serving.connect(), "queued", None);
    assert_eq!(following_queued.next().unwrap().kind, "accepted");
    serving.signal(libc::SIGTERM);
    assert_eq!(waiting.answer().expect(200).json()["status"], "cancelled");
    assert_eq!(
        waiting_for_queued.answer().expect(202).json()["status"],
        "pending"
    );
    let last = std::iter::from_fn(|| following.next()).last().unwrap();
    assert_eq!(
        (last.kind.as_str(), &last.data["status"]),
        ("ended", &json!("cancelled"))
    );
    assert_eq!(following_queued.next(), None);
    let finished = serving.finish();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    scene.assert_nothing_left();

    let serving = Serving::start(&scene, &[]);
    assert_eq!(result(&serving, "queued").status.as_str(), "succeeded");
    assert_eq!(result(&serving, "running").status.as_str(), "cancelled");
    assert!(scene.path("queued-ran").exists());
}

#[test]
fn a_host_and_its_clients_meet_where_the_environment_says() {
    let scene = Scene::new();
    let (socket, state) = (serving::socket(&scene), scene.path("state"));
    let mut command = scene.host(&["serve", "--state-dir", state.to_str().unwrap()]);
    command
        .env_remove("XDG_RUNTIME_DIR")
        .env("EXECUTOR_RUNTIME_SOCKET", &socket);
    let serving = Serving::started(&scene, &mut command);
    assert_eq!(serving.said(), format!("serving on unix:{}\n", socket.display()));
    let mut client = scene.host(&["ps", "--format", "json"]);
    client.env("EXECUTOR_RUNTIME_SOCKET", &socket);
    let listed = scene.run_command(&mut client, b"");
    assert_eq!(listed.code, Some(0), "{listed:?}");
    // It names the default: an address of TCP stands instead of it.
    let token = token_file(&scene, TOKEN, 0o600);
    let other = scene.path("other.sock");
    let options = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--token-file",
        &token,
        "--state-dir",
    ];
    let mut command = scene.host(&[&options[..], &[scene.path("other").to_str().unwrap()]].concat());
    let _serving = Serving::started(&scene, command.env("EXECUTOR_RUNTIME_SOCKET", &other));
    assert!(!other.exists());
}

#[test]
fn draining_lets_runs_end_and_takes_no_more() {
    let scene = Scene::new();
    let serving = Serving::start(&scene, &["--drain"]);
    submit(
        &serving,
        &scene
            .script("touch up; until [ -e go ]; do sleep 0.01; done; echo done")
            .id("running"),
    );
    eventually("the run being up", || scene.path("up").exists().then_some(()));
    serving.signal(libc::SIGTERM);
    eventually("the host ending", || {
        serving.said().contains("ending once 1 run ended").then_some(())
    });
    let refused = serving.post("/v1/runs", &scene.script("exit 0").id("late").text());
    refused.expect_problem(503);
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    serving.get("/healthz").expect_problem(503);
    let mut waiting = serving.connect();
    waiting.send("GET", "/v1/runs/running/result?wait=60", &[], b"");
    scene.file("go", "");
    assert_eq!(waiting.answer().expect(200).json()["status"], "succeeded");
    let finished = serving.finish();
    assert_eq!(finished.code, Some(0), "{finished:?}");
}

#[test]
fn a_second_signal_ends_at_once() {
    let scene = Scene::new();
    let serving = Serving::start(&scene, &["--drain"]);
    let stubborn = scene.script("trap '' TERM; touch up; while :; do sleep 1; done");
    submit(&serving, &stubborn.grace(600.0).id("stubborn"));
    eventually("the run being up", || scene.path("up").exists().then_some(()));
    serving.signal(libc::SIGTERM);
    eventually("the host ending", || {
        serving.said().contains("ending once").then_some(())
    });
    serving.signal(libc::SIGINT);
    let finished = serving.finish();
    assert_eq!(finished.code, Some(128 + libc::SIGTERM), "{finished:?}");
    assert!(finished.wall < Duration::from_secs(20), "{:?}", finished.wall);
    scene.assert_nothing_left();
    let serving = Serving::start(&scene, &[]);
    assert_eq!(result(&serving, "stubborn").status.as_str(), "cancelled");
}

#[test]
fn systemd_passes_the_socket_and_is_told_when_it_is_served() {
    let scene = Scene::new();
    let socket = scene.path("api.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let notified = UnixDatagram::bind(scene.path("notify")).unwrap();
    notified.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let host = scene.host(&[]).get_program().to_owned();
    let state = scene.path("state");
    let mut command = scene.host_from(
        &PathBuf::from("/bin/sh"),
        &["-c", "LISTEN_PID=$$ exec \"$0\" \"$@\""],
    );
    command
        .arg(host)
        .arg("serve")
        .arg("--state-dir")
        .arg(&state)
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDNAMES", "executor-runtime.socket")
        .env("NOTIFY_SOCKET", scene.path("notify"))
        .env_remove("XDG_RUNTIME_DIR");
    let passed = listener.as_raw_fd();
    // SAFETY: both calls are allowed between `fork` and `exec`; the descriptor is open as long as `listener`. By way of
    // another number, because it may be 3 already, which would then be closed.
    unsafe {
        command.pre_exec(
            move || match libc::dup2(libc::fcntl(passed, libc::F_DUPFD, 100), 3) {
                3 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            },
        );
    }
    let serving = Serving::started(&scene, &mut command);
    let told = || {
        let mut buffer = [0; 200];
        let length = notified.recv(&mut buffer).expect("the host says how it is");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    assert_eq!(told(), "READY=1\n");
    submit(&serving, &scene.script("env; ls -l /proc/self/fd").id("inside"));
    result(&serving, "inside");
    let seen = String::from_utf8(serving.get("/v1/runs/inside/logs/stdout").body).unwrap();
    for variable in ["LISTEN_", "NOTIFY_SOCKET"] {
        assert!(!seen.contains(variable), "a run sees {variable}: {seen}");
    }
    serving.signal(libc::SIGTERM);
    assert_eq!(told(), "STOPPING=1\n");
    assert_eq!(serving.finish().code, Some(0));
    assert!(socket.exists(), "it is systemd's");
}

#[test]
fn the_units_start_what_there_is() {
    let units = guest_build::workspace().join("host/server/systemd");
    let service = fs::read_to_string(units.join("executor-runtime.service")).unwrap();
    let start = service
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="))
        .unwrap();
    let mut words = start.split(' ');
    assert!(words.next().unwrap().starts_with('/'));
    let scene = Scene::new();
    let arguments: Vec<_> = words.chain(["--help"]).collect();
    assert_eq!(scene.run_with(&arguments, b"").code, Some(0));
    assert!(service.contains("Type=notify\n"));
    let socket = fs::read_to_string(units.join("executor-runtime.socket")).unwrap();
    for line in [
        "ListenStream=%t/executor-runtime/api.sock",
        "SocketMode=0600",
        "DirectoryMode=0700",
    ] {
        assert!(socket.lines().any(|found| found == line), "{line}");
    }
}

#[test]
fn tls_is_served_where_it_is_asked_for() {
    let scene = Scene::new();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = scene.file("cert.pem", made.cert.pem()).display().to_string();
    let key = scene.file("key.pem", made.signing_key.serialize_pem());
    let key_path = key.display().to_string();
    let token = token_file(&scene, TOKEN, 0o600);
    let options = [
        "--listen",
        "0.0.0.0:0",
        "--token-file",
        &token,
        "--tls-cert",
        &certificate,
        "--tls-key",
        &key_path,
    ];
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    let refused = scene.run_command(&mut serving::command(&scene, &options), b"");
    assert!(
        refused.stderr.contains("set its mode to 0600"),
        "{}",
        refused.stderr
    );
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    let serving = Serving::start(&scene, &options);
    let port = serving.address().port();
    assert!(serving.said().contains("https://0.0.0.0:"), "{}", serving.said());

    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = std::sync::Arc::new(config);
    let connect = || {
        let name = "localhost".try_into().unwrap();
        let client = rustls::ClientConnection::new(std::sync::Arc::clone(&config), name).unwrap();
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Connection::over(rustls::StreamOwned::new(client, stream))
    };
    let right = format!("Bearer {TOKEN}");
    let mut kept = connect();
    kept.send("GET", "/v1/runs", &[("Authorization", &right)], b"");
    kept.answer().expect(200);
    let mut connection = connect();
    connection.send("GET", "/v1/runs", &[("Authorization", &right)], b"");
    connection.answer().expect(200);
    connection.send("GET", "/v1/runs", &[], b"");
    connection.answer().expect_problem(401);
    // A certificate that is renewed is taken up, and one that can't be used is not.
    let renewed = rcgen::generate_simple_self_signed(["renewed.example".to_owned()]).unwrap();
    fs::write(&certificate, "no certificate").unwrap();
    eventually("the bad certificate being told of", || {
        serving
            .said()
            .contains("the TLS certificate stays as it was")
            .then_some(())
    });
    assert_eq!(presented(port), *made.cert.der());
    fs::write(&certificate, renewed.cert.pem()).unwrap();
    fs::write(&key, renewed.signing_key.serialize_pem()).unwrap();
    eventually("the new certificate being presented", || {
        (presented(port) == *renewed.cert.der()).then_some(())
    });
    // Connections that were there before go on.
    kept.send("GET", "/v1/runs", &[("Authorization", &right)], b"");
    kept.answer().expect(200);
    // Who does not encrypt is told nothing.
    let mut plain = Connection::tcp(([127, 0, 0, 1], port).into());
    plain.send("GET", "/healthz", &[], b"");
    assert!(plain.try_answer().is_err());
}

/// The certificate that a server on this machine presents.
fn presented(port: u16) -> rustls::pki_types::CertificateDer<'static> {
    /// Takes any.
    #[derive(Debug)]
    struct Any(std::sync::Arc<rustls::crypto::CryptoProvider>);

    impl rustls::client::danger::ServerCertVerifier for Any {
        fn verify_server_cert(
            &self,
            _: &rustls::pki_types::CertificateDer<'_>,
            _: &[rustls::pki_types::CertificateDer<'_>],
            _: &rustls::pki_types::ServerName<'_>,
            _: &[u8],
            _: rustls::pki_types::UnixTime,
        ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
            Ok(rustls::client::danger::ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &rustls::pki_types::CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &rustls::pki_types::CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }

    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(std::sync::Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(std::sync::Arc::new(Any(provider)))
        .with_no_client_auth();
    let mut client =
        rustls::ClientConnection::new(std::sync::Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    while client.is_handshaking() {
        client.complete_io(&mut stream).unwrap();
    }
    client.peer_certificates().unwrap()[0].clone().into_owned()
}

/// The routes of the README are those that there are.
#[test]
fn the_readme_lists_the_routes() {
    let scene = Scene::new();
    let serving = Serving::start(&scene, &[]);
    let document = serving.get("/openapi.json").expect(200).json();
    let mut routes: Vec<_> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().iter().map(move |(method, operation)| {
                let summary = operation["summary"].as_str().unwrap();
                format!("| `{} {path}` | {summary} |", method.to_uppercase())
            })
        })
        .collect();
    routes.sort();
    let listed = section("routes");
    let mut listed: Vec<_> = listed.lines().skip(2).map(str::to_owned).collect();
    listed.sort();
    assert_eq!(listed, routes);
}

/// The OpenAPI document is what clients are generated from.
#[test]
fn the_api_describes_itself() {
    let scene = Scene::new();
    let serving = Serving::start(&scene, &[]);
    let answer = serving.get("/openapi.json").expect(200);
    let document = answer.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    assert_golden("serve/openapi.json", std::str::from_utf8(&answer.body).unwrap());
    // Each operation is there: it is neither an unknown path nor an unknown method.
    let paths = document["paths"].as_object().unwrap();
    let mut operations = 0;
    for (path, item) in paths {
        for method in item.as_object().unwrap().keys() {
            let path = path.replace("{stream}", "stdout").replace(['{', '}'], "");
            let answer = serving.request(&method.to_uppercase(), &path, "");
            assert_ne!(answer.status(), 405, "{method} {path}");
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(!text.contains("there is no such path"), "{method} {path}: {text}");
            operations += 1;
        }
    }
    assert_eq!(operations, 13);
    // What is sent fits what is described.
    let schema = |name: &str| {
        let mut schema = json!({"$ref": format!("#/components/schemas/{name}")});
        schema["components"] = document["components"].clone();
        jsonschema::validator_for(&schema).expect("a schema")
    };
    submit(&serving, &scene.script("echo x; exit 4").id("described"));
    result(&serving, "described");
    for (path, name) in [
        ("/v1/runs/described", "RunSummary"),
        ("/v1/runs", "RunList"),
        ("/v1/runs/described/result", "RuntimeResult"),
        ("/v1/runs/none", "Problem"),
        ("/v1/kinds", "Kinds"),
        ("/healthz", "Health"),
    ] {
        let found = serving.get(path).json();
        let errors: Vec<_> = schema(name)
            .iter_errors(&found)
            .map(|error| error.to_string())
            .collect();
        assert!(errors.is_empty(), "{path}: {errors:?} in {found}");
    }
    for event in events(&serving, "described") {
        assert!(schema("RunEvent").is_valid(&event.data), "{event:?}");
    }
    let problem = serving.post("/v1/runs", "{}").json();
    assert!(schema("Problem").is_valid(&problem), "{problem}");
    let invocation: Value = serde_json::from_str(&scene.script("x").text()).unwrap();
    assert!(schema("RuntimeInvocation").is_valid(&invocation));
}
