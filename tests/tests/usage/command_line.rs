//! The command line as scripts and people use it.

mod terminal;

use executor_runtime_protocol::{RuntimeInvocation, RuntimeResult, Status};
use executor_runtime_tests::{
    Finished, Invocation, Scene, assert_golden, host_binary,
    installed::Installed,
    not_tested, on_terminal,
    scripted::{Answer, Scripted},
    ulimit,
};
use serde_json::Value;
use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn help_is_as_it_was_reviewed() {
    let scene = Scene::new();
    for (name, arguments) in [
        ("help.txt", &["--help"][..]),
        ("help-run.txt", &["run", "--help"]),
        ("help-batch.txt", &["batch", "--help"]),
        ("help-serve.txt", &["serve", "--help"]),
        ("help-validate.txt", &["validate", "--help"]),
        ("help-submit.txt", &["submit", "--help"]),
        ("help-ps.txt", &["ps", "--help"]),
        ("help-logs.txt", &["logs", "--help"]),
        ("help-wait.txt", &["wait", "--help"]),
        ("help-cancel.txt", &["cancel", "--help"]),
        ("help-prune.txt", &["prune", "--help"]),
    ] {
        let finished = scene.run_with(arguments, b"");
        assert_eq!(finished.code, Some(0));
        assert_golden(&format!("command_line/{name}"), text(&finished.stdout));
    }
}

#[test]
fn a_wrong_command_line_is_explained_and_exits_with_2() {
    let scene = Scene::new();
    let mut shown = String::new();
    for arguments in [
        &["frobnicate"][..],
        &["run", "--frobnicate"],
        &["run", "file", "--", "true"],
        &["run", "--cwd", "/", "file"],
        &["run", "sh", "-c", "true"],
        &["submit", "sleep", "3"],
        &["run", "--"],
        &["run", "--timeout", "1", "--"],
        &["run", "--timeout", "0", "--", "true"],
        &["run", "--timeout", "1.5", "--", "true"],
        &["run", "--env", "novalue", "--", "true"],
        &["run", "--metadata", "novalue", "--", "true"],
        &["run", "--metadata", "=value", "--", "true"],
        &["run", "--kind", "No Kind", "--", "true"],
        &["run", "--format", "xml", "--", "true"],
        &["run", "--id", "", "--", "true"],
        &["run", "--name", "", "--", "true"],
        &["schema", "config?"],
        &["completions", "tcsh"],
    ] {
        let finished = scene.run_with(arguments, b"");
        assert_eq!(finished.code, Some(2), "{arguments:?}: {finished:?}");
        assert!(finished.stdout.is_empty());
        shown += &format!(
            "$ executor-runtime {}\n{}\n",
            arguments.join(" "),
            finished.stderr
        );
    }
    assert_golden("command_line/usage-errors.txt", &shown);
}

#[test]
fn the_exit_status_tells_how_the_run_ended() {
    let scene = Scene::new();
    let unwritable = scene.path("folder");
    fs::create_dir(&unwritable).unwrap();
    for (invocation, code) in [
        (scene.script("true"), 0),
        (scene.script("exit 42"), 1),
        (scene.script("kill -9 $$"), 1),
        (scene.invocation(&["./missing"]), 3),
        (scene.script("true").with("runtime_kind", "container"), 3),
        (scene.script("true").path("output_result_path", &unwritable), 4),
        (scene.script("exit 42").path("output_result_path", &unwritable), 4),
        (scene.script("exec sleep 1000").timeout(1, 0.0), 124),
    ] {
        let finished = scene.run(&invocation);
        assert_eq!(finished.code, Some(code), "{invocation:?}");
        finished.result();
    }
}

