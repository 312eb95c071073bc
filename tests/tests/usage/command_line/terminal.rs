//! A person at a terminal, which is a real one.

use executor_runtime_protocol::{RuntimeResult, Status};
use executor_runtime_tests::{
    Scene, Setup, Shown, eventually, fixtures,
    installed::Installed,
    on_terminal,
    scripted::{Answer, Scripted},
};
use std::{fs, io::Write, path::Path, process::Command};

/// Runs a shell script at a prompt.
fn script(scene: &Scene, options: &[&str], script: &str) -> Command {
    let mut command = scene.host(&["run"]);
    command.args(options).args(["--", "sh", "-c", script]);
    command
}

fn result(path: &Path) -> RuntimeResult {
    RuntimeResult::from_json(&fs::read(path).expect("it was written")).expect("it is a result")
}

/// Every line fits, or is one word.
#[track_caller]
fn assert_fits(shown: &str, columns: usize) {
    let plain = ["0", "2", "1;31", "1;32"]
        .iter()
        .fold(shown.to_owned(), |text, colour| {
            text.replace(&format!("\x1b[{colour}m"), "")
        });
    for line in plain.lines() {
        let line = line.trim_start_matches(['\r', ' ']);
        assert!(
            line.chars().count() <= columns || !line.trim().contains(' '),
            "{line:?} in {shown}"
        );
    }
}

#[test]
fn what_a_run_prints_is_shown_while_it_runs_and_the_summary_after_it() {
    let scene = Scene::new();
    let mut command = script(
        &scene,
        &["--id", "i"],
        "echo first; echo problem >&2; until [ -e go ]; do sleep 0.01; done; printf last; exit 3",
    );
    let terminal = Setup::columns(200).start(&mut command);
    terminal.await_shown("first\n");
    terminal.await_shown("problem\n");
    assert!(!terminal.so_far().contains("last"));
    scene.file("go", "");
    let Shown { shown, status, .. } = terminal.finish();
    assert_eq!(status.code(), Some(1));
    let (printed, summary) = shown.split_once("last\n").expect("the summary begins a line");
    let mut lines: Vec<_> = printed.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["first", "problem"], "{shown}");
    assert!(
        summary.starts_with("\x1b[1;31mfailed\x1b[0m i, exit code 3, "),
        "{shown}"
    );
    assert!(
        summary.contains("process exited with code 3 (exit_status)\n"),
        "{shown}"
    );
    let path = scene.capture("i").join("stdout.txt");
    let expected = format!("\x1b[2mstdout\x1b[0m (10 bytes) {}\n", path.display());
    assert!(summary.contains(&expected), "{shown}");
    assert!(!summary.contains("first"), "it is not shown twice: {shown}");
    scene.assert_nothing_left();
}

#[test]
fn both_streams_are_shown_apart_and_byte_for_byte() {
    let scene = Scene::new();
    let all: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let other: Vec<u8> = all.iter().rev().copied().chain(*b"no newline").collect();
    scene.file("all", &all);
    scene.file("other", &other);
    let mut command = script(&scene, &["--id", "i"], "cat all; cat other >&2");
    let Shown { bytes, .. } = Setup::columns(80).raw_and_apart().start(&mut command).finish();
    assert_eq!(bytes[0][..all.len()], all, "stdout");
    assert_eq!(bytes[1], other, "stderr has nothing but what the run wrote");
    let summary = String::from_utf8_lossy(&bytes[0][all.len()..]);
    assert!(
        summary.starts_with("\n\x1b[1;32msucceeded\x1b[0m i, exit code 0"),
        "{summary}"
    );
    assert_eq!(fs::read(scene.capture("i").join("stdout.txt")).unwrap(), all);
}

