//! Daemons that are not there, go, come back, or take their time.

use super::{Place, begun, stdout};
use executor_runtime_protocol::{RuntimeResult, Status};
use executor_runtime_tests::{
    eventually,
    installed::Installed,
    podman::BUSYBOX,
    scripted::{Answer, Scripted},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;
use std::{
    fs,
    io::{Read, Write},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    process::Child,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

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

/// A socket before the daemon's at which the stream of an attached container ends in good order after so many bytes, as that of
/// a daemon does which dies and is started again at the next connection.
fn cutting_what_is_attached(daemon: PathBuf, socket: &Path, after: usize) {
    let listener = UnixListener::bind(socket).unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), UnixStream::connect(&daemon).unwrap());
            let is_attached = Arc::new(AtomicBool::new(false));
            let (asked, asking) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            let seen = Arc::clone(&is_attached);
            thread::spawn(move || {
                relay(asked, asking, |bytes| {
                    let is_attach = bytes.windows(7).any(|part| part == b"/attach");
                    seen.fetch_or(is_attach, Ordering::SeqCst);
                    true
                });
            });
            thread::spawn(move || {
                let mut told = 0;
                relay(server, client, |bytes| {
                    told += if is_attached.load(Ordering::SeqCst) {
                        bytes.len()
                    } else {
                        0
                    };
                    told <= after
                });
            });
        }
    });
}

/// Hands on what is read, as long as `goes_on` says so of it; then ends both.
fn relay(mut from: UnixStream, mut to: UnixStream, mut goes_on: impl FnMut(&[u8]) -> bool) {
    let mut buffer = [0; 64];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if !goes_on(&buffer[..read]) || to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

#[test]
fn output_is_whole_where_the_attached_stream_ends_early_and_the_daemon_answers_on() {
    let place = Place::new();
    let socket = place.installed.scene.path("cut.sock");
    let daemon = place.podman.socket();
    let config = place
        .podman
        .config("")
        .replace(&daemon.display().to_string(), &socket.display().to_string());
    cutting_what_is_attached(daemon, &socket, 600);
    let installed = Installed::native("container").configured(&config);
    let script = "for i in $(seq 1 200); do echo line number $i; done; sleep 0.3; echo end";
    let invocation = installed
        .invocation(&[("container.image", BUSYBOX)])
        .with("command", json!(["sh", "-c", script]))
        .with("timeout_seconds", 120);
    let result = installed.run(&invocation).expect(Status::Succeeded);
    let expected: String = (1..=200).map(|i| format!("line number {i}\n")).collect();
    assert_eq!(stdout(&result), expected + "end\n");
    assert_eq!(place.podman.containers(), [""; 0]);
}

#[test]
fn a_daemon_that_does_not_come_back_ends_the_run_and_the_next_one_removes_its_container() {
    let mut place = Place::new();
    let invocation = place.script("echo x > $RXP_ARTIFACTS_DIR/unfinished; echo before; sleep 3600");
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
    // What a container that may still run has made is not looked at.
    let artifacts: Vec<_> = result.artifacts.iter().map(|one| &*one.artifact_id).collect();
    assert_eq!(artifacts, ["stdout", "stderr"]);
    assert_eq!(place.podman.containers().len(), 1);
    // What would try to remove it for a while.
    for executor in place.installed.scene.processes_with("__last-will") {
        // It may have ended by now.
        let _ = kill(Pid::from_raw(executor.pid), Signal::SIGKILL);
    }
    place
        .installed
        .scene
        .assert_nothing_left_within(Duration::from_secs(20));
    place.podman.start_daemon();
    place.run(&place.script("true")).expect(Status::Succeeded);
    place.assert_nothing_left();
}

#[test]
fn a_container_is_removed_when_its_daemon_is_there_again_after_the_result() {
    let mut place = Place::new();
    let mut host = place.start(&place.script("echo > begun; sleep 3600"));
    begun(&place, "begun");
    place.podman.kill_daemon();
    place.kill_plugin();
    host.wait().unwrap();
    assert_eq!(place.podman.containers().len(), 1);
    place.podman.start_daemon();
    place
        .installed
        .scene
        .assert_nothing_left_within(Duration::from_secs(60));
    place.assert_nothing_left();
}

/// A socket before the daemon's at which a container is created as soon as `may_create` has something, whether it is still
/// waited for or not.
fn creating_late(
    daemon: PathBuf,
    socket: &Path,
    asked: Sender<()>,
    may_create: Receiver<()>,
) -> JoinHandle<()> {
    let listener = UnixListener::bind(socket).unwrap();
    let may_create = Arc::new(Mutex::new(may_create));
    let (created, creation) = mpsc::channel();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), UnixStream::connect(&daemon).unwrap());
            let (from_client, to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            let (asked, may_create, created) = (asked.clone(), Arc::clone(&may_create), created.clone());
            let is_creation = Arc::new(AtomicBool::new(false));
            let seen = Arc::clone(&is_creation);
            thread::spawn(move || {
                pass_on(from_client, &to_server, |bytes| {
                    if bytes.windows(18).any(|part| part == b"/containers/create") {
                        seen.store(true, Ordering::SeqCst);
                        asked.send(()).unwrap();
                        may_create.lock().unwrap().recv().unwrap();
                    }
                });
                // A client that is gone would be taken for a reason not to create it.
                if !seen.load(Ordering::SeqCst) {
                    let _ = to_server.shutdown(Shutdown::Write);
                }
            });
            thread::spawn(move || {
                pass_on(server, &client, |_| {
                    if is_creation.load(Ordering::SeqCst) {
                        let _ = created.send(());
                    }
                });
                let _ = client.shutdown(Shutdown::Both);
            });
        }
    });
    thread::spawn(move || creation.recv().unwrap())
}

/// Hands on what is read, also to one that is gone, and shows it before.
fn pass_on(mut from: UnixStream, mut to: &UnixStream, mut show: impl FnMut(&[u8])) {
    let mut buffer = [0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        show(&buffer[..read]);
        let _ = to.write_all(&buffer[..read]);
    }
}

#[test]
fn a_container_that_is_created_after_the_result_is_removed() {
    let mut place = Place::new();
    let socket = place.installed.scene.path("late.sock");
    let daemon = place.podman.socket();
    let config = place
        .podman
        .config("")
        .replace(&daemon.display().to_string(), &socket.display().to_string());
    let (asked, is_asked) = mpsc::channel();
    let (create, may_create) = mpsc::channel();
    let creation = creating_late(daemon, &socket, asked, may_create);
    place.installed = place.installed.configured(&config);
    let host = place.start(&place.script("true"));
    is_asked.recv().unwrap();
    place.kill_plugin();
    let result = result(host);
    assert_eq!(result.status, Status::Failed, "{result:#?}");
    assert_eq!(place.podman.containers(), [""; 0]);
    create.send(()).unwrap();
    creation.join().unwrap();
    place
        .installed
        .scene
        .assert_nothing_left_within(Duration::from_secs(60));
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