#[test]
fn the_exit_code_of_the_program_is_propagated_on_request() {
    let scene = Scene::new();
    for (script, code) in [
        ("true", 0),
        ("exit 42", 42),
        ("exit 255", 255),
        ("kill -9 $$", 137),
        ("kill -15 $$", 143),
    ] {
        let finished = scene.run_with(
            &["run", "--propagate-exit-code", "-"],
            scene.script(script).text().as_bytes(),
        );
        assert_eq!(finished.code, Some(code), "{script}");
    }
    // What never ran, or was ended by the host, has no exit code of its own.
    for (invocation, code) in [
        (scene.invocation(&["./missing"]), 3),
        (
            scene
                .script("trap 'exit 0' TERM; while :; do sleep 0.01; done")
                .timeout(1, 1.0),
            124,
        ),
    ] {
        let finished = scene.run_with(&["run", "--propagate-exit-code"], invocation.text().as_bytes());
        assert_eq!(finished.code, Some(code));
    }
}

#[test]
fn a_result_that_can_not_be_written_is_still_printed_and_says_why() {
    let scene = Scene::new();
    scene.file("file", "");
    for (path, reason) in [
        (scene.root().to_owned(), "it is a directory"),
        (scene.path("file/below"), "Not a directory (os error 20)"),
        (Path::new("/dev/null").to_owned(), "it is not a regular file"),
        (
            Path::new("/proc/nowhere/x").to_owned(),
            "No such file or directory (os error 2)",
        ),
    ] {
        let finished = scene.run(&scene.script("echo kept").path("output_result_path", &path));
        assert_eq!(finished.code, Some(4));
        let result = finished.expect(Status::Succeeded);
        let expected = format!(
            "the result could not be written to '{}': {reason}",
            path.display()
        );
        assert_eq!(result.metadata["result_file_error"], expected);
        assert!(finished.stderr.contains(&expected), "{}", finished.stderr);
        assert_eq!(finished.captured(), "kept\n");
    }
}

#[test]
fn an_invocation_comes_from_a_file_or_from_stdin() {
    let scene = Scene::new();
    let invocation = scene.script("echo ran");
    let file = scene.file("invocation.json", invocation.text());
    for arguments in [&["run", file.to_str().unwrap()][..], &["run", "-"], &["run"]] {
        let finished = scene.run_with(arguments, invocation.text().as_bytes());
        finished.expect(Status::Succeeded);
        assert_eq!(finished.captured(), "ran\n");
    }
}

#[test]
fn an_empty_variable_names_no_configuration() {
    let scene = Scene::new();
    let mut host = scene.host(&["run", "--", "true"]);
    let finished = scene.run_command(host.env("EXECUTOR_RUNTIME_CONFIG", ""), b"");
    assert_eq!((finished.code, &*finished.stderr), (Some(0), ""), "{finished:?}");
}

#[test]
fn options_override_what_the_invocation_says() {
    let scene = Scene::new();
    let invocation = scene
        .script("trap '' TERM; sleep 1000")
        .timeout(600, 600.0)
        .path("output_result_path", &scene.path("not-here"));
    let output = scene.path("deep/result.json");
    let finished = scene.run_with(
        &[
            "run",
            "--timeout",
            "1",
            "--grace",
            "0.1",
            "--output",
            output.to_str().unwrap(),
        ],
        invocation.text().as_bytes(),
    );
    finished.expect(Status::TimedOut);
    assert_eq!(fs::read(output).unwrap(), finished.stdout);
    assert!(!scene.path("not-here").exists());
}