#[test]
fn a_person_may_want_less_to_be_shown() {
    let scene = Scene::new();
    let run = |options: &[&str], text: &str| {
        let options = [&["--id", "i"], options].concat();
        on_terminal(&mut script(&scene, &options, text), 200)
    };
    assert_eq!(run(&["--quiet"], "echo said; printf end"), "said\nend");
    assert_eq!(run(&["--quiet", "--no-follow"], "echo said"), "");
    let failed = run(&["-q", "--no-follow"], "echo said; exit 3");
    assert!(
        failed.contains("process exited with code 3 (exit_status)\n"),
        "{failed}"
    );
    assert!(!failed.contains("said") && !failed.contains("stdout"), "{failed}");
    let afterwards = run(&["--no-follow"], "echo said");
    assert!(afterwards.starts_with("\x1b[1;32msucceeded"), "{afterwards}");
    assert!(afterwards.ends_with("/stdout.txt\n  said\n"), "{afterwards}");
    // For machines it is one document, wherever it goes.
    let mut machine = scene.host(&["run", "--format", "json", "-q", "--", "echo", "said"]);
    let shown = on_terminal(&mut machine, 80);
    RuntimeResult::from_json(shown.as_bytes()).expect("one result and nothing else");
}

#[test]
fn a_terminal_that_is_held_holds_up_nothing_but_what_is_shown() {
    let scene = Scene::new();
    let mut command = script(
        &scene,
        &[
            "--id",
            "i",
            "--timeout",
            "1",
            "--grace",
            "0",
            "--output",
            "result.json",
        ],
        "head -c 30000000 /dev/zero | tr '\\0' x; : > printed; exec sleep 1000",
    );
    // A note of ours has to wait, too.
    let input = fs::File::open(scene.file("input", "forgotten")).unwrap();
    let mut terminal = Setup::columns(200).held().stdin(input).start(&mut command);
    // All is captured and the time-out kept, while almost nothing was taken from the terminal.
    let path = scene.path("result.json");
    eventually("the result being written", || path.exists().then_some(()));
    assert_eq!(result(&path).status, Status::TimedOut);
    assert!(scene.path("printed").exists(), "printing was held up");
    let captured = scene.capture("i").join("stdout.txt");
    assert_eq!(fs::metadata(captured).unwrap().len(), 30_000_000);
    terminal.release();
    let Shown { shown, status, .. } = terminal.finish();
    assert_eq!(status.code(), Some(124));
    let (printed, summary) = shown.split_once("\n\x1b[1;31mtimed out\x1b[0m i").unwrap();
    assert_eq!(printed.bytes().filter(|byte| *byte == b'x').count(), 30_000_000);
    assert!(printed.contains("note: there is input on stdin"));
    assert!(summary.contains("(28.6 MiB) "), "{summary}");
    scene.assert_nothing_left();
}

#[test]
fn what_a_held_terminal_has_not_taken_is_given_up_on_request() {
    let scene = Scene::new();
    let mut command = script(
        &scene,
        &["--id", "i", "--output", "result.json"],
        "head -c 30000000 /dev/zero | tr '\\0' x",
    );
    let mut terminal = Setup::columns(200).held().start(&mut command);
    let path = scene.path("result.json");
    eventually("the result being written", || path.exists().then_some(()));
    terminal.enter("\x03");
    // It goes on to the summary, after its helpers have ended, before the terminal takes anything more.
    eventually("the host giving up", || {
        (scene.processes().len() == 1).then_some(())
    });
    terminal.release();
    let Shown { shown, status, .. } = terminal.finish();
    assert_eq!(status.code(), Some(0), "the run had succeeded");
    assert!(shown.len() < 30_000_000);
    assert!(
        shown.contains("(28.6 MiB, ") && shown.contains(" of it shown) "),
        "{}",
        shown.trim_matches('x')
    );
}

#[test]
fn a_terminal_that_is_closed_ends_the_run_and_keeps_its_output() {
    let scene = Scene::new();
    let mut command = script(
        &scene,
        &["--id", "i", "--output", "result.json"],
        "head -c 3000000 /dev/zero | tr '\\0' x; : > printed; exec sleep 1000",
    );
    let terminal = Setup::columns(200).held().start(&mut command);
    eventually("it being printed", || {
        scene.path("printed").exists().then_some(())
    });
    let status = terminal.close();
    let result = result(&scene.path("result.json"));
    assert_eq!(result.status, Status::Cancelled, "{result:?} {status:?}");
    assert_eq!(
        fs::metadata(result.stdout_path.unwrap()).unwrap().len(),
        3_000_000
    );
    scene.assert_nothing_left();
}

