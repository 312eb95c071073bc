//! `serve`: followers of events, output and artifacts get all of it, in order, and hold nothing up.

use super::serve::{cancel, events, result, submit};
use executor_runtime_tests::{
    Scene, amount, eventually, fixtures,
    installed::Installed,
    scripted::{Answer, Scripted},
    serving::{self, Event, Following, Serving},
};
use serde_json::json;
use std::{fs, thread, time::Duration};

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
pub(super) fn serving_with(place: &Installed) -> Serving {
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

/// The bytes of a line of [`a_growing_output_is_followed_byte_for_byte_and_takes_no_memory`], counted from 1.
const LINE: usize = 64;

/// What is followed is compared as it comes.
#[derive(Default)]
struct Comparison {
    lines: usize,
    rest: Vec<u8>,
}

impl Comparison {
    fn take(&mut self, piece: &[u8]) {
        self.rest.extend(piece);
        let whole = self.rest.len() / LINE * LINE;
        for line in self.rest[..whole].chunks(LINE) {
            self.lines += 1;
            let expected = format!("{:063}\n", self.lines);
            assert!(line == expected.as_bytes(), "line {}", self.lines);
        }
        self.rest.drain(..whole);
    }
}

/// Those that follow, those that are slow, and one that comes late see the same bytes as the file has, and the host does not
/// hold them.
#[test]
fn a_growing_output_is_followed_byte_for_byte_and_takes_no_memory() {
    const FOLLOWERS: usize = 10;
    let lines = amount(400_000, (1 << 30) / LINE);
    let scene = Scene::new();
    let serving = Serving::start(&scene, &[]);
    let script = format!("touch up; until [ -e go ]; do sleep 0.01; done; seq -f '%063.0f' {lines}");
    let invocation = scene.script(&script).id("long");
    submit(
        &serving,
        &invocation.metadata("subprocess.max_output_bytes", "2GiB"),
    );
    eventually("the run being up", || scene.path("up").exists().then_some(()));
    let before = serving.resident();
    let (most, followed) = thread::scope(|scope| {
        let followers: Vec<_> = (0..FOLLOWERS)
            .map(|number| {
                let serving = &serving;
                scope.spawn(move || {
                    let mut connection = serving.connect();
                    connection.send("GET", "/v1/runs/long/logs/stdout?follow=true", &[], b"");
                    assert_eq!(connection.head().status, 200);
                    let mut received = Comparison::default();
                    while let Some(piece) = connection.piece().expect("the stream ends in good order") {
                        received.take(&piece);
                        // Some are slow: they take about a second more for 50 MB.
                        if number % 3 > 0 && received.lines % 16 == 0 {
                            thread::sleep(Duration::from_micros(1000 * (number % 3) as u64));
                        }
                    }
                    received
                })
            })
            .collect();
        scene.file("go", "");
        let mut most = 0;
        while followers.iter().any(|follower| !follower.is_finished()) {
            most = most.max(serving.resident());
            thread::sleep(Duration::from_millis(5));
        }
        let followed = followers.into_iter().map(|follower| follower.join().unwrap());
        (most, followed.collect::<Vec<_>>())
    });
    let file = result(&serving, "long").stdout_path.unwrap();
    assert_eq!(fs::metadata(file).unwrap().len(), (lines * LINE) as u64);
    for received in followed {
        assert_eq!((received.lines, received.rest.len()), (lines, 0));
    }
    let offset = (lines - 16) * LINE;
    let late = serving
        .get(&format!("/v1/runs/long/logs/stdout?offset={offset}"))
        .expect(200);
    let last: String = (lines - 15..=lines)
        .map(|number| format!("{number:063}\n"))
        .collect();
    assert_eq!(String::from_utf8_lossy(&late.body), last);
    let grown = most.saturating_sub(before);
    println!(
        "resident memory grew by {} KiB while {FOLLOWERS} followed {} MiB",
        grown >> 10,
        (lines * LINE) >> 20
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
