//! The clients against a host that serves.

use super::{client, document, run};
use executor_runtime_protocol::{RuntimeResult, Status};
use executor_runtime_tests::{
    Finished, Scene, Setup, eventually, fixtures,
    installed::Installed,
    scripted::{Answer, Scripted},
    serving::{Serving, command},
};
use serde_json::{Value, json};
use std::{
    fs,
    io::Read,
    os::unix::process::ExitStatusExt,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Waits until a run has this status.
#[track_caller]
fn await_status(scene: &Scene, id: &str, status: &str) {
    eventually(&format!("'{id}' being {status}"), || {
        let listed = document(&run(scene, &["ps", "--all"]));
        let mut runs = listed["runs"].as_array().unwrap().iter();
        runs.any(|run| run["invocation_id"] == id && run["status"] == status)
            .then_some(())
    });
}

fn text(finished: &Finished) -> String {
    String::from_utf8_lossy(&finished.stdout).into_owned()
}

#[test]
fn a_run_is_followed_byte_for_byte_while_it_grows() {
    let scene = Scene::new();
    let _serving = Serving::start(&scene, &[]);
    let script = "i=0; while [ $i -lt 3000 ]; do echo \"line $i\"; i=$((i+1)); done; : > written; \
                  until [ -e go ]; do sleep 0.01; done; head -c 5000000 /dev/urandom; printf end; echo err >&2; exit 7";
    let submitted = run(&scene, &["submit", "--id", "grows", "--", "sh", "-c", script]);
    assert_eq!(submitted.code, Some(0), "{submitted:?}");
    assert_eq!(document(&submitted)["invocation_id"], "grows");
    let mut follower = client(&scene, &["logs", "-f", "grows"]).spawn().unwrap();
    let mut output = follower.stdout.take().unwrap();
    let mut seen = vec![0; 7];
    output.read_exact(&mut seen).unwrap();
    eventually("the first part", || scene.path("written").exists().then_some(()));
    let listed = document(&run(&scene, &["ps"]));
    assert_eq!(listed["runs"][0]["status"], "running", "{listed}");
    let so_far = eventually("all of the first part being kept", || {
        let so_far = run(&scene, &["logs", "grows", "--offset", "7"]).stdout;
        so_far.ends_with(b"\nline 2999\n").then_some(so_far)
    });
    assert!(so_far.starts_with(b"line 1\n"));
    scene.file("go", "");
    output.read_to_end(&mut seen).unwrap();
    assert!(follower.wait().unwrap().success());
    let captured = fs::read(scene.capture("grows").join("stdout.txt")).unwrap();
    assert!(
        seen == captured && captured.ends_with(b"end"),
        "{} of {} bytes",
        seen.len(),
        captured.len()
    );
    assert!(run(&scene, &["logs", "grows"]).stdout == captured, "afterwards");
    assert_eq!(text(&run(&scene, &["logs", "--stderr", "-f", "grows"])), "err\n");

    let waited = run(&scene, &["wait", "grows"]);
    assert_eq!(waited.code, Some(1));
    let result = RuntimeResult::from_json(&waited.stdout).unwrap();
    assert_eq!((result.status, result.exit_code), (Status::Failed, Some(7)));
    assert_eq!(
        run(&scene, &["wait", "--propagate-exit-code", "grows"]).code,
        Some(7)
    );
    assert_eq!(document(&run(&scene, &["ps"]))["runs"], json!([]));
    let mut ps = client(&scene, &["ps", "--all", "--since", "1h"]);
    let shown = Setup::columns(60).start(&mut ps).finish();
    let rows: Vec<_> = shown.shown.lines().collect();
    assert_eq!(rows.len(), 2, "{shown:?}");
    let headings: Vec<_> = rows[0].split_whitespace().collect();
    assert_eq!(headings, ["ID", "KIND", "STATUS", "AGE", "TIME"]);
    assert!(rows[1].starts_with("grows  subprocess  failed  "), "{shown:?}");
}

#[test]
fn runs_are_cancelled_where_they_are() {
    let scene = Scene::new();
    let _serving = Serving::start(&scene, &["-j1"]);
    for id in ["first", "second", "third"] {
        run(&scene, &["submit", "--id", id, "--", "sleep", "1000"]);
    }
    await_status(&scene, "first", "running");
    let listed = document(&run(&scene, &["ps"]));
    let ids: Vec<_> = listed["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| &run["invocation_id"])
        .collect();
    assert_eq!(ids, ["first", "third", "second"], "what is running comes first");
    assert_eq!(run(&scene, &["wait", "--timeout", "0.05", "third"]).code, Some(5));
    let waiting = client(&scene, &["wait", "second", "first", "third"])
        .spawn()
        .unwrap();
    let cancelled = run(&scene, &["cancel", "--now", "third", "second", "first"]);
    assert_eq!(cancelled.code, Some(0), "{cancelled:?}");
    let waited = scene.finish(waiting);
    assert_eq!(waited.code, Some(1), "{waited:?}");
    let lines: Vec<Value> = text(&waited)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    assert!(
        lines.iter().all(|result| result["status"] == "cancelled"),
        "{lines:?}"
    );
    assert_eq!(run(&scene, &["wait", "second"]).code, Some(130));
    let again = run(&scene, &["cancel", "--format", "human", "first"]);
    assert_eq!(text(&again), "first: cancelled\n");
}

#[test]
fn what_is_refused_is_told() {
    let scene = Scene::new();
    let _serving = Serving::start(&scene, &["-j1", "--max-queued", "1"]);
    run(&scene, &["submit", "--id", "i", "--", "sleep", "1000"]);
    await_status(&scene, "i", "running");
    let again = run(
        &scene,
        &["submit", "--format", "human", "--id", "i", "--", "sleep", "1000"],
    );
    assert_eq!((again.code, &*text(&again)), (Some(0), "i\n"));
    assert_eq!(
        again.stderr,
        "note: the host has had this run already (running)\n"
    );
    let other = run(&scene, &["submit", "--id", "i", "--", "sleep", "2000"]);
    assert_eq!(other.code, Some(2), "{other:?}");
    assert_eq!(
        run(&scene, &["submit", "--id", "queued", "--", "true"]).code,
        Some(0)
    );
    let full = run(&scene, &["submit", "--id", "too many", "--", "true"]);
    assert_eq!(full.code, Some(6), "{full:?}");
    let told = "error: the queue is full (1 run is waiting); try again in 1 s (";
    assert!(full.stderr.starts_with(told), "{full:?}");
    let unknown = run(&scene, &["logs", "too many"]);
    assert!(
        unknown
            .stderr
            .starts_with("error: no run with id 'too many' on unix:"),
        "{unknown:?}"
    );
}

#[test]
fn what_can_not_be_printed_is_told_and_exits_with_4() {
    let scene = Scene::new();
    let _serving = Serving::start(&scene, &[]);
    let submitted = run(&scene, &["submit", "--id", "done", "--", "echo", "x"]);
    assert_eq!(submitted.code, Some(0), "{submitted:?}");
    assert_eq!(run(&scene, &["wait", "done"]).code, Some(0));
    for arguments in [
        &["submit", "--id", "new", "--", "echo", "x"][..],
        &["submit", "--id", "human", "--format", "human", "--", "echo", "x"],
        &["submit", "--id", "waits", "--wait", "--", "echo", "x"],
        &["submit", "--id", "follows", "--follow", "--", "echo", "x"],
        &["ps", "--all"],
        &["ps", "--all", "--format", "human"],
        &["logs", "done"],
        &["logs", "-f", "done"],
        &["logs", "--both", "done"],
        &["wait", "done"],
        &["wait", "--format", "human", "done"],
        &["cancel", "done"],
        &["prune", "--older-than", "7d"],
    ] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let finished = scene.run_command(client(&scene, arguments).stdout(full), b"");
        assert_eq!(finished.code, Some(4), "{arguments:?}: {finished:?}");
        assert!(
            finished.stderr.contains("No space left on device"),
            "{finished:?}"
        );
        let (ours, theirs) = std::io::pipe().unwrap();
        drop(ours);
        let finished = scene.run_command(client(&scene, arguments).stdout(theirs), b"");
        assert!(
            matches!(finished.code, Some(4 | 141)),
            "{arguments:?}: {finished:?}"
        );
        assert!(!finished.stderr.contains("error"), "{finished:?}");
    }
}

#[test]
fn runs_are_watched_on_a_terminal() {
    let scene = Scene::new();
    let _serving = Serving::start(&scene, &[]);
    let refused = run(&scene, &["ps", "--watch"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(
        refused
            .stderr
            .contains("while executor-runtime ps; do sleep 2; done"),
        "{refused:?}"
    );
    let mut terminal = Setup::columns(60).start(&mut client(&scene, &["ps", "--watch", "--all"]));
    terminal.await_shown("STATUS");
    let submitted = run(&scene, &["submit", "--id", "comes", "--", "sleep", "60"]);
    assert_eq!(submitted.code, Some(0), "{submitted:?}");
    terminal.await_shown("running");
    assert_eq!(run(&scene, &["cancel", "comes"]).code, Some(0));
    terminal.await_shown("cancelled");
    terminal.enter("\x03");
    let shown = terminal.finish();
    assert_eq!(shown.status.signal(), Some(libc::SIGINT), "{shown:?}");
}

#[test]
fn ids_are_any_text() {
    let scene = Scene::new();
    let _serving = Serving::start(&scene, &[]);
    for id in ["a/b?c#d", "%2F", "für\n1\u{1b}[2J", "-x", "a b+c&d=e"] {
        let id_option = format!("--id={id}");
        let waited = run(&scene, &["submit", "--wait", &id_option, "--", "echo", "hello"]);
        assert_eq!(waited.code, Some(0), "{waited:?}");
        assert_eq!(document(&waited)["invocation_id"], id);
        assert_eq!(text(&run(&scene, &["logs", "-f", "--", id])), "hello\n", "{id}");
        assert_eq!(run(&scene, &["wait", "--", id]).code, Some(0));
        assert_eq!(
            document(&run(&scene, &["cancel", "--", id]))["runs"][0]["invocation_id"],
            id
        );
    }
    let shown = run(&scene, &["ps", "--all", "--format", "human"]);
    assert!(
        text(&shown).contains("für\\n1\\u{1b}[2J   subprocess  succeeded"),
        "{shown:?}"
    );
    assert_eq!(text(&shown).lines().count(), 6);
}

#[test]
fn what_ended_is_forgotten_on_request() {
    let scene = Scene::new();
    let _serving = Serving::start(&scene, &[]);
    for id in ["a", "b"] {
        assert_eq!(
            run(&scene, &["submit", "--wait", "--id", id, "--", "true"]).code,
            Some(0)
        );
    }
    let none = run(&scene, &["prune", "--older-than", "1d", "--captures"]);
    assert_eq!(
        document(&none),
        json!({"runs": 0, "captures": 0, "captures_kept": 0})
    );
    let pruned = run(
        &scene,
        &["prune", "--older-than", "0", "--captures", "--format", "human"],
    );
    assert_eq!(
        text(&pruned),
        "removed 2 runs from the journal and 2 directories of their output\n"
    );
    assert!(!scene.capture("a").exists());
    assert_eq!(document(&run(&scene, &["ps", "--all"]))["runs"], json!([]));
    assert_eq!(run(&scene, &["wait", "a", "b"]).code, Some(2));
}

#[test]
fn a_run_in_the_host_looks_as_one_at_the_prompt() {
    let scene = Scene::new();
    let _serving = Serving::start(&scene, &[]);
    let script = "echo one; echo two >&2; printf three; exit 3";
    let mut submit = client(
        &scene,
        &[
            "submit", "-f", "--id", "i", "--env", "A=b", "--", "sh", "-c", script,
        ],
    );
    let shown = Setup::columns(100).raw_and_apart().start(&mut submit).finish();
    assert_eq!(shown.status.code(), Some(1), "{shown:?}");
    assert!(
        shown.shown.starts_with("one\nthree\nfailed i, exit code 3, "),
        "{shown:?}"
    );
    assert!(
        shown
            .shown
            .contains("\n  process exited with code 3 (exit_status)\n"),
        "{shown:?}"
    );
    assert_eq!(
        shown.errors,
        "submitted i; Ctrl-C ends this command, and not the run\ntwo\n"
    );
    let scripted = run(
        &scene,
        &["submit", "-f", "--propagate-exit-code", "--", "sh", "-c", script],
    );
    assert_eq!((scripted.code, &*text(&scripted)), (Some(3), "one\nthree"));
    assert!(scripted.stderr.starts_with("two\nfailed "), "{scripted:?}");
}

#[test]
fn progress_is_told_while_a_run_is_waited_for() {
    let place = Installed::component("http_async");
    let scene = &place.scene;
    let _serving = Serving::started(scene, place.equip(&mut command(scene, &[])));
    let step = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&step);
    let backend = Scripted::start(move |request, _| match &*request.method {
        "POST" => Answer::new(202, r#"{"id": "7"}"#),
        _ => {
            let status = ["starting", "working"]
                .get(told.load(Ordering::SeqCst))
                .unwrap_or(&"completed");
            Answer::new(200, json!({ "status": status }).to_string())
        }
    });
    let invocation = place.invocation(&[
        ("http.url", &backend.url("/runs")),
        ("http.poll_url_template", &backend.url("/runs/{run_id}")),
        ("http.poll_run_id_path", "id"),
        ("http.poll_status_path", "status"),
        ("http.poll_terminal_states", "completed"),
        ("http.poll_interval_seconds", "0.05"),
    ]);
    let file = scene.file("invocation.json", invocation.text());
    let mut submit = client(scene, &["submit", "--wait", file.to_str().unwrap()]);
    let terminal = Setup::columns(80).start(&mut submit);
    for (number, line) in ["http_async: starting", "http_async: working"].iter().enumerate() {
        terminal.await_shown(line);
        step.store(number + 1, Ordering::SeqCst);
    }
    let shown = terminal.finish();
    assert_eq!(shown.status.code(), Some(0), "{shown:?}");
    assert!(shown.shown.contains("succeeded "), "{shown:?}");
}

#[test]
fn what_a_plugin_logs_is_told_while_its_run_is_waited_for() {
    let place = Installed::file("greet", &fixtures::component("fixture-greet"));
    let scene = &place.scene;
    let _serving = Serving::started(scene, place.equip(&mut command(scene, &[])));
    let invocation = place.invocation(&[("greet.name", "Ada"), ("greet.sleep", "3")]);
    let file = scene.file("invocation.json", invocation.text());
    let mut submit = client(scene, &["submit", "--wait", file.to_str().unwrap()]);
    let terminal = Setup::columns(80).start(&mut submit);
    terminal.await_shown("greet: greeting Ada\n");
    let shown = terminal.finish();
    assert_eq!(shown.status.code(), Some(0), "{shown:?}");
}

#[test]
fn clients_go_on_with_the_next_host() {
    let scene = Scene::new();
    let serving = Serving::start(&scene, &[]);
    run(
        &scene,
        &[
            "submit",
            "--id",
            "i",
            "--",
            "sh",
            "-c",
            "echo begun; exec sleep 1000",
        ],
    );
    let mut follower = client(&scene, &["logs", "-f", "i"]).spawn().unwrap();
    let mut output = follower.stdout.take().unwrap();
    let mut seen = [0; 6];
    output.read_exact(&mut seen).unwrap();
    let waiting = client(&scene, &["wait", "i"])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    // It has asked the first host, not found none.
    let descriptors = format!("/proc/{}/fd", waiting.id());
    eventually("the client being connected", || {
        let entries = std::fs::read_dir(&descriptors).ok()?;
        let mut links = entries
            .flatten()
            .filter_map(|entry| std::fs::read_link(entry.path()).ok());
        links
            .any(|link| link.to_string_lossy().starts_with("socket:"))
            .then_some(())
    });
    // Dropping it kills it.
    drop(serving);
    let _next = Serving::start(&scene, &[]);
    let waited = scene.finish(waiting);
    assert_eq!(waited.code, Some(1), "{waited:?}");
    let result = RuntimeResult::from_json(&waited.stdout).unwrap();
    assert_eq!(result.metadata["error.kind"], "host_lost");
    let mut rest = Vec::new();
    output.read_to_end(&mut rest).unwrap();
    assert_eq!((&seen, &*rest), (b"begun\n", &b""[..]));
    let followed = scene.finish(follower);
    assert_eq!((followed.code, &*followed.stderr), (Some(0), ""));
}