#[test]
fn a_run_under_nohup_goes_on_when_its_terminal_is_closed() {
    let scene = Scene::new();
    let mut command = Command::new("sh");
    let host = executor_runtime_tests::host_binary();
    // What runs ends a while after the terminal can't be opened any more.
    let run =
        "echo up > ready; while true > \"$TERMINAL\"; do sleep 0.01; done 2> /dev/null; sleep 0.3; echo done";
    let line = format!(
        "TERMINAL=$(tty) exec nohup {} run --output result.json -- sh -c '{run}'",
        host.display()
    );
    scene
        .marked(&mut command)
        .current_dir(scene.root())
        .args(["-c", &line]);
    let terminal = Setup::columns(80).held().start(&mut command);
    scene.await_file("ready");
    let status = terminal.close();
    assert_eq!(status.code(), Some(0));
    let result = result(&scene.path("result.json"));
    assert_eq!(result.status, Status::Succeeded, "{result:?}");
    assert_eq!(fs::read_to_string(result.stdout_path.unwrap()).unwrap(), "done\n");
    scene.assert_nothing_left();
}

#[test]
fn output_over_its_cap_is_said_to_be_cut_off() {
    let scene = Scene::new();
    let mut command = script(
        &scene,
        &["--metadata", "subprocess.max_output_bytes=3"],
        "echo one; echo two",
    );
    let shown = on_terminal(&mut command, 200);
    assert!(shown.starts_with("one\n\x1b[1;32msucceeded"), "{shown}");
    assert!(shown.contains("(3 bytes) "), "{shown}");
    let expected = "  stdout was longer: only its beginning was kept (subprocess.max_output_bytes)\n";
    assert!(shown.contains(expected), "{shown}");
}

#[test]
fn ctrl_c_says_what_is_waited_for_and_a_second_one_ends_it() {
    let scene = Scene::new();
    let deaf = "trap '' TERM; printf begun; while :; do sleep 0.1; done";
    let mut terminal = Setup::columns(200).start(&mut script(&scene, &["--grace", "90.5"], deaf));
    terminal.await_shown("begun");
    terminal.enter("\x03");
    terminal.await_shown(
        "\nstopping: waiting up to 90.5s for the run to end; press Ctrl-C again to kill it now\n",
    );
    terminal.enter("\x03");
    let Shown { shown, status, .. } = terminal.finish();
    assert_eq!(status.code(), Some(130));
    assert!(shown.contains("\r\x1b[1;31mcancelled\x1b[0m"), "{shown:?}");
    scene.assert_nothing_left();

    // A run that ends by itself then is not killed, and nothing is said where nothing is to be.
    let obedient = "trap 'echo ending; exit 0' TERM; echo begun; while :; do sleep 0.01; done";
    for (options, says) in [(&[][..], true), (&["--quiet"], false)] {
        let mut terminal = Setup::columns(200).start(&mut script(&scene, options, obedient));
        terminal.await_shown("begun\n");
        terminal.enter("\x03");
        let Shown { shown, status, .. } = terminal.finish();
        assert_eq!(status.code(), Some(130));
        assert!(shown.contains("ending\n"), "{shown}");
        assert_eq!(shown.contains("stopping: waiting up to 2s"), says, "{shown}");
    }
}

