//! SIGTERM, SIGINT and SIGHUP to the host end its runs in good order, with a result; a second one at once.

use executor_runtime_protocol::{RuntimeResult, Status};
use executor_runtime_tests::{Scene, helper_binary};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const SIGNALS: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id() as i32), signal).unwrap();
}

#[test]
fn one_signal_cancels_the_run_with_a_result_printed_and_written() {
    for signal in SIGNALS {
        let scene = Scene::new();
        let path = scene.path("result.json");
        let invocation = scene
            .nasty(&["leave-a-child-that-ignores-term", "ready"])
            .grace(0.3)
            .path("output_result_path", &path);
        let host = scene.start(&invocation);
        scene.await_file("ready");
        send(&host, signal);
        let finished = scene.finish(host);
        let result = finished.expect(Status::Cancelled);
        scene.assert_nothing_left();
        assert_eq!(finished.code, Some(128 + signal as i32), "{signal}");
        assert_eq!(result.metadata["error.kind"], "cancelled");
        assert_eq!(
            result.exit_code,
            Some(-15),
            "the program is asked to end by TERM, whatever the host was told"
        );
        assert_eq!(fs::read(&path).unwrap(), finished.stdout, "{signal}");
    }
}

#[test]
fn a_program_that_ignores_term_has_its_grace_and_no_more() {
    let scene = Scene::new();
    let host = scene.start(&scene.nasty(&["ignore-term", "ready"]).grace(0.5));
    scene.await_file("ready");
    let start = Instant::now();
    send(&host, Signal::SIGTERM);
    let finished = scene.finish(host);
    let took = start.elapsed();
    let result = finished.expect(Status::Cancelled);
    assert_eq!(result.exit_code, Some(-9));
    assert!(
        took >= Duration::from_millis(500) && took < Duration::from_millis(800),
        "{took:?}"
    );
    scene.assert_nothing_left();
}

#[test]
fn a_second_signal_kills_at_once_and_there_is_still_a_result() {
    for (first, second) in [
        (Signal::SIGINT, Signal::SIGINT),
        (Signal::SIGTERM, Signal::SIGHUP),
        (Signal::SIGHUP, Signal::SIGTERM),
    ] {
        let scene = Scene::new();
        // The program tells that it was asked to end, so that the second signal is one.
        let invocation = scene
            .script("trap 'echo asked > asked' TERM; echo up > ready; while :; do sleep 0.01; done")
            .grace(600.0)
            .path("output_result_path", &scene.path("result.json"));
        let host = scene.start(&invocation);
        scene.await_file("ready");
        send(&host, first);
        scene.await_file("asked");
        let start = Instant::now();
        send(&host, second);
        let finished = scene.finish(host);
        let took = start.elapsed();
        let result = finished.expect(Status::Cancelled);
        assert!(took < Duration::from_millis(300), "{took:?}");
        scene.assert_nothing_left();
        assert_eq!(result.exit_code, Some(-9));
        assert_eq!(finished.code, Some(128 + first as i32));
        assert_eq!(fs::read(scene.path("result.json")).unwrap(), finished.stdout);
    }
}

#[test]
fn all_eight_runs_of_a_process_are_cancelled() {
    for signal in SIGNALS {
        let scene = Scene::new();
        let mut command = Command::new(helper_binary("many-runs"));
        let host = scene
            .marked(&mut command)
            .args(["8", scene.root().to_str().unwrap()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        for run in 0..8 {
            scene.await_file(&format!("ready-{run}"));
        }
        send(&host, signal);
        let finished = scene.finish(host);
        scene.assert_nothing_left();
        let printed = String::from_utf8(finished.stdout).unwrap();
        assert_eq!(
            printed,
            "cancelled\n".repeat(8) + &format!("signal {}\n", signal as i32)
        );
        for run in 0..8 {
            let document = fs::read(scene.path(&format!("result-{run}.json"))).unwrap();
            let result = RuntimeResult::from_json(&document).unwrap();
            assert_eq!(result.status, Status::Cancelled);
        }
    }
}

#[test]
fn a_signal_to_the_whole_process_group_reaches_the_program_through_the_host_only() {
    use std::os::unix::process::CommandExt;
    let scene = Scene::new();
    let document = scene.file(
        "invocation.json",
        scene
            .script("trap 'echo INT' INT; trap 'echo TERM; exit 0' TERM; echo up > ready; while :; do sleep 0.01; done")
            .text(),
    );
    // As a terminal does it at Ctrl-C.
    let host = scene
        .host(&["run", document.to_str().unwrap()])
        .process_group(0)
        .spawn()
        .unwrap();
    scene.await_file("ready");
    nix::sys::signal::killpg(Pid::from_raw(host.id() as i32), Signal::SIGINT).unwrap();
    let finished = scene.finish(host);
    finished.expect(Status::Cancelled);
    assert_eq!(finished.captured(), "TERM\n");
    assert_eq!(finished.code, Some(130));
    scene.assert_nothing_left();
}

#[test]
fn a_signal_that_the_host_was_started_to_ignore_ends_nothing() {
    let scene = Scene::new();
    let document = scene.file(
        "invocation.json",
        scene
            .script("trap 'echo TERM > asked; exit 1' TERM; echo up > ready; until [ -e go ]; do sleep 0.01; done")
            .text(),
    );
    // As `nohup` does with SIGHUP, and a shell without job control with SIGINT for what is in the background.
    let start = || {
        let mut host = scene.host_from(
            std::path::Path::new("sh"),
            &["-c", "trap '' INT HUP; exec \"$0\" \"$@\""],
        );
        host.arg(executor_runtime_tests::host_binary())
            .args(["run", document.to_str().unwrap()])
            .spawn()
            .unwrap()
    };
    let host = start();
    scene.await_file("ready");
    send(&host, Signal::SIGHUP);
    send(&host, Signal::SIGINT);
    scene.file("go", "");
    let finished = scene.finish(host);
    finished.expect(Status::Succeeded);
    assert!(!scene.path("asked").exists());
    scene.assert_nothing_left();

    // SIGTERM is always meant.
    for file in ["ready", "go"] {
        fs::remove_file(scene.path(file)).unwrap();
    }
    let host = start();
    scene.await_file("ready");
    send(&host, Signal::SIGTERM);
    scene.finish(host).expect(Status::Cancelled);
    scene.assert_nothing_left();
}
