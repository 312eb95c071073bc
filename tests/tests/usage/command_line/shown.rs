//! What people are shown of a run.

use super::*;

#[test]
fn results_are_for_people_or_for_machines() {
    let scene = Scene::new();
    let run = |format: &[&str], script: &str| {
        let arguments = [format, &["run", "--", "sh", "-c", script]].concat();
        scene.run_with(&arguments, b"")
    };
    RuntimeResult::from_json(&run(&[], "true").stdout).unwrap();
    RuntimeResult::from_json(&run(&["--format", "json"], "exit 1").stdout).unwrap();
    let finished = run(&["--format", "human"], "echo hello; exit 3");
    assert_eq!(finished.code, Some(1));
    let shown = text(&finished.stdout);
    assert!(shown.contains("process exited with code 3"), "{shown}");
    assert!(
        !shown.contains('\u{1b}'),
        "no colour where there is no terminal: {shown}"
    );
}

#[test]
fn what_is_shown_to_people_does_not_steer_their_terminal() {
    let scene = Scene::new();
    let script = "printf 'a\\tb\\033[2J\\342\\200\\256c\\302\\233d\\n'";
    let arguments = [
        "run",
        "--format",
        "human",
        "--id",
        "i\u{1b}[31m\u{202e}",
        "--",
        "sh",
        "-c",
        script,
    ];
    let finished = scene.run_with(&arguments, b"");
    let shown = text(&finished.stdout);
    assert!(shown.starts_with("succeeded i\\u{1b}[31m\\u{202e}, "), "{shown}");
    assert!(
        shown.contains("\n  a\tb\\u{1b}[2J\\u{202e}c\\u{9b}d\n"),
        "{shown}"
    );
    let missing = scene.run_with(&["run", "missing\u{1b}[2J.json"], b"");
    assert!(
        missing.stderr.contains("'missing\\u{1b}[2J.json' does not exist"),
        "{}",
        missing.stderr
    );
}

#[test]
fn what_a_run_puts_in_the_place_of_its_output_is_not_shown() {
    let scene = Scene::new();
    let secret = scene.file("secret", "do not show\n");
    for (replace, code, expected) in [
        ("mkfifo \"$f\"".to_owned(), 0, "said"),
        (format!("ln -s '{}' \"$f\"", secret.display()), 0, "said"),
        ("mkdir \"$f\"".to_owned(), 1, "its stdout could not be kept"),
    ] {
        let script =
            format!("echo said; for f in .executor_runtime/i/std*.txt; do rm \"$f\"; {replace}; done");
        let arguments = ["run", "--format", "human", "--id", "i", "--", "sh", "-c", &script];
        let mut command = scene.host_from(Path::new("timeout"), &["10"]);
        command.arg(executor_runtime_tests::host_binary()).args(arguments);
        let finished = scene.run_command(&mut command, b"");
        assert_eq!(finished.code, Some(code), "{replace}: {finished:?}");
        let shown = text(&finished.stdout);
        assert!(shown.contains(expected), "{replace}: {shown}");
        assert!(!shown.contains("do not show"), "{replace}: {shown}");
    }
}

#[test]
fn limits_are_explained_with_units_to_people_only() {
    let scene = Scene::new();
    let invocation = scene
        .script("true")
        .timeout(90, 1.5)
        .metadata("limits.memory_bytes", "65536 KiB")
        .text();
    let shown = scene.run_with(&["explain", "--format", "human"], invocation.as_bytes());
    let shown = text(&shown.stdout);
    for expected in [
        "limits.memory_bytes = 64 MiB\n",
        "subprocess.grace_seconds = 1.5 s\n",
        "subprocess.max_output_bytes = 256 MiB\n",
        "timeout_seconds = 90 s\n",
    ] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    let json = scene.run_with(&["explain", "--format", "json"], invocation.as_bytes());
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["limits"]["limits.memory_bytes"], "67108864");
    assert_eq!(json["limits"]["subprocess.grace_seconds"], "1.5");
}

