//! `serve`: how it starts and ends: environment, systemd, signals, draining; and what was acknowledged before.

use super::{
    serve::{cancel, result, submit},
    serve_access::{TOKEN, token_file},
    serve_follow::serving_with,
};
use executor_runtime_protocol::Status;
use executor_runtime_tests::{
    Scene, eventually, fixtures,
    installed::Installed,
    scripted::{Answer, Scripted},
    serving::{self, Following, Serving},
};
use serde_json::json;
use std::{
    fs,
    os::{
        fd::AsRawFd,
        unix::{
            net::{UnixDatagram, UnixListener},
            process::CommandExt,
        },
    },
    path::PathBuf,
    time::Duration,
};

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
fn a_run_with_a_checkpoint_that_was_cancelled_goes_on_only_to_stop() {
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

/// Has a host cancel a run, and kills it while its backend does not answer to that.
fn die_while_cancelling(place: &Installed) -> Scripted {
    let server = Scripted::start(|request, n| match (&*request.line(), n) {
        ("POST /runs", _) => Answer::new(202, json!({"id": 7}).to_string()),
        ("POST /cancel/7", 0..3) => Answer::Silence,
        ("POST /cancel/7" | "DELETE /runs/7", _) => Answer::new(200, ""),
        _ => Answer::Silence,
    });
    let serving = serving_with(place);
    let invocation = place
        .invocation(&[("plugin.grace_seconds", "60")])
        .id("elsewhere")
        .with("timeout_seconds", 60)
        .metadata("http.url", server.url("/runs"))
        .metadata("http.poll_url_template", server.url("/runs/{run_id}"))
        .metadata("http.poll_run_id_path", "id")
        .metadata("http.poll_status_path", "status")
        .metadata("http.poll_terminal_states", "completed")
        .metadata("http.cancel_url_template", server.url("/cancel/{run_id}"))
        .metadata("http.cleanup_url_template", server.url("/runs/{run_id}"));
    submit(&serving, &invocation);
    server.wait_for(2);
    cancel(&serving, "elsewhere");
    server.wait_for(3);
    serving.signal(libc::SIGKILL);
    drop(serving);
    place.scene.assert_nothing_left_within(Duration::from_secs(5));
    server
}

/// Its backend is told then, too.
#[test]
fn a_run_whose_host_dies_while_it_is_being_cancelled_is_cancelled_by_the_next_one() {
    for place in Installed::on_both("http_async") {
        let server = die_while_cancelling(&place);
        let serving = serving_with(&place);
        let result = result(&serving, "elsewhere");
        assert_eq!(result.status, Status::Cancelled, "{result:?}");
        for (key, value) in [
            ("http.resumed", "true"),
            ("http.cancel_status", "200"),
            ("http.cleanup_status", "200"),
        ] {
            assert_eq!(result.metadata[key], value);
        }
        let lines = server.lines();
        let kickoffs = lines.iter().filter(|line| *line == "POST /runs").count();
        assert_eq!(kickoffs, 1, "{lines:?}");
        assert_eq!(lines[lines.len() - 2..], ["POST /cancel/7", "DELETE /runs/7"]);
    }
}

#[test]
fn a_run_that_was_being_cancelled_is_cancelled_although_its_plugin_is_gone() {
    let place = Installed::component("http_async");
    let server = die_while_cancelling(&place);
    for plugin in fs::read_dir(place.scene.path("plugins")).unwrap() {
        fs::remove_file(plugin.unwrap().path()).unwrap();
    }
    let serving = serving_with(&place);
    let result = result(&serving, "elsewhere");
    assert_eq!(result.status, Status::Cancelled, "{result:?}");
    let summary = result.error_summary.unwrap();
    assert!(summary.contains("may still be under way"), "{summary}");
    assert_eq!(server.requests().len(), 3);
    assert!(!place.scene.capture("elsewhere").exists());
}

#[test]
fn a_stream_whose_host_dies_while_it_is_being_cancelled_is_cancelled_by_the_next_one() {
    for place in Installed::on_both("http_sse") {
        let server = Scripted::start(|request, n| match (&*request.line(), n) {
            ("POST /start", _) => {
                let event = "id: 1\ndata: {\"id\": \"r1\"}\n\n";
                Answer::endless_events("", event, Duration::from_millis(20))
            }
            ("POST /cancel/r1", 2..) => Answer::new(200, ""),
            _ => Answer::Silence,
        });
        let serving = serving_with(&place);
        let invocation = place
            .invocation(&[("plugin.grace_seconds", "60")])
            .id("stream")
            .with("timeout_seconds", 60)
            .metadata("http.url", server.url("/start"))
            .metadata("sse.run_id_path", "id")
            .metadata("sse.success_events", "end")
            .metadata("sse.reconnect_url_template", server.url("/runs/{run_id}"))
            .metadata("http.cancel_url_template", server.url("/cancel/{run_id}"));
        submit(&serving, &invocation);
        let checkpoint = place.scene.capture("stream").join("checkpoint");
        eventually("a checkpoint", || checkpoint.exists().then_some(()));
        cancel(&serving, "stream");
        server.wait_for(2);
        serving.signal(libc::SIGKILL);
        drop(serving);
        place.scene.assert_nothing_left_within(Duration::from_secs(5));
        let serving = serving_with(&place);
        let result = result(&serving, "stream");
        assert_eq!(result.status, Status::Cancelled, "{result:?}");
        assert!(
            result
                .metadata
                .get("http.cancel_status")
                .is_some_and(|code| code == "200"),
            "{result:?}"
        );
        assert!(
            result
                .artifacts
                .iter()
                .any(|artifact| artifact.artifact_id == "events"),
            "{result:?}"
        );
        let lines = server.lines();
        assert_eq!(
            lines.iter().filter(|line| *line == "POST /start").count(),
            1,
            "{lines:?}"
        );
    }
}

/// The next host knows that it has one, and takes it up when a slot is free.
#[test]
fn a_run_whose_checkpoint_is_gone_when_its_turn_comes_is_not_begun_again() {
    for place in Installed::on_both("http_async") {
        let server = Scripted::start(|request, _| match request.line().split_once("POST /") {
            Some((_, id)) => Answer::new(202, json!({"id": id}).to_string()),
            None => Answer::Silence,
        });
        let serving = serving_with(&place);
        for id in ["first", "second"] {
            let invocation = place
                .invocation(&[])
                .id(id)
                .with("timeout_seconds", 60)
                .metadata("http.url", server.url(&format!("/{id}")))
                .metadata("http.poll_url_template", server.url("/runs/{run_id}"))
                .metadata("http.poll_run_id_path", "id")
                .metadata("http.poll_status_path", "status")
                .metadata("http.poll_terminal_states", "completed");
            submit(&serving, &invocation);
        }
        server.wait_for(4);
        serving.signal(libc::SIGKILL);
        drop(serving);
        place.scene.assert_nothing_left_within(Duration::from_secs(5));
        let mut command = serving::command(&place.scene, &["--jobs", "1"]);
        let serving = Serving::started(&place.scene, place.equip(&mut command));
        // One of the two polls, and the other waits for its turn.
        server.wait_for(5);
        let [id, other] = match &*server.lines()[4] {
            "GET /runs/first" => ["first", "second"],
            _ => ["second", "first"],
        };
        fs::remove_file(place.scene.capture(other).join("checkpoint")).unwrap();
        cancel(&serving, id);
        let result = result(&serving, other);
        assert_eq!(result.status, Status::Failed, "{result:?}");
        assert_eq!(result.metadata["error.kind"], "host_lost", "{result:?}");
        let lines = server.lines();
        let kickoffs = lines.iter().filter(|line| line.starts_with("POST")).count();
        assert_eq!(kickoffs, 2, "{lines:?}");
    }
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
