//! What a program finds when it starts does not depend on how the host was started.

use executor_runtime_protocol::Status;
use executor_runtime_tests::{Finished, Scene, host_binary, nasty};
use serde_json::{Value, json};
use std::path::Path;

fn reported(finished: &Finished) -> Value {
    finished.expect(Status::Succeeded);
    serde_json::from_str(&finished.captured()).unwrap()
}

#[track_caller]
fn assert_clean(report: &Value) {
    assert_eq!(report["descriptors"], json!([0, 1, 2]));
    assert_eq!(report["ignored"], "0000000000000000");
    assert_eq!(report["blocked"], "0000000000000000");
    assert_eq!(report["session"], report["pid"]);
    assert_eq!(report["group"], report["pid"]);
    assert_eq!(report["terminal"], false);
    assert_eq!(report["stdin"], "/dev/null");
}

#[test]
fn it_has_three_descriptors_default_dispositions_no_mask_and_its_own_session() {
    let scene = Scene::new();
    let finished = scene.run(&scene.invocation(&[nasty(), "report".into()]));
    let report = reported(&finished);
    // The helper is Rust, whose start ignores SIGPIPE.
    let ignored = u64::from_str_radix(report["ignored"].as_str().unwrap(), 16).unwrap();
    assert_eq!(ignored & !(1 << (libc::SIGPIPE - 1)), 0, "{report}");
    let mut report = report;
    report["ignored"] = "0000000000000000".into();
    assert_clean(&report);
}

#[test]
fn sigpipe_ends_it_as_usual() {
    let scene = Scene::new();
    let finished = scene.run(&scene.script("grep -E 'Sig(Ign|Blk)' /proc/self/status; kill -PIPE $$"));
    let result = finished.expect(Status::Failed);
    assert_eq!(result.exit_code, Some(-13));
    assert_eq!(
        finished.captured(),
        "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"
    );
}

#[test]
fn signals_that_the_host_was_told_to_ignore_are_not_ignored_and_its_descriptors_not_inherited() {
    let scene = Scene::new();
    let document = scene.file(
        "invocation.json",
        scene
            .script("grep -E 'Sig(Ign|Blk)' /proc/self/status; ls /proc/self/fd | wc -l")
            .text(),
    );
    let script = format!(
        "trap '' HUP INT QUIT TERM PIPE CHLD USR1 WINCH; exec 7</dev/null 8>>/tmp 9</ 200<&0 2>&2; exec {} run {}",
        host_binary().display(),
        document.display()
    );
    let script = script.replace("8>>/tmp ", "8>kept ");
    let finished = scene.run_command(&mut scene.host_from(Path::new("bash"), &["-c", &script]), b"");
    finished.expect(Status::Succeeded);
    assert_eq!(
        finished.captured(),
        // `ls` reads the directory through a descriptor of its own.
        "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n4\n"
    );
}

#[test]
fn a_blocked_mask_of_the_host_does_not_reach_it() {
    let scene = Scene::new();
    let document = scene.file(
        "invocation.json",
        scene.script("grep SigBlk /proc/self/status").text(),
    );
    let program = format!(
        "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65)); os.execv({:?}, [{:?}, 'run', {:?}])",
        host_binary(),
        host_binary(),
        document
    );
    let finished = scene.run_command(&mut scene.host_from(Path::new("python3"), &["-c", &program]), b"");
    finished.expect(Status::Succeeded);
    assert_eq!(finished.captured(), "SigBlk:\t0000000000000000\n");
}

#[test]
fn a_host_without_standard_descriptors_starts_it_all_the_same() {
    for closed in ["<&-", "2>&-", "<&- 2>&-"] {
        let scene = Scene::new();
        let document = scene.file(
            "invocation.json",
            scene
                .script("echo out; echo err >&2; ls /proc/self/fd | wc -l")
                .text(),
        );
        let script = format!(
            "exec {} run {} {closed}",
            host_binary().display(),
            document.display()
        );
        let finished = scene.run_command(&mut scene.host_from(Path::new("sh"), &["-c", &script]), b"");
        finished.expect(Status::Succeeded);
        assert_eq!(finished.captured(), "out\n4\n", "{closed}");
    }
}

#[test]
fn its_environment_is_the_hosts_with_the_invocations_laid_over_it() {
    let scene = Scene::new();
    let invocation = scene
        .script("echo \"$KEPT|$REPLACED|$ADDED|$RXP_INVOCATION_ID|${RXP_INPUT_PAYLOAD_PATH-none}|$RXP_ARTIFACTS_DIR\"")
        .id("env/1")
        .env("REPLACED", "new")
        .env("ADDED", "a=b\nc")
        .env("RXP_INVOCATION_ID", "forged");
    let mut host = scene.host(&["run", "-"]);
    host.env("KEPT", "kept")
        .env("REPLACED", "old")
        .env("RXP_INPUT_PAYLOAD_PATH", "/of/an/outer/run");
    let finished = scene.run_command(&mut host, invocation.text().as_bytes());
    finished.expect(Status::Succeeded);
    assert_eq!(
        finished.captured(),
        format!(
            "kept|new|a=b\nc|env/1|none|{}\n",
            scene.capture("env%2F1").join("artifacts").display()
        )
    );
}

#[test]
fn it_starts_in_the_working_directory_with_its_arguments_as_given() {
    let scene = Scene::new();
    let strange = ["", " ", "*", "a\nb", "$HOME", "--", "'\"\\", "ü"];
    let program = nasty();
    let command: Vec<&str> = [program.as_str(), "report"].into_iter().collect();
    let finished = scene.run(&scene.invocation(&command));
    assert_eq!(
        reported(&finished)["cwd"],
        json!(scene.root().canonicalize().unwrap())
    );
    let mut command = vec!["printf", "<%s>"];
    command.extend(strange);
    let finished = scene.run(&scene.invocation(&command));
    assert_eq!(
        finished.captured(),
        strange.map(|argument| format!("<{argument}>")).concat()
    );
}

#[test]
fn arguments_of_any_length_and_number_arrive_whole() {
    let scene = Scene::new();
    // About 32 KiB is what goes to the supervisor with its order.
    for len in [0, 1, 20_000, 32_000, 32_500, 32_768, 33_000, 100_000] {
        let argument: String = ('a'..='z').cycle().take(len).collect();
        let echoed = scene.run(&scene.invocation(&["printf", "%s", &argument]));
        echoed.expect(Status::Succeeded);
        assert!(echoed.captured() == argument, "{len} bytes");
    }
    for count in [10_000, 32_000, 33_000, 60_000] {
        let mut command = vec!["sh", "-c", "echo $#", "sh"];
        command.extend(std::iter::repeat_n("", count));
        let counted = scene.run(&scene.invocation(&command));
        counted.expect(Status::Succeeded);
        assert_eq!(counted.captured(), format!("{count}\n"));
    }
}