#[test]
fn a_program_reads_the_terminal_or_the_pipe_that_it_is_given() {
    let scene = Scene::new();
    let reads = |options: &[&str]| script(&scene, options, "echo ready; cat; echo over");
    let mut terminal = Setup::columns(200).start(&mut reads(&["--stdin"]));
    terminal.await_shown("ready\n");
    terminal.enter("typed\n");
    // The echo of the terminal, and what the program makes of it.
    terminal.await_shown("typed\ntyped\n");
    terminal.enter("\x04");
    let Shown { shown, .. } = terminal.finish();
    assert!(shown.contains("typed\nover\n\x1b[1;32msucceeded"), "{shown}");

    let piped = |text: &str| {
        let (ours, mut theirs) = std::io::pipe().unwrap();
        theirs.write_all(text.as_bytes()).unwrap();
        ours
    };
    let note = "note: there is input on stdin, which the run does not read; give --stdin to pass it on\n";
    let shown = |options: &[&str], text: &str| {
        let setup = Setup::columns(200).stdin(piped(text));
        setup.start(&mut reads(options)).finish().shown
    };
    let given = shown(&["--stdin"], "piped\n");
    assert!(given.starts_with("ready\npiped\nover\n"), "{given}");
    let forgotten = shown(&[], "piped\n");
    assert!(forgotten.contains(note), "{forgotten}");
    assert!(forgotten.contains("ready\nover\n"), "{forgotten}");
    for silent in [shown(&[], ""), shown(&["--quiet"], "piped\n")] {
        assert!(!silent.contains("note:"), "{silent}");
    }
    // What it leaves unread is there for the next one.
    let file = scene.file("lines", "one\ntwo\n");
    let mut command = Command::new("sh");
    let host = executor_runtime_tests::host_binary();
    let line = format!(
        "read first; {} run --stdin --quiet -- cat; echo \"and $first\"",
        host.display()
    );
    scene
        .marked(&mut command)
        .current_dir(scene.root())
        .args(["-c", &line]);
    let setup = Setup::columns(80).stdin(fs::File::open(file).unwrap());
    assert_eq!(setup.start(&mut command).finish().shown, "two\nand one\n");
}

#[test]
fn input_that_can_not_be_passed_on_is_refused() {
    let scene = Scene::new();
    let document = scene.script("cat").text();
    for (arguments, reason) in [
        (
            &["run", "--stdin"][..],
            "--stdin: the invocation itself is read from stdin; give it as a FILE",
        ),
        (
            &["run", "--stdin", "-"],
            "--stdin: the invocation itself is read from stdin; give it as a FILE",
        ),
        (
            &["run", "--input", "-", "--", "cat"],
            "--input - names no file; give --stdin to pass on stdin",
        ),
    ] {
        let finished = scene.run_with(arguments, document.as_bytes());
        assert_eq!(finished.code, Some(2), "{finished:?}");
        assert!(finished.stderr.contains(reason), "{finished:?}");
    }
    // Without a terminal it is one result, as ever, and no notes.
    let finished = scene.run_with(&["run", "--stdin", "--", "cat"], b"given");
    finished.expect(Status::Succeeded);
    assert_eq!((&*finished.captured(), &*finished.stderr), ("given", ""));
    let finished = scene.run_with(&["run", "--", "cat"], b"not given");
    finished.expect(Status::Succeeded);
    assert_eq!((&*finished.captured(), &*finished.stderr), ("", ""));
    scene.file("cat.json", document);
    let finished = scene.run_with(&["run", "--stdin", "cat.json"], b"given");
    finished.expect(Status::Succeeded);
    assert_eq!(finished.captured(), "given");
}

#[test]
fn how_a_terminal_was_set_is_put_back() {
    let scene = Scene::new();
    let mut command = Command::new("sh");
    let host = executor_runtime_tests::host_binary();
    let line = format!(
        "before=$(stty -g); {} run --stdin --quiet -- stty -echo -icanon; [ \"$before\" = \"$(stty -g)\" ] && echo same",
        host.display()
    );
    scene
        .marked(&mut command)
        .current_dir(scene.root())
        .args(["-c", &line]);
    assert_eq!(on_terminal(&mut command, 80), "same\n");
}

