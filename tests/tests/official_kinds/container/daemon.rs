//! Daemons that are not there, go, come back, or take their time.

use super::{Place, begun, stdout};
use executor_runtime_protocol::{RuntimeResult, Status};
use executor_runtime_tests::{
    eventually,
    installed::Installed,
    scripted::{Answer, Scripted},
};
use serde_json::json;
use std::{fs, io::Read, process::Child};

fn result(mut host: Child) -> RuntimeResult {
    let mut document = String::new();
    host.stdout.take().unwrap().read_to_string(&mut document).unwrap();
    host.wait().unwrap();
    RuntimeResult::from_json(document.as_bytes()).unwrap()
}

#[test]
fn a_daemon_that_is_not_there_is_told_with_its_address() {
    for (host, expected) in [
        (
            "unix:///nowhere/podman.sock",
            "the daemon at unix:///nowhere/podman.sock can't be reached: ",
        ),
        (
            "tcp://127.0.0.1:1",
            "the daemon at tcp://127.0.0.1:1 can't be reached: ",
        ),
        (
            "ssh://elsewhere",
            "the daemon's address 'ssh://elsewhere' can't be used: it is unix:///path/of/socket or tcp://host:port",
        ),
    ] {
        let config = format!("plugins.container.config.host = \"{host}\"");
        let installed = Installed::native("container").configured(&config);
        let finished = installed.run(&installed.invocation(&[("container.image", "x")]));
        let result = finished.expect(Status::Failed);
        assert_eq!(result.metadata["error.kind"], "daemon_unreachable");
        let summary = result.error_summary.unwrap();
        assert!(summary.starts_with(expected), "{summary}");
        installed.scene.assert_nothing_left();
    }
}

#[test]
fn a_run_goes_on_when_its_daemon_is_restarted() {
    let mut place = Place::new();
    let script = "echo before; echo > begun; while ! test -e go-on; do sleep 0.1; done; echo after; exit 3";
    let host = place.start(&place.script(script));
    begun(&place, "begun");
    place.podman.kill_daemon();
    place.installed.scene.file("go-on", "");
    place.podman.start_daemon();
    let result = result(host);
    assert_eq!(result.metadata["error.kind"], "exit_status", "{result:#?}");
    assert_eq!(result.exit_code, Some(3));
    assert_eq!(stdout(&result), "before\nafter\n");
    place.assert_nothing_left();
}

#[test]
fn a_daemon_that_does_not_come_back_ends_the_run_and_the_next_one_removes_its_container() {
    let mut place = Place::new();
    let invocation = place.script("echo before; sleep 3600");
    let host = place.start(&invocation);
    let capture = place
        .installed
        .scene
        .capture(invocation.0["invocation_id"].as_str().unwrap());
    eventually("output", || {
        let files = fs::read_dir(capture.join("artifacts")).ok()?;
        let mut texts = files
            .flatten()
            .filter_map(|file| fs::read_to_string(file.path()).ok());
        texts.any(|text| text == "before\n").then_some(())
    });
    place.podman.kill_daemon();
    let result = result(host);
    assert_eq!(result.metadata["error.kind"], "daemon_lost", "{result:#?}");
    assert_eq!(stdout(&result), "before\n");
    assert_eq!(place.podman.containers().len(), 1);
    place.podman.start_daemon();
    place.run(&place.script("true")).expect(Status::Succeeded);
    place.assert_nothing_left();
}

#[test]
fn a_container_that_somebody_removes_ends_the_run() {
    let place = Place::new();
    let host = place.start(&place.script("echo > begun; sleep 3600"));
    begun(&place, "begun");
    place.podman.output(&["rm", "--all", "--force", "--time", "0"]);
    let result = result(host);
    assert_eq!(result.status, Status::Failed, "{result:#?}");
    let kind = result.metadata["error.kind"].as_str();
    assert!(
        ["container_removed", "exit_status"].contains(&kind),
        "{result:#?}"
    );
    place.assert_nothing_left();
}

#[test]
fn a_pull_that_takes_its_time_ends_when_the_run_is_stopped() {
    let server = Scripted::start(|request, _| {
        let line = request.line();
        if line.ends_with("/_ping") {
            Answer::new(200, "OK")
        } else if line.contains("/images/create") {
            Answer::drip("{\"status\": \"Downloading\"}\n")
        } else if line.contains("/containers/create") {
            Answer::new(404, r#"{"message": "no such image"}"#)
        } else {
            Answer::new(404, r#"{"message": "no such container"}"#)
        }
    });
    let address = server.url("").replace("http://", "tcp://");
    let config = format!("plugins.container.config.host = \"{address}\"");
    let installed = Installed::native("container").configured(&config);
    let invocation = installed
        .invocation(&[("container.image", "registry.example/large:1")])
        .with("command", json!(["true"]))
        .with("timeout_seconds", 2);
    let result = installed.run(&invocation).expect(Status::TimedOut);
    assert_eq!(
        result.error_summary.as_deref(),
        Some("timed out in the pull of the image"),
        "{result:#?}"
    );
    let progress = &result.metadata["plugin.progress"];
    assert_eq!(progress, "pulling registry.example/large:1: Downloading");
    installed.scene.assert_nothing_left();
}