#[test]
fn a_command_at_a_prompt_becomes_an_invocation() {
    let scene = Scene::new();
    fs::create_dir(scene.path("folder")).unwrap();
    scene.file("payload", "input");
    let arguments = [
        "run",
        "--cwd",
        "folder",
        "--env",
        "A=1",
        "--env",
        "B=x=y",
        "--metadata",
        "team=t",
        "--name",
        "n",
        "--id",
        "prompted",
        "--input",
        "payload",
        "--artifacts",
        "kept",
        "--timeout",
        "30",
        "--grace",
        "0.5",
        "--output",
        "result.json",
        "--",
        "sh",
        "-c",
        "pwd; cat; echo $A $B \"$@\"",
        "--",
        "-x",
        "--help",
    ];
    let finished = scene.run_with(&arguments, b"");
    let result = finished.expect(Status::Succeeded);
    assert_eq!((&*result.invocation_id, &*result.runtime_name), ("prompted", "n"));
    let folder = scene.path("folder").canonicalize().unwrap();
    assert_eq!(
        finished.captured(),
        format!("{}\ninput1 x=y -x --help\n", folder.display())
    );
    assert!(scene.path("kept/prompted/stdout.txt").exists());
    assert_eq!(fs::read(scene.path("result.json")).unwrap(), finished.stdout);

    // The same, printed instead of run, is an invocation that means the same.
    let mut printing = arguments.to_vec();
    printing.insert(1, "--print-invocation");
    let printed = scene.run_with(&printing, b"");
    assert_eq!(printed.code, Some(0));
    let invocation = RuntimeInvocation::from_json(&printed.stdout).unwrap();
    assert_eq!(invocation.timeout_seconds.map(u64::from), Some(30));
    assert_eq!(invocation.metadata["subprocess.grace_seconds"], "0.5");
    assert_eq!(invocation.metadata["team"], "t");
    let again = scene.run_with(&["run", "--print-invocation"], &printed.stdout);
    assert_eq!(again.stdout, printed.stdout);
    let rerun = scene.run_with(&["run"], &printed.stdout);
    rerun.expect(Status::Succeeded);
    assert_eq!(rerun.captured(), finished.captured());
}

#[test]
fn commands_at_a_prompt_have_ids_of_their_own() {
    let scene = Scene::new();
    let ids: std::collections::BTreeSet<_> = (0..20)
        .map(|_| scene.run_with(&["run", "--", "true"], b"").result().invocation_id)
        .collect();
    assert_eq!(ids.len(), 20);
}

#[test]
fn printing_an_invocation_runs_nothing() {
    let scene = Scene::new();
    scene.run_with(&["run", "--print-invocation", "--", "touch", "ran"], b"");
    assert_eq!(fs::read_dir(scene.root()).unwrap().count(), 0);
}

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
fn a_result_that_can_not_be_printed_is_no_run_that_did_not_happen() {
    let scene = Scene::new();
    for (format, propagate, script, code, status) in [
        ("json", &[][..], "touch ran", 4, "succeeded"),
        ("human", &[], "touch ran", 4, "succeeded"),
        ("json", &[], "touch ran; exit 42", 4, "failed"),
        (
            "json",
            &["--propagate-exit-code"],
            "touch ran; exit 42",
            42,
            "failed",
        ),
    ] {
        let arguments = [
            &["run", "--format", format],
            propagate,
            &["--", "sh", "-c", script],
        ]
        .concat();
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let finished = scene.run_command(scene.host(&arguments).stdout(full), b"");
        assert_eq!(finished.code, Some(code), "{arguments:?}: {finished:?}");
        let expected =
            format!("error: the run ended ({status}), but its result could not be written to stdout: ");
        assert!(finished.stderr.starts_with(&expected), "{}", finished.stderr);
        fs::remove_file(scene.path("ran")).unwrap();
    }
}

#[test]
fn the_limits_of_a_plugin_are_explained() {
    let explain = |config: &str| {
        let installed = Installed::native("manual").configured(config);
        let invocation = installed.invocation(&[]);
        let mut command = installed.scene.host(&["explain", "-"]);
        installed.equip(&mut command);
        let finished = installed
            .scene
            .run_command(&mut command, invocation.text().as_bytes());
        serde_json::from_slice::<Value>(&finished.stdout).unwrap()["limits"].take()
    };
    let limits = explain("");
    assert_eq!(limits["artifacts"], "1000");
    assert_eq!(limits["artifact_bytes"], (256 << 20).to_string());
    let limits = explain("[plugins.manual.limits]\nartifacts = 0\nartifact_bytes = 7\n");
    assert_eq!(limits["artifacts"], "0");
    assert_eq!(limits["artifact_bytes"], "7");
    assert_eq!(limits["plugin.grace_seconds"], "2");
}

#[test]
fn kinds_are_listed() {
    let scene = Scene::new();
    let json: Value = serde_json::from_slice(&scene.run_with(&["kinds"], b"").stdout).unwrap();
    assert!(
        json.as_array()
            .unwrap()
            .iter()
            .any(|kind| kind["runtime_kind"] == "subprocess"),
        "{json}"
    );
    let human = scene.run_with(&["kinds", "--format", "human"], b"");
    assert!(text(&human.stdout).starts_with("subprocess"), "{human:?}");
}

