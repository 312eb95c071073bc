//! The command line as scripts and people use it.

mod configuration;
mod exhausted;
mod generated;
mod shown;
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
