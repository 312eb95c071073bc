//! `serve`: runs that wait for their turn are bounded, in number, memory and time.

use super::serve::{cancel, result, submit};
use executor_runtime_protocol::Status;
use executor_runtime_tests::{Scene, eventually, serving::Serving, status_field};
use std::time::Duration;

/// Most memory that a process has had at a time, in bytes.
fn peak(serving: &Serving) -> u64 {
    let field = status_field(serving.pid(), "VmHWM").expect("it is running");
    let kilobytes: u64 = field.trim_end_matches(" kB").trim().parse().expect("a number");
    kilobytes * 1024
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
    assert_eq!(
        refused.expect_problem(429),
        "the queue is full (2 runs are waiting); try again in 1 s"
    );
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