#[test]
fn schemas_accept_what_is_read_and_written() {
    let scene = Scene::new();
    let schema = |document: &str| {
        let finished = scene.run_with(&["schema", document], b"");
        assert_eq!(finished.code, Some(0));
        let schema: Value = serde_json::from_slice(&finished.stdout).unwrap();
        jsonschema::validator_for(&schema).unwrap()
    };
    let invocation = schema("invocation");
    let printed = scene.run_with(&["run", "--print-invocation", "--", "true"], b"");
    assert!(invocation.is_valid(&serde_json::from_slice(&printed.stdout).unwrap()));
    assert!(invocation.is_valid(&scene.script("true").0));
    assert!(!invocation.is_valid(&scene.script("true").with("extra", 1).0));
    let result = schema("result");
    for run in [
        scene.script("true"),
        scene.script("exit 1"),
        scene.invocation(&["./missing"]),
    ] {
        let finished = scene.run(&run);
        assert!(result.is_valid(&serde_json::from_slice(&finished.stdout).unwrap()));
    }
}

#[test]
fn every_shell_gets_a_completion_script_that_it_accepts() {
    let scene = Scene::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let finished = scene.run_with(&["completions", shell], b"");
        assert_eq!(finished.code, Some(0));
        assert!(text(&finished.stdout).contains("propagate-exit-code"), "{shell}");
        if shell == "bash" {
            let script = scene.file("completions", &finished.stdout);
            assert!(
                Command::new("bash")
                    .arg("-n")
                    .arg(script)
                    .status()
                    .unwrap()
                    .success()
            );
        }
    }
}

/// A pipe that is read by no one.
fn closed_pipe() -> std::io::PipeWriter {
    std::io::pipe().unwrap().1
}

fn full() -> fs::File {
    fs::File::options().write(true).open("/dev/full").unwrap()
}

/// Runs the invocation in `file` under a limit that the shell sets, such as `-n 12`.
fn run_limited(scene: &Scene, limit: &str, file: &Path) -> Finished {
    scene.run_command(
        &mut ulimit::host(scene, limit, &["run", file.to_str().unwrap()]),
        b"",
    )
}

#[test]
fn a_result_that_no_one_reads_exits_with_4_and_other_output_is_given_up_quietly() {
    let scene = Scene::new();
    let file = scene.file("invocation.json", scene.script("touch ran").text());
    let file = file.to_str().unwrap();
    for (arguments, code) in [
        (&["run", file][..], 4),
        (&["run", "--format", "human", file], 4),
        (&["validate", file], 141),
        (&["validate", "--format", "human", file], 141),
        (&["explain", file], 141),
        (&["kinds"], 141),
        (&["kinds", "--format", "human"], 141),
        (&["plugin", "list"], 141),
        (&["plugin", "list", "--format", "human"], 141),
        (&["schema", "invocation"], 141),
        (&["schema", "config"], 141),
        (&["completions", "bash"], 141),
    ] {
        let finished = scene.run_command(scene.host(arguments).stdout(closed_pipe()), b"");
        assert_eq!(
            (finished.code, finished.stderr.as_str()),
            (Some(code), ""),
            "{arguments:?}"
        );
    }
    assert!(scene.path("ran").exists());
}

#[test]
fn without_a_place_for_messages_the_exit_status_tells_all_the_same() {
    let scene = Scene::new();
    let file = scene.file("invocation.json", scene.script("touch ran").text());
    for (arguments, code) in [
        (&["run", file.to_str().unwrap()][..], 4),
        (&["run", "no-such-file"], 2),
        (&["validate", "no-such-file"], 2),
        (&["no-such-command"], 2),
    ] {
        let finished = scene.run_command(scene.host(arguments).stdout(full()).stderr(full()), b"");
        assert_eq!(finished.code, Some(code), "{arguments:?}: {finished:?}");
    }
    assert!(scene.path("ran").exists());
}