#[test]
fn a_kind_needs_no_command_and_its_answer_is_shown() {
    for place in Installed::on_both("http") {
        let server = Scripted::start(|request, _| match &*request.target {
            "/text" => Answer::new(200, "{\"found\": true}\n\u{1b}[2Jstill here"),
            "/long" => Answer::new(200, "line\n".repeat(5000)),
            "/binary" => Answer::new(200, [0, 159, 146, 150]),
            "/echo" => Answer::new(201, request.body.clone()),
            _ => Answer::new(404, "no such thing"),
        });
        let request = |path: &str, options: &[&str]| {
            let mut command = place.scene.host(&["run", "--kind", "http", "--metadata"]);
            command
                .arg(format!("http.url={}", server.url(path)))
                .args(options);
            place.equip(&mut command);
            command
        };
        let shown = on_terminal(&mut request("/text", &["--id", "i"]), 200);
        assert!(
            shown.starts_with("\x1b[1;32msucceeded\x1b[0m i, HTTP status 200, "),
            "{shown}"
        );
        let path = place.scene.capture("i").join("artifacts/response_body");
        let expected = format!(
            "\n\x1b[2martifact\x1b[0m {}\n{{\"found\": true}}\n\\u{{1b}}[2Jstill here\n",
            path.display()
        );
        assert!(shown.ends_with(&expected), "{shown}");
        let ignored = place.scene.path(".executor_runtime/.gitignore");
        assert_eq!(fs::read_to_string(ignored).unwrap(), "*\n");

        // What an answer begins with is not told twice.
        let missing = on_terminal(&mut request("/missing", &[]), 200);
        assert_eq!(missing.matches("no such thing").count(), 1, "{missing}");
        assert!(missing.contains("\n  HTTP 404 (http_status)\n"), "{missing}");
        assert!(missing.ends_with("\nno such thing\n"), "{missing}");

        let long = on_terminal(&mut request("/long", &[]), 200);
        assert!(
            long.ends_with("(8616 bytes more)\x1b[0m\n"),
            "{}",
            &long[long.len() - 100..]
        );
        let binary = on_terminal(&mut request("/binary", &[]), 200);
        assert!(
            binary.ends_with("(the answer is not text: 4 bytes)\x1b[0m\n"),
            "{binary}"
        );
        let (ours, mut theirs) = std::io::pipe().unwrap();
        theirs.write_all(b"the body").unwrap();
        drop(theirs);
        let options = ["--stdin", "--quiet"];
        let setup = Setup::columns(80).stdin(ours);
        let echoed = setup.start(&mut request("/echo", &options)).finish().shown;
        assert_eq!(echoed, "the body\n");

        // Without a terminal there is one result, and nothing is kept that was not asked for.
        let finished = place.scene.run_command(&mut request("/text", &[]), b"");
        assert!(finished.expect(Status::Succeeded).artifacts.is_empty());
    }
}

/// A backend that is at work until the terminal has shown what it tells.
fn asynchronous(place: &Installed, server: &Scripted) -> Command {
    let mut command = place.scene.host(&["run", "--kind", "http_async"]);
    for (key, value) in [
        ("http.url", server.url("/runs")),
        ("http.poll_url_template", server.url("/runs/{run_id}")),
        ("http.poll_run_id_path", "id".to_owned()),
        ("http.poll_status_path", "status".to_owned()),
        ("http.poll_terminal_states", "completed".to_owned()),
        ("http.poll_interval_seconds", "0.05".to_owned()),
    ] {
        command.args(["--metadata", &format!("{key}={value}")]);
    }
    place.equip(&mut command);
    command
}

