//! What a plugin keeps for the case that its run is interrupted: the next run of the same invocation is told,
//! once; a run that comes to an end leaves nothing to go on from.

use executor_runtime_protocol::Status;
use executor_runtime_tests::{
    Invocation, fixtures,
    installed::Installed,
    scripted::{Answer, Scripted},
};
use serde_json::json;
use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

fn greeters() -> [Installed; 2] {
    [
        Installed::file("greet", &fixtures::component("fixture-greet")),
        Installed::file("greet", &fixtures::native("fixture-greet")),
    ]
}

fn capture(place: &Installed) -> PathBuf {
    place.scene.capture("the-run")
}

/// An invocation that keeps whom it greets, asks `server` for a page, and tells whom the run before greeted.
fn greet(place: &Installed, name: &str, server: &Scripted) -> Invocation {
    let metadata = [
        ("greet.name", name),
        ("greet.remember", "yes"),
        ("greet.url", &server.url("/")),
    ];
    place.invocation(&metadata).id("the-run")
}

/// Has a host run it, and kills that host when the backend has got `requests` in all.
fn interrupt(place: &Installed, invocation: &Invocation, server: &Scripted, requests: usize) {
    let mut host = place.start(invocation);
    server.wait_for(requests);
    host.kill().unwrap();
    host.wait().unwrap();
    // The lock goes with the last of its processes.
    place.scene.assert_nothing_left_within(Duration::from_secs(1));
}

/// Whom the run before greeted, as this one is told.
fn before(place: &Installed, invocation: &Invocation) -> String {
    let result = place.run(invocation).expect(Status::Succeeded);
    result.metadata["greet.before"].clone()
}

/// Keeps the first `silent` requests waiting, and answers the others.
fn silent_at_first(silent: usize) -> Scripted {
    Scripted::start(move |_, n| match n < silent {
        true => Answer::Silence,
        false => Answer::new(200, "a page"),
    })
}

#[test]
fn a_run_goes_on_from_where_the_host_died_and_only_once() {
    for place in greeters() {
        let server = silent_at_first(2);
        let invocation = greet(&place, "Ada", &server);
        interrupt(&place, &invocation, &server, 1);
        interrupt(
            &place,
            &invocation.clone().with("timeout_seconds", 60),
            &server,
            2,
        );
        assert_eq!(before(&place, &invocation), "Ada;Ada;");
        assert_eq!(before(&place, &invocation), "");
        // Only what the page was kept in is left.
        assert!(!capture(&place).join("checkpoint").exists());
    }
}

#[test]
fn another_invocation_of_the_same_id_starts_anew() {
    for place in greeters() {
        let server = silent_at_first(1);
        interrupt(&place, &greet(&place, "Ada", &server), &server, 1);
        assert_eq!(before(&place, &greet(&place, "Eve", &server)), "");
        assert_eq!(before(&place, &greet(&place, "Ada", &server)), "");
    }
}

#[test]
fn a_run_that_ends_in_any_way_leaves_none() {
    for place in greeters() {
        // By what the test has seen rather than by number: on a busy machine the late run may send no request at all.
        let answering = Arc::new(AtomicBool::new(false));
        let answers = answering.clone();
        let server = Scripted::start(move |_, _| match answers.load(Ordering::SeqCst) {
            true => Answer::new(200, "a page"),
            false => Answer::Silence,
        });
        let invocation = greet(&place, "Ada", &server);
        let late = place.run(&invocation.clone().with("timeout_seconds", 1));
        late.expect(Status::TimedOut);
        answering.store(true, Ordering::SeqCst);
        assert_eq!(before(&place, &invocation), "");
    }
}

#[test]
fn what_was_planted_in_its_place_is_no_checkpoint() {
    for place in greeters() {
        let server = silent_at_first(0);
        let invocation = greet(&place, "Eve", &server);
        let checkpoint = capture(&place).join("checkpoint");
        fs::create_dir_all(capture(&place)).unwrap();
        let secret = place.scene.file("secret", "secret");
        std::os::unix::fs::symlink(&secret, &checkpoint).unwrap();
        assert_eq!(before(&place, &invocation), "");
        assert_eq!(fs::read_to_string(&secret).unwrap(), "secret");
        for planted in [b"Ada;".to_vec(), vec![b'x'; 200_000]] {
            fs::write(&checkpoint, planted).unwrap();
            assert_eq!(before(&place, &invocation), "");
        }
    }
}

#[test]
fn http_async_goes_on_polling_the_run_that_it_had_started() {
    for place in Installed::on_both("http_async") {
        // The kickoff and two polls for the host that dies, one poll for the next.
        let server = Scripted::start(|request, n| match (&*request.method, n) {
            ("POST", _) => Answer::new(202, json!({"id": "r/7"}).to_string()),
            (_, 1 | 2) => Answer::new(200, json!({"status": "running"}).to_string()),
            _ => Answer::new(200, json!({"status": "completed"}).to_string()),
        });
        let invocation = place
            .invocation(&[])
            .id("the-run")
            .metadata("http.url", server.url("/runs"))
            .metadata("http.poll_url_template", server.url("/runs/{run_id}"))
            .metadata("http.poll_run_id_path", "id")
            .metadata("http.poll_status_path", "status")
            .metadata("http.poll_terminal_states", "completed")
            .metadata("http.poll_interval_seconds", "0.3");
        interrupt(&place, &invocation, &server, 3);
        let result = place.run(&invocation).expect(Status::Succeeded);
        assert_eq!(result.metadata["http.resumed"], "true");
        assert_eq!(result.metadata["http.run_id"], "r/7");
        assert_eq!(
            server.lines(),
            [
                "POST /runs",
                "GET /runs/r%2F7",
                "GET /runs/r%2F7",
                "GET /runs/r%2F7"
            ]
        );
        // It has ended: the same invocation is a new run.
        assert_eq!(place.run(&invocation).result().metadata.get("http.resumed"), None);
        assert_eq!(server.lines()[4..], ["POST /runs", "GET /runs/r%2F7"]);
    }
}