#[test]
fn a_limit_on_the_size_of_files_does_not_kill_the_host() {
    let scene = Scene::new();
    let run = |limit: &str, invocation: Invocation, stdout: Option<fs::File>| {
        let file = scene.file("invocation.json", invocation.text());
        let mut host = ulimit::host(&scene, limit, &["run", file.to_str().unwrap()]);
        // The description of a run has to fit as well.
        host.env_clear().env("PATH", "/usr/bin:/bin");
        if let Some(file) = stdout {
            host.stdout(file);
        }
        scene.run_command(&mut host, b"")
    };
    // Nothing may be written at all.
    let finished = run("-f 0", scene.nasty(&["report"]), None);
    let result = finished.expect(Status::Failed);
    assert_eq!(result.metadata["error.kind"], "output_unwritable", "{result:?}");

    // A long command can't even be described to the supervisor.
    let long = "x".repeat(40_000);
    let finished = run("-f 1", scene.invocation(&["true", &long]), None);
    let summary = finished.expect_rejected("host_exhausted").error_summary.unwrap();
    assert!(summary.contains("raise `ulimit -f`"), "{summary}");

    // Only the result is too large.
    let file = fs::File::create(scene.path("result.json")).unwrap();
    let finished = run("-f 1", scene.nasty(&["report"]), Some(file));
    assert_eq!(finished.code, Some(4), "{finished:?}");
    let reason = "could not be written to stdout: File too large";
    assert!(finished.stderr.contains(reason), "{finished:?}");

    // What is run has the signal's default disposition.
    let finished = run("-f 1", scene.nasty(&["report"]), None);
    finished.expect(Status::Succeeded);
    let report: Value = serde_json::from_str(&finished.captured()).unwrap();
    let ignored = u64::from_str_radix(report["ignored"].as_str().unwrap(), 16).unwrap();
    assert_eq!(ignored & 1 << (libc::SIGXFSZ - 1), 0, "{ignored:x}");
    let result = run("-f 1", scene.nasty(&["write", "100000"]), None).result();
    assert_eq!(result.metadata["stdout_error"], "file too large");
}

#[test]
fn a_host_without_descriptors_says_so_in_a_result() {
    let scene = Scene::new();
    let file = scene.file("invocation.json", scene.script("true").text());
    let mut rejected = 0;
    for limit in 6..=24 {
        let finished = run_limited(&scene, &format!("-n {limit}"), &file);
        if finished.code == Some(0) {
            finished.expect(Status::Succeeded);
            continue;
        }
        let result = finished.expect_rejected("host_exhausted");
        assert_eq!(
            result.error_summary.as_deref(),
            Some("the host is out of file descriptors; raise `ulimit -n`"),
            "with {limit}"
        );
        rejected += 1;
    }
    assert!((3..19).contains(&rejected), "{rejected}");
}

#[test]
fn a_host_without_memory_says_so_in_a_result() {
    let scene = Scene::new();
    let file = scene.file("invocation.json", scene.script("true").text());
    // The kernel or the loader ends a program that does not even fit.
    let mut outcomes = (5_000..60_000).step_by(250).map(|limit| {
        let finished = run_limited(&scene, &format!("-v {limit}"), &file);
        (limit, finished)
    });
    let (limit, first) = outcomes
        .find(|(_, finished)| !finished.stdout.is_empty())
        .unwrap();
    let summary = first.expect_rejected("host_exhausted").error_summary.unwrap();
    assert_eq!(
        summary, "the host is out of memory; raise `ulimit -v`, or give the machine more",
        "with {limit}"
    );
    run_limited(&scene, &format!("-v {}", limit + 20_000), &file).expect(Status::Succeeded);
}

#[test]
fn a_large_document_for_which_there_is_no_room_is_refused() {
    let scene = Scene::new();
    let command = vec!["x"; 300_000];
    let file = scene.file("invocation.json", scene.invocation(&command).text());
    let file = file.to_str().unwrap();
    let mut codes = Vec::new();
    for limit in (15_000..=105_000).step_by(10_000) {
        let mut host = ulimit::host(&scene, &format!("-v {limit}"), &["validate", file]);
        let finished = scene.run_command(&mut host, b"");
        if finished.code == Some(2) {
            assert!(finished.stderr.contains("out of memory"), "{limit}: {finished:?}");
        } else {
            assert_eq!(finished.code, Some(0), "{limit}: {finished:?}");
        }
        codes.push(finished.code);
    }
    assert_eq!((codes[0], codes[codes.len() - 1]), (Some(2), Some(0)));
}

