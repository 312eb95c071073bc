//! What a plugin keeps for the case that its run is interrupted: the next run of the same invocation is told,
//! once; a run that comes to an end leaves nothing to go on from.

use executor_runtime_protocol::{RuntimeResult, Status};
use executor_runtime_tests::{
    Invocation, fixtures,
    installed::Installed,
    scripted::{Answer, Scripted},
};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
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
fn a_run_of_a_recipe_goes_on_too() {
    for place in greeters() {
        let server = silent_at_first(1);
        let recipe = r#"
            version = "1.0.0"
            summary = "Greets"
            base = "greet"
            metadata."welcome.url" = { type = "url", required = true, help = "What to ask" }
            [set]
            "greet.name" = "Ada"
            "greet.remember" = "yes"
            "greet.url" = "{{welcome.url}}"
        "#;
        place.scene.file("plugins/welcome.kind.toml", recipe);
        let invocation = place
            .invocation(&[("welcome.url", &server.url("/"))])
            .with("runtime_kind", "welcome")
            .id("the-run");
        interrupt(&place, &invocation, &server, 1);
        assert_eq!(before(&place, &invocation), "Ada;");
        assert_eq!(before(&place, &invocation), "");
    }
}

/// What the first has begun, the second must not begin too.
#[test]
fn a_run_whose_id_another_host_is_running_is_rejected_before_it_begins() {
    for place in greeters() {
        let server = silent_at_first(1);
        let invocation = greet(&place, "Ada", &server);
        let mut host = place.start(&invocation);
        server.wait_for(1);
        let result = place.run(&invocation).expect(Status::Rejected);
        assert_eq!(result.metadata["error.kind"], "already_running", "{result:?}");
        assert_eq!(server.requests().len(), 1);
        host.kill().unwrap();
        host.wait().unwrap();
        place.scene.assert_nothing_left_within(Duration::from_secs(1));
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

/// An invocation that finishes artifacts before it greets and after, and another that it begins.
fn greet_in_artifacts(place: &Installed, server: &Scripted) -> Invocation {
    greet(place, "Ada", server)
        .metadata("greet.first", "one")
        .metadata("greet.then", "two,three")
        .metadata("greet.begin", "begun")
}

/// The names of the artifacts of a result. All of them, and no other file, are where it says, and are what it says.
fn artifacts(place: &Installed, result: &RuntimeResult) -> Vec<String> {
    let listed = || result.artifacts.iter();
    for artifact in listed() {
        let bytes = fs::read(&artifact.path).unwrap();
        assert_eq!(
            artifact.metadata["sha256"],
            format!("{:x}", Sha256::digest(&bytes))
        );
        assert_eq!(artifact.metadata["size_bytes"], bytes.len().to_string());
    }
    let directory = capture(place).join("artifacts");
    let mut files: Vec<_> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let mut paths: Vec<_> = listed().map(|artifact| PathBuf::from(&artifact.path)).collect();
    files.sort();
    paths.sort();
    assert_eq!(paths, files);
    listed().map(|artifact| artifact.artifact_id.clone()).collect()
}

#[test]
fn what_was_finished_before_the_host_died_stays_and_is_listed() {
    for place in greeters() {
        let server = silent_at_first(2);
        let invocation = greet_in_artifacts(&place, &server).metadata("greet.resumed", "three,four");
        interrupt(&place, &invocation, &server, 1);
        assert!(capture(&place).join("artifacts/.begun.partial").exists());
        interrupt(&place, &invocation, &server, 2);
        let result = place.run(&invocation).expect(Status::Succeeded);
        assert_eq!(
            artifacts(&place, &result),
            ["one", "two", "three", "four", "page"]
        );
        for (artifact, said) in
            result
                .artifacts
                .iter()
                .zip(["", ", greet.then", ", greet.resumed", ", greet.resumed"])
        {
            let name = &artifact.artifact_id;
            let text = format!("Hello, Ada{said}! ({name})");
            assert_eq!(fs::read_to_string(&artifact.path).unwrap(), text);
            assert_eq!(artifact.kind, "greeting");
            assert_eq!(artifact.description, format!("for Ada{said}"));
        }
        assert_eq!(result.metadata.get("artifacts_omitted"), None);
        assert_eq!(fs::read_dir(capture(&place)).unwrap().count(), 1);
        // It has come to an end: the next begins anew.
        let result = place.run(&invocation).expect(Status::Succeeded);
        assert_eq!(artifacts(&place, &result), ["one", "two", "three", "page"]);
    }
}

#[test]
fn another_invocation_of_the_same_id_lists_only_its_own_artifacts() {
    for place in greeters() {
        let server = silent_at_first(1);
        interrupt(&place, &greet_in_artifacts(&place, &server), &server, 1);
        let other = greet(&place, "Eve", &server).metadata("greet.then", "five");
        let result = place.run(&other).expect(Status::Succeeded);
        assert_eq!(artifacts(&place, &result), ["five", "page"]);
    }
}

#[test]
fn an_artifact_of_the_interrupted_run_counts_once_against_the_limit() {
    for place in greeters() {
        let place = place.configured("[plugins.greet.limits]\nartifacts = 4\n");
        let server = silent_at_first(2);
        let invocation = greet(&place, "Ada", &server).metadata("greet.then", "one,two");
        let again = invocation.clone().metadata("greet.resumed", "one,two,three");
        interrupt(&place, &again, &server, 1);
        interrupt(&place, &again, &server, 2);
        let result = place.run(&again).expect(Status::Succeeded);
        assert_eq!(artifacts(&place, &result), ["one", "two", "three", "page"]);
        let server = silent_at_first(1);
        let too_many = greet(&place, "Ada", &server)
            .metadata("greet.then", "one,two")
            .metadata("greet.resumed", "three,four");
        interrupt(&place, &too_many, &server, 1);
        let result = place.run(&too_many).expect(Status::Failed);
        let summary = result.error_summary.as_deref().unwrap();
        assert!(summary.contains('4'), "{summary}");
        assert_eq!(artifacts(&place, &result), ["one", "two", "three", "four"]);
    }
}

#[test]
fn what_was_torn_changed_or_replaced_meanwhile_is_not_listed_as_finished() {
    type Meanwhile = fn(&Path);
    let cases: [(Meanwhile, &[&str]); 4] = [
        // The record is there up to its last line, which lacks its end.
        (
            |capture| {
                let record = capture.join("finished");
                let text = fs::read(&record).unwrap();
                fs::write(&record, &text[..text.len() - 2]).unwrap();
            },
            &["one", "two", "page"],
        ),
        (
            |capture| fs::write(capture.join("artifacts/two"), "Hello, Eve, greet.then! (two)").unwrap(),
            &["one", "three", "page"],
        ),
        (
            |capture| {
                let two = capture.join("artifacts/two");
                fs::remove_file(&two).unwrap();
                symlink("/etc/passwd", two).unwrap();
            },
            &["one", "three", "page"],
        ),
        (
            |capture| fs::remove_dir_all(capture.join("artifacts")).unwrap(),
            &["page"],
        ),
    ];
    for place in greeters() {
        for (number, (meanwhile, expected)) in cases.into_iter().enumerate() {
            let server = silent_at_first(1);
            let invocation = greet_in_artifacts(&place, &server);
            interrupt(&place, &invocation, &server, 1);
            meanwhile(&capture(&place));
            let result = place.run(&invocation).expect(Status::Succeeded);
            assert_eq!(artifacts(&place, &result), expected, "case {number}");
        }
    }
}

#[test]
fn http_async_fetches_the_result_and_cleans_up_after_its_host_died() {
    for place in Installed::on_both("http_async") {
        // The first host dies while it fetches the result, the second while it cleans up.
        let server = Scripted::start(|request, n| match (&*request.line(), n) {
            ("POST /runs", _) => Answer::new(202, json!({"id": 7}).to_string()),
            ("GET /runs/7", _) => Answer::new(200, json!({"status": "completed"}).to_string()),
            ("GET /runs/7/result", 2) | ("DELETE /runs/7", 4) => Answer::Silence,
            ("GET /runs/7/result", _) => Answer::new(200, "the result"),
            _ => Answer::new(404, ""),
        });
        let invocation = place
            .invocation(&[])
            .id("the-run")
            .metadata("http.url", server.url("/runs"))
            .metadata("http.poll_url_template", server.url("/runs/{run_id}"))
            .metadata("http.poll_run_id_path", "id")
            .metadata("http.poll_status_path", "status")
            .metadata("http.poll_terminal_states", "completed")
            .metadata("http.result_url_template", server.url("/runs/{run_id}/result"))
            .metadata("http.cleanup_url_template", server.url("/runs/{run_id}"));
        interrupt(&place, &invocation, &server, 3);
        interrupt(&place, &invocation, &server, 5);
        let result = place.run(&invocation).expect(Status::Succeeded);
        assert_eq!(
            server.lines(),
            [
                "POST /runs",
                "GET /runs/7",
                "GET /runs/7/result",
                "GET /runs/7/result",
                "DELETE /runs/7",
                "DELETE /runs/7",
            ]
        );
        for (key, value) in [
            ("http.resumed", "true"),
            ("http.run_status", "completed"),
            ("http.result_status", "200"),
            ("http.cleanup_status", "404"),
        ] {
            assert_eq!(result.metadata[key], value);
        }
        assert_eq!(artifacts(&place, &result), ["final_status", "result"]);
    }
}

#[test]
fn a_host_that_dies_has_nothing_cancelled_that_the_next_one_goes_on_with() {
    for place in Installed::on_both("http_async") {
        // Again and again: the time between a host's death and the end of what it started is short.
        for _ in 0..10 {
            let server = Scripted::start(|request, _| match &*request.method {
                "POST" => Answer::new(202, json!({"id": 7}).to_string()),
                _ => Answer::Silence,
            });
            let invocation = place
                .invocation(&[])
                .metadata("http.url", server.url("/runs"))
                .metadata("http.poll_url_template", server.url("/runs/{run_id}"))
                .metadata("http.poll_run_id_path", "id")
                .metadata("http.poll_status_path", "status")
                .metadata("http.poll_terminal_states", "completed")
                .metadata("http.cancel_url_template", server.url("/cancel/{run_id}"))
                .metadata("http.cleanup_url_template", server.url("/runs/{run_id}"));
            interrupt(&place, &invocation, &server, 2);
            assert_eq!(server.lines(), ["POST /runs", "GET /runs/7"]);
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