#[test]
fn a_person_is_told_of_what_a_run_left_behind_and_of_what_its_plugin_added() {
    let scene = Scene::new();
    let human = |script: &str| {
        let finished = scene.run_with(&["run", "--format", "human", "--", "sh", "-c", script], b"");
        text(&finished.stdout).to_owned()
    };
    let shown = human("sleep 1000 & exit 3");
    let expected = "\n  process exited with code 3 (exit_status)\n  1 process outlived the main process, and was ended\n";
    assert!(shown.contains(expected), "{shown}");
    let shown = human("sleep 1000 & sleep 1000 & true");
    assert!(
        shown.contains("\n  2 processes outlived the main process, and were ended\n"),
        "{shown}"
    );
    let shown = human("true");
    assert_eq!(shown.lines().count(), 1, "{shown}");

    let installed = Installed::native("http");
    let server = Scripted::sequence(vec![Answer::new(204, "").header("x-header", "not shown")]);
    let invocation = installed
        .invocation(&[("http.url", &server.url("/"))])
        .path("artifact_directory", &installed.scene.path("kept"));
    let mut host = installed.host();
    host.args(["--format", "human"]);
    let finished = installed
        .scene
        .run_command(&mut host, invocation.text().as_bytes());
    let shown = text(&finished.stdout);
    assert!(
        shown.contains("\nplugin http 0.1.0, native\nreceipt http.body_bytes = 0\n"),
        "{shown}"
    );
    assert!(!shown.contains("header") && !shown.contains("usage."), "{shown}");
}

#[test]
fn that_a_result_could_not_be_written_is_told_once() {
    let scene = Scene::new();
    for options in [
        &["--format", "human"][..],
        &["--format", "json"],
        &["--format", "human", "--quiet"],
    ] {
        let arguments = [&["run", "--output", "/dev/null"], options, &["--", "true"]].concat();
        let finished = scene.run_command(&mut scene.host(&arguments), b"");
        assert_eq!(finished.code, Some(4), "{finished:?}");
        let json = options.contains(&"json");
        let stdout = text(&finished.stdout);
        let all = if json {
            finished.stderr.clone()
        } else {
            format!("{stdout}{}", finished.stderr)
        };
        let told = "the result could not be written to '/dev/null': it is not a regular file";
        assert_eq!(all.matches(told).count(), 1, "{arguments:?}: {all}");
        assert!(all.contains(&format!("error: {told}")), "{all}");
    }
}

#[test]
fn a_name_that_has_no_address_is_told_in_one_sentence() {
    for installed in Installed::on_both("http") {
        let invocation = installed.invocation(&[("http.url", "http://no-such-host.invalid/")]);
        let result = installed.run(&invocation).result();
        let summary = result.error_summary.unwrap();
        let reason = summary.strip_prefix("http error: no address was found for no-such-host.invalid: ");
        assert!(
            reason.is_some_and(|reason| !reason.contains([':', '('])),
            "{summary}"
        );
    }
}

#[test]
fn nothing_appears_on_a_terminal_that_was_not_meant() {
    let scene = Scene::new();
    for level in ["warn", "trace"] {
        for arguments in [
            &["--version"][..],
            &["kinds"],
            &["schema", "result"],
            &["run", "--", "echo", "hello"],
        ] {
            let mut command = scene.host(&["--log-level", level]);
            let shown = on_terminal(command.args(arguments), 80);
            assert!(!shown.is_empty(), "{arguments:?}");
            assert!(!shown.contains("tracing"), "{arguments:?}: {shown}");
        }
    }
    let shown = on_terminal(&mut scene.host(&["kinds"]), 80);
    assert_eq!(shown.lines().count(), 1, "{shown}");
    assert!(shown.contains("subprocess"), "{shown}");
}

#[test]
fn an_http_status_is_shown_to_people_as_one() {
    let installed = Installed::native("http");
    for (status, shown) in [(200, "succeeded"), (503, "failed")] {
        let server = Scripted::sequence(vec![Answer::new(status, "")]);
        let invocation = installed.invocation(&[("http.url", &server.url("/"))]);
        let mut host = installed.host();
        host.args(["--format", "human"]);
        let finished = installed
            .scene
            .run_command(&mut host, invocation.text().as_bytes());
        let first = text(&finished.stdout).lines().next().unwrap();
        assert!(first.starts_with(shown), "{first}");
        assert!(first.contains(&format!(", HTTP status {status}, ")), "{first}");
    }
}