#[test]
fn a_host_without_processes_says_so_in_a_result() {
    let scene = Scene::new();
    let file = scene.file("invocation.json", scene.script("true").text());
    let mut rejected = 0;
    for limit in 1..=6 {
        let arguments = ["run", file.to_str().unwrap()];
        let Some(mut host) = ulimit::host_of_unused_user(&scene, &format!("-u {limit}"), &arguments) else {
            return not_tested("a limit on processes", "only root can become a user without any");
        };
        let finished = scene.run_command(&mut host, b"");
        if finished.code == Some(0) {
            finished.expect(Status::Succeeded);
            continue;
        }
        let summary = finished.expect_rejected("host_exhausted").error_summary.unwrap();
        let expected = "the host is out of processes; raise `ulimit -u`";
        assert!(summary.starts_with(expected), "with {limit}: {summary}");
        rejected += 1;
    }
    assert!((2..6).contains(&rejected), "{rejected}");
}

/// What bash offers for the last of `words`, once it has sourced our script.
fn completed_by_bash(script: &str, words: &[&str]) -> Vec<String> {
    let output = Command::new("bash")
        .args(["--norc", "--noprofile", "-c"])
        .arg(
            r#"source "$1"; shift
            function=$(complete -p executor-runtime | sed -n 's/.* -F \([^ ]*\) .*/\1/p')
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
            "$function" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
            printf '%s\n' "${COMPREPLY[@]}""#,
        )
        .args(["bash", script, "executor-runtime"])
        .args(words)
        .output()
        .unwrap();
    assert_eq!(text(&output.stderr), "", "{words:?}");
    text(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_and_options() {
    let scene = Scene::new();
    let finished = scene.run_with(&["completions", "bash"], b"");
    let script = scene.file("completions", &finished.stdout);
    let script = script.to_str().unwrap();
    for (words, expected) in [
        (&["run", "--ki"][..], &["--kind"][..]),
        (&["ki"], &["kinds"]),
        (
            &["run", "--p"],
            &["--propagate-exit-code", "--print-invocation", "--plugins-dir"],
        ),
        (&["plugin", "insp"], &["inspect"]),
        (&["plugin", "install", "--re"], &["--replace"]),
        (&["schema", "--log-format", "j"], &["json"]),
        (&["man", "--d"], &["--dir"]),
    ] {
        let mut offered = completed_by_bash(script, words);
        let mut expected = expected.to_vec();
        offered.sort();
        expected.sort_unstable();
        assert_eq!(offered, expected, "{words:?}");
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let scene = Scene::new();
    let pages = scene.path("share/man1");
    let finished = scene.run_with(&["man", "--dir", pages.to_str().unwrap()], b"");
    assert_eq!(
        (finished.code, finished.stdout.len()),
        (Some(0), 0),
        "{finished:?}"
    );
    let mut names: Vec<_> = fs::read_dir(&pages)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let commands = [
        "",
        "-batch",
        "-cancel",
        "-completions",
        "-explain",
        "-kinds",
        "-logs",
        "-man",
        "-plugin",
        "-plugin-build",
        "-plugin-check",
        "-plugin-dev",
        "-plugin-embed",
        "-plugin-inspect",
        "-plugin-install",
        "-plugin-list",
        "-plugin-new",
        "-plugin-remove",
        "-plugin-test",
        "-plugin-wit",
        "-prune",
        "-ps",
        "-run",
        "-schema",
        "-serve",
        "-submit",
        "-validate",
        "-wait",
    ];
    let mut expected = commands.map(|command| format!("executor-runtime{command}.1"));
    expected.sort();
    assert_eq!(names, expected);
    for name in &names {
        let page = fs::read_to_string(pages.join(name)).unwrap();
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "\"EXIT STATUS\""] {
            assert!(page.contains(&format!(".SH {section}\n")), "{name}: {section}");
        }
        // One that is printed differs from day to day in nothing.
        let title = name.trim_end_matches(".1").to_uppercase();
        assert!(page.contains(&format!(".TH {title} 1 20")), "{name}: {page}");
    }
    assert_rendered(
        &pages.join("executor-runtime-run.1"),
        &[
            "EXECUTOR-RUNTIME-RUN(1)",
            "User Commands",
            "executor-runtime-run - Run one invocation",
            "executor-runtime run [OPTIONS] [FILE]\n",
            "executor-runtime run [OPTIONS] -- COMMAND...\n",
            "--timeout <DURATION>",
            "OPTIONS FOR COMMAND",
            "EXIT STATUS",
            "124    timed out",
            "ENVIRONMENT\n       EXECUTOR_RUNTIME_CONFIG\n",
            "FILES\n       ~/.config/executor-runtime/executor-runtime.toml\n",
            "SEE ALSO\n       executor-runtime(1)",
        ],
    );
    assert_rendered(
        &pages.join("executor-runtime.1"),
        &["SUBCOMMANDS", "executor-runtime-plugin(1)"],
    );

    // Without a directory it is the main page, for a pipe to `man -l -`.
    let finished = scene.run_with(&["man"], b"");
    let page = scene.file("main.1", &finished.stdout);
    assert_rendered(&page, &["SUBCOMMANDS", "executor-runtime-plugin(1)"]);

    let file = scene.file("file", "");
    let finished = scene.run_with(&["man", "--dir", file.to_str().unwrap()], b"");
    assert_eq!(finished.code, Some(2), "{finished:?}");
    assert!(finished.stderr.contains("can't be written to '"), "{finished:?}");
}

/// `man` has to show the page without a warning, with each of these texts in it.
#[track_caller]
fn assert_rendered(page: &Path, texts: &[&str]) {
    let output = Command::new("man")
        .args(["--warnings", "-E", "UTF-8", "-l"])
        .arg(page)
        .envs([("MANWIDTH", "120"), ("MANPAGER", "cat"), ("LC_ALL", "C.UTF-8")])
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) => return not_tested("how `man` shows the manual pages", error),
    };
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text(&output.stderr), "", "{}", page.display());
    let shown = text(&output.stdout);
    for expected in texts {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
}

