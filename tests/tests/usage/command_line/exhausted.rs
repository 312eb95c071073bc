//! What is told where there is no reader, no room, or something runs out.

use super::*;

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

/// A batch that may not have the memory to start says so; one that starts does all of its runs.
#[test]
fn a_batch_with_little_memory_does_its_runs_or_says_that_it_can_not() {
    const LINES: usize = 40;
    let scene = Scene::new();
    let lines = "line\n".repeat(LINES);
    let mut succeeded = Vec::new();
    for limit in (200_000..=520_000).step_by(20_000) {
        let arguments = [
            "batch",
            "--format",
            "json",
            "-j4",
            "--",
            "sh",
            "-c",
            "sleep 0.05; echo {}",
        ];
        let mut host = ulimit::host(&scene, &format!("-v {limit}"), &arguments);
        host.env("XDG_STATE_HOME", scene.path(&format!("state-{limit}")));
        let finished = scene.run_command(&mut host, lines.as_bytes());
        if finished.code == Some(0) {
            let stdout = String::from_utf8_lossy(&finished.stdout);
            let ended = stdout.matches("\"status\":\"succeeded\"").count();
            assert_eq!(ended, LINES, "{limit}: {finished:?}");
            succeeded.push(limit);
        } else {
            let is_told = finished.stderr.contains("raise `ulimit -v`");
            assert!(finished.code.is_some() && is_told, "{limit}: {finished:?}");
        }
    }
    assert!(succeeded.contains(&300_000), "{succeeded:?}");
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