#[test]
fn progress_is_told_on_one_line_that_changes() {
    const STEPS: [&str; 3] = [
        "waiting for a machine that is large enough for this",
        "running",
        "cleaning \u{1b}[2J up",
    ];
    for (term, no_colour) in [("xterm", false), ("xterm", true), ("dumb", false)] {
        let place = Installed::component("http_async");
        let step = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let told = std::sync::Arc::clone(&step);
        let server = Scripted::start(move |request, _| match &*request.method {
            "POST" => Answer::new(202, r#"{"id": "7"}"#),
            _ => {
                let step = told.load(std::sync::atomic::Ordering::SeqCst);
                let status = STEPS.get(step).unwrap_or(&"completed");
                Answer::new(200, serde_json::json!({ "status": status }).to_string())
            }
        });
        let mut command = asynchronous(&place, &server);
        command.env("TERM", term);
        if no_colour {
            command.env("NO_COLOR", "1");
        }
        let terminal = Setup::columns(40).start(&mut command);
        let lines = [
            "http_async: waiting for a machine tha…",
            "http_async: running",
            "http_async: cleaning \\u{1b}[2J up",
        ];
        for (number, line) in lines.iter().enumerate() {
            terminal.await_shown(line);
            step.store(number + 1, std::sync::atomic::Ordering::SeqCst);
        }
        let Shown { shown, status, .. } = terminal.finish();
        assert_eq!(status.code(), Some(0), "{shown:?}");
        let (clear, end) = match (term, no_colour) {
            ("dumb", _) => ("\n", "\n"),
            (_, true) => ("\r", "\r"),
            _ => ("\r\x1b[K", "\r\x1b[K\x1b[1;32m"),
        };
        let plain = shown.replace(&" ".repeat(19), "");
        let (progress, summary) = plain.split_at(plain.find("succeeded").expect("it succeeded"));
        assert!(progress.ends_with(end), "{shown:?}");
        assert_eq!(
            progress.contains('\x1b'),
            term == "xterm" && !no_colour,
            "{shown:?}"
        );
        assert_eq!(progress.contains('\n'), term == "dumb", "{shown:?}");
        let mut places: Vec<_> = lines
            .iter()
            .map(|line| progress.find(line).expect("it is there"))
            .collect();
        assert!(places.is_sorted(), "{shown:?}");
        // Each one takes the place of the one before.
        places.remove(0);
        assert!(
            places.iter().all(|place| progress[..*place].ends_with(clear)),
            "{shown:?}"
        );
        assert!(!summary.contains("HTTP status"), "{shown:?}");
        assert_fits(summary, 40);
    }
}

#[test]
fn log_lines_and_notes_come_above_the_line_that_tells_progress() {
    for place in Installed::on_both("http_async") {
        let server = Scripted::start(|request, number| match &*request.method {
            "POST" => Answer::new(202, r#"{"id": "7"}"#),
            _ if number > 5 && number % 2 == 0 => Answer::new(503, "down"),
            _ => Answer::new(200, r#"{"status": "running"}"#),
        });
        let mut command = asynchronous(&place, &server);
        command.args(["--metadata", "http.poll_max_failures=1"]);
        let mut terminal = Setup::columns(200).start(&mut command);
        terminal.await_shown("in a row");
        terminal.await_shown("HTTP 503: down");
        terminal.enter("\x03");
        let Shown { shown, status, .. } = terminal.finish();
        assert_eq!(status.code(), Some(130), "{shown:?}");
        let (before, after) = shown.split_once("in a row").expect("it was awaited");
        let line = "http_async: running";
        let clear = "\r\x1b[K";
        assert!(before.contains(&format!("{line}{clear}")), "{shown:?}");
        assert!(after.contains(&format!("\"\n{line}")), "{shown:?}");
        let note = "stopping: waiting up to 2s for the run to end; press Ctrl-C again to kill it now\n";
        assert!(after.contains(&format!("{clear}\r{note}")), "{shown:?}");
        assert!(after.contains("cancelled\x1b[0m"), "{shown:?}");
    }
}

#[test]
fn a_person_sees_what_a_plugin_logs_and_what_it_puts_into_the_receipt() {
    for plugin in [
        fixtures::component("fixture-greet"),
        fixtures::native("fixture-greet"),
    ] {
        let place = Installed::file("greet", &plugin);
        let run = |options: &[&str], given: &[&str]| {
            let options = [options, &["run", "--kind", "greet"], given].concat();
            let mut command = place.scene.host(&options);
            on_terminal(place.equip(&mut command), 200)
        };
        let named = ["--metadata", "greet.name=Ada"];
        let shown = run(&[], &named);
        let (before, after) = shown.split_once("succeeded").expect("it succeeded");
        assert!(before.contains("\rgreet: greeting Ada\n"), "{shown:?}");
        assert!(
            after.contains("receipt\x1b[0m greet.text = Hello, Ada!\n"),
            "{shown}"
        );
        // Asked for, it is in the log, once.
        let logged = run(&["--log-level", "info"], &named);
        assert_eq!(logged.matches("greeting Ada").count(), 1, "{logged}");
        assert!(!logged.contains("greet: greeting"), "{logged}");
        for less in [&["--log-level", "error"][..], &["--log-level", "off"]] {
            let quiet = run(less, &named);
            assert!(!quiet.contains("greeting"), "{quiet}");
        }
        let quiet = run(&[], &["-q", "--metadata", "greet.name=Ada"]);
        assert!(!quiet.contains("greeting"), "{quiet}");
        let missing = run(&[], &[]);
        assert!(
            missing.contains("greet.name: found nothing, expected a string (Who is greeted)"),
            "{missing}"
        );
    }
}

#[test]
fn a_run_in_the_background_does_not_read_the_terminal() {
    let scene = Scene::new();
    let mut command = Command::new("sh");
    let host = executor_runtime_tests::host_binary();
    let line = format!(
        "set -m; {} run --stdin -- cat & wait $!; echo \"status $?\"",
        host.display()
    );
    scene
        .marked(&mut command)
        .current_dir(scene.root())
        .args(["-c", &line]);
    let shown = on_terminal(&mut command, 200);
    let expected = "error: --stdin: this command is in the background of its terminal, and can't read from it; \
                    run it in the foreground, or redirect its stdin\nstatus 2\n";
    assert!(
        shown
            .replace("\x1b[1;31m", "")
            .replace("\x1b[0m", "")
            .contains(expected),
        "{shown:?}"
    );
    assert!(!scene.path(".executor_runtime").exists());
}

#[test]
fn a_terminal_gets_no_escape_sequence_that_it_did_not_ask_for_and_no_line_that_is_too_long() {
    let place = Installed::component("http");
    let scene = &place.scene;
    scene.file("wrong.json", r#"{"command": [], "comand": 1}"#);
    scene.file("right.json", scene.script("true").text());
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb"), ("TERM", "")] {
        let shown = |mut command: Command| on_terminal(place.equip(&mut command).env(name, value), 40);
        let all = [
            shown(script(scene, &[], "echo out; echo err >&2; exit 3")),
            shown(script(
                scene,
                &["--no-follow", "--id", "\u{1b}[2J"],
                "echo out; kill -9 $$",
            )),
            shown(script(
                scene,
                &["--timeout", "1", "--grace", "0"],
                "exec sleep 1000",
            )),
            shown(scene.host(&["run", "--kind", "no_such_kind"])),
            shown(scene.host(&["run", "--", "./miss\u{1b}[2Jing"])),
            shown(scene.host(&["run", "miss\u{1b}[2Jing.json"])),
            shown(scene.host(&["run"])),
            shown(scene.host(&["kinds"])),
            shown(scene.host(&["plugin", "list"])),
            shown(scene.host(&["plugin", "inspect", "http"])),
            shown(scene.host(&["validate", "wrong.json"])),
            shown(scene.host(&["run", "wrong.json"])),
            shown(scene.host(&["explain", "right.json"])),
            shown(scene.host(&["run", "--timeout", "\u{1b}[2J\u{9b}"])),
        ];
        for shown in all {
            assert!(!shown.contains('\x1b'), "{name}={value}: {shown:?}");
            assert_fits(&shown, 40);
        }
        let mut terminal = {
            let mut command = script(scene, &[], "echo begun; exec sleep 1000");
            Setup::columns(40).start(command.env(name, value))
        };
        terminal.await_shown("begun\n");
        terminal.enter("\x03");
        let Shown { shown, .. } = terminal.finish();
        let expected =
            "stopping: waiting up to 2s for the run\n  to end; press Ctrl-C again to kill it\n  now\n";
        assert!(shown.contains(expected), "{shown:?}");
        assert!(!shown.contains('\x1b'), "{shown:?}");
    }
    let shown = on_terminal(
        &mut scene.host(&["run", "--timeout", "a\u{7}\u{9b}b", "file"]),
        80,
    );
    assert!(shown.contains("invalid value 'a\\u{9b}b' for"), "{shown:?}");
    // Names of files, also those of documents that are wrong.
    scene.file("bad\u{1b}[2J.json", "{}");
    let shown = on_terminal(&mut scene.host(&["run", "bad\u{1b}[2J.json"]), 80);
    assert!(shown.contains("'bad\\u{1b}[2J.json' is not a valid"), "{shown:?}");
}