#[test]
fn the_version_tells_the_build() {
    let finished = Scene::new().run_with(&["--version"], b"");
    let shown = text(&finished.stdout);
    let build = shown
        .strip_prefix("executor-runtime 0.1.0 (build ")
        .and_then(|rest| rest.strip_suffix(")\n"));
    let is_id = |id: &str| id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(build.is_some_and(is_id), "{shown}");
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
fn a_run_of_a_component_is_one_process() {
    let installed = Installed::component("http");
    let server = Scripted::sequence(vec![Answer::Silence]);
    let mut host = installed.start(&installed.invocation(&[("http.url", &server.url("/"))]));
    server.wait_for(1);
    let processes = installed.scene.processes();
    host.kill().unwrap();
    host.wait().unwrap();
    assert_eq!(processes.len(), 1, "{processes:?}");
}

#[test]
fn the_executable_with_the_engine_runs_native_plugins_and_leaves_nothing() {
    let installed = Installed::native("http");
    let server = Scripted::sequence(vec![Answer::new(200, "hello")]);
    let invocation = installed.invocation(&[("http.url", &server.url("/"))]);
    let engine = host_binary().with_file_name("executor-runtime-engine");
    let mut host = installed.scene.host_from(&engine, &["run", "-"]);
    let finished = installed
        .scene
        .run_command(installed.equip(&mut host), invocation.text().as_bytes());
    assert_eq!(finished.code, Some(0), "{finished:?}");
    installed.scene.assert_nothing_left();
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

#[test]
fn an_input_payload_is_never_stdin() {
    let scene = Scene::new();
    let finished = scene.run_with(&["run", "--input", "-", "--", "cat"], b"text");
    assert_eq!(finished.code, Some(2), "{finished:?}");
    let advice = "--input - names no file; give --stdin to pass on stdin";
    assert!(finished.stderr.contains(advice), "{finished:?}");

    let invocation = scene.invocation(&["cat"]).with("input_payload_path", "-");
    let result = scene.run(&invocation).expect_rejected("input_not_found");
    let summary = result.error_summary.unwrap();
    assert!(
        summary.starts_with("input payload '-' does not exist; '-' does not mean stdin"),
        "{summary}"
    );
}

#[test]
fn the_most_detailed_log_tells_no_secret_of_a_request() {
    for place in Installed::on_both("http") {
        let server = Scripted::sequence(vec![Answer::new(200, "")]);
        let invocation = place
            .invocation(&[("http.url", &server.url("/x?token=s3cret"))])
            .metadata("http.header.X-Api-Key", "s3cret");
        let mut host = place.host();
        host.args(["--log-level", "trace"]);
        let finished = place.scene.run_command(&mut host, invocation.text().as_bytes());
        finished.expect(Status::Succeeded);
        assert_eq!(server.lines(), ["POST /x?token=s3cret"]);
        assert!(!finished.stderr.contains("s3cret"), "{}", finished.stderr);
    }
}

#[test]
fn a_configuration_that_others_could_have_written_is_refused() {
    let scene = Scene::new();
    let config = scene.file("c.toml", "");
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let expect = |reason: &str| {
        let mut by_option = scene.host(&["--config", "c.toml", "run", "--", "true"]);
        let mut by_variable = scene.host(&["run", "--", "true"]);
        by_variable.env("EXECUTOR_RUNTIME_CONFIG", &config);
        for (host, name) in [(&mut by_option, Path::new("c.toml")), (&mut by_variable, &config)] {
            let finished = scene.run_command(host, b"");
            let expected = match reason {
                "" => String::new(),
                reason => format!("configuration '{}' {reason}", name.display()),
            };
            assert_eq!(finished.code, Some(if reason.is_empty() { 0 } else { 2 }));
            assert!(finished.stderr.contains(&expected), "{finished:?}");
            assert_eq!(finished.stderr.is_empty(), reason.is_empty(), "{finished:?}");
        }
    };
    mode(&config, 0o644);
    expect("");
    mode(&config, 0o666);
    let others = |path: &Path, mode: &str| {
        let path = path.display();
        format!(
            "is not trusted, because other users can write to '{path}' (mode {mode}); run: chmod go-w '{path}'\n"
        )
    };
    expect(&others(&config, "0666"));
    mode(&config, 0o620);
    expect(&others(&config, "0620"));
    mode(&config, 0o600);
    expect("");

    // Others could put another file there; but not where each may only rename what is its own.
    let directory = scene.root();
    mode(directory, 0o777);
    expect(&others(directory, "0777"));
    mode(directory, 0o1777);
    expect("");
    mode(directory, 0o700);

    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(&config, Some(12345), None).unwrap();
        expect(&format!(
            "is not trusted, because '{0}' belongs to user 12345, who is neither root nor the user of this host; run as \
             root: chown 0 '{0}'\n",
            config.display()
        ));
    } else {
        not_tested("a configuration of another user", "only root can make one");
    }
}

#[test]
fn a_configuration_that_is_no_file_is_refused_at_once() {
    let scene = Scene::new();
    nix::unistd::mkfifo(&scene.path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::create_dir(scene.path("directory")).unwrap();
    scene.file("large", vec![b'#'; (1 << 20) + 1]);
    scene.file("latin-1", b"# gr\xfc\xdfe\n");
    for (name, reason) in [
        ("fifo", "is not a regular file"),
        ("directory", "is not a regular file"),
        ("large", "is too long; the limit is 1048576 bytes"),
        ("latin-1", "can't be read: it is not UTF-8 text"),
        ("missing", "can't be read: no such file or directory"),
    ] {
        let finished = scene.run_with(&["--config", name, "run", "--", "true"], b"");
        assert_eq!(finished.code, Some(2), "{finished:?}");
        let expected = format!("configuration '{name}' {reason}");
        assert!(finished.stderr.contains(&expected), "{finished:?}");
    }
}
