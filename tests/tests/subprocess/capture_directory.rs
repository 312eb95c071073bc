//! Neither an id nor anything that was planted makes a run write outside its own capture directory.

use executor_runtime::{
    Host,
    protocol::{RuntimeResult, Status},
};
use executor_runtime_tests::{Scene, eventually};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

/// Every path below `directory`, links not followed.
fn tree(directory: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            found.extend(tree(&path));
        }
        found.insert(path);
    }
    found
}

#[test]
fn hostile_ids_stay_in_the_base() {
    let scene = Scene::new();
    let base = scene.path("a/b/base");
    let mut directories = BTreeSet::new();
    let long = "../".repeat(2000);
    let longer = long.clone() + "x";
    let ids = [
        ".",
        "..",
        "../..",
        "../../escaped",
        "/tmp/escaped",
        "a/b",
        "a\\b",
        " ",
        "\n",
        "CON",
        "%2E%2E",
        "ü",
        "-rf",
        "~",
        "$(touch escaped)",
        ".hidden",
        "stdout.txt",
        &long,
        &longer,
    ];
    for id in ids {
        let invocation = scene.script("echo kept").id(id).path("artifact_directory", &base);
        let result = scene.run(&invocation).expect(Status::Succeeded);
        assert_eq!(result.invocation_id, id);
        let stdout = PathBuf::from(result.stdout_path.unwrap());
        assert_eq!(fs::read_to_string(&stdout).unwrap(), "kept\n", "{id:?}");
        let directory = stdout.parent().unwrap();
        assert_eq!(
            directory.canonicalize().unwrap().parent(),
            Some(&*base.canonicalize().unwrap()),
            "{id:?}"
        );
        assert!(
            directories.insert(directory.to_owned()),
            "{id:?} shares a directory"
        );
    }
    assert_eq!(fs::read_dir(&base).unwrap().count(), directories.len());
    assert_eq!(fs::read_dir(scene.path("a/b")).unwrap().count(), 1);
    assert_eq!(fs::read_dir(scene.root()).unwrap().count(), 1);
}

#[test]
fn an_id_with_a_nul_byte_is_rejected_by_that_name() {
    let scene = Scene::new();
    let result = scene
        .run(&scene.script("true").id("a\0b"))
        .expect_rejected("invalid_argument");
    assert_eq!(
        result.error_summary.as_deref(),
        Some("/invocation_id has a NUL byte, which the variable RXP_INVOCATION_ID can't have")
    );
    assert!(tree(scene.root()).is_empty());
}

#[test]
fn what_stands_in_place_of_an_output_file_is_replaced_and_not_written_to() {
    for plant in ["symlink", "dangling", "hard link", "fifo", "read-only"] {
        let scene = Scene::new();
        let (victim, directory) = (scene.file("victim", "precious"), scene.capture("planted"));
        fs::create_dir_all(&directory).unwrap();
        for name in ["stdout.txt", "stderr.txt"] {
            let path = directory.join(name);
            match plant {
                "symlink" => symlink(&victim, &path).unwrap(),
                "dangling" => symlink(scene.path("made"), &path).unwrap(),
                "hard link" => fs::hard_link(&victim, &path).unwrap(),
                "fifo" => nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
                _ => {
                    fs::write(&path, "old").unwrap();
                    let mut permissions = fs::metadata(&path).unwrap().permissions();
                    permissions.set_readonly(true);
                    fs::set_permissions(&path, permissions).unwrap();
                }
            }
        }
        let finished = scene.run(&scene.script("echo out; echo err >&2").id("planted"));
        finished.expect(Status::Succeeded);
        assert_eq!(finished.captured(), "out\n", "{plant}");
        assert!(!directory.join("stdout.txt").is_symlink(), "{plant}");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious", "{plant}");
        assert!(!scene.path("made").exists(), "{plant}");
    }
}

#[test]
fn a_link_in_place_of_a_directory_is_refused_or_replaced_and_never_followed() {
    // The base and the run's own directory are refused; nothing appears behind the link.
    for link in ["", "planted"] {
        let scene = Scene::new();
        let outside = scene.path("outside");
        fs::create_dir(&outside).unwrap();
        let path = scene.capture(link);
        let path = path.components().as_path();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(&outside, path).unwrap();
        let result = scene
            .run(&scene.script("echo kept").id("planted"))
            .expect_rejected("artifacts_unwritable");
        assert_eq!(
            result.error_summary,
            Some(format!(
                "output can't be kept: '{}' is a symbolic link, which is not followed; remove it, or set artifact_directory",
                path.display()
            ))
        );
        assert!(tree(&outside).is_empty());
    }
    // The artifacts directory is the run's: a link there is replaced, and what it led to is left alone.
    let scene = Scene::new();
    let outside = scene.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("precious"), "").unwrap();
    fs::create_dir_all(scene.capture("planted")).unwrap();
    symlink(&outside, scene.capture("planted").join("artifacts")).unwrap();
    let result = scene
        .run(&scene.script("echo > \"$RXP_ARTIFACTS_DIR/own\"").id("planted"))
        .expect(Status::Succeeded);
    assert_eq!(tree(&outside), BTreeSet::from([outside.join("precious")]));
    assert_eq!(result.artifacts.len(), 3);
}

#[test]
fn a_directory_in_place_of_an_output_file_is_an_error_that_names_it() {
    let scene = Scene::new();
    let path = scene.capture("planted").join("stdout.txt");
    fs::create_dir_all(&path).unwrap();
    let result = scene
        .run(&scene.script("true").id("planted"))
        .expect_rejected("artifacts_unwritable");
    assert_eq!(
        result.error_summary,
        Some(format!(
            "output can't be kept: '{}' can't be written: Is a directory (os error 21)",
            path.display()
        ))
    );
}

#[test]
fn a_run_that_replaces_its_own_directory_by_a_link_leads_nobody_astray() {
    let scene = Scene::new();
    let outside = scene.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    let script = "rm -rf \"$RXP_ARTIFACTS_DIR\"; ln -s \"$PWD/outside\" \"$RXP_ARTIFACTS_DIR\"; echo done";
    let result = scene
        .run(&scene.script(script).id("swap"))
        .expect(Status::Succeeded);
    let listed: Vec<_> = result
        .artifacts
        .iter()
        .map(|artifact| &artifact.artifact_id)
        .collect();
    assert_eq!(listed, ["stdout", "stderr"]);
    assert_eq!(tree(&outside).len(), 1);
}

#[test]
fn an_id_that_is_running_is_rejected_and_free_again_afterwards() {
    let scene = Scene::new();
    let first = scene
        .script("echo first; echo > ready; until [ -e go ]; do sleep 0.01; done")
        .id("twice");
    let host = scene.start(&first);
    scene.await_file("ready");
    let second = scene.script("echo second").id("twice");
    for _ in 0..3 {
        let result = scene.run(&second).expect_rejected("already_running");
        assert_eq!(
            result.error_summary,
            Some(format!(
                "an invocation with this id is already running in '{}'",
                scene.capture("twice").display()
            ))
        );
    }
    // Another base is another matter.
    let elsewhere = second
        .clone()
        .path("artifact_directory", &scene.path("elsewhere"));
    scene.run(&elsewhere).expect(Status::Succeeded);
    scene.file("go", "");
    let finished = scene.finish(host);
    finished.expect(Status::Succeeded);
    assert_eq!(
        finished.captured(),
        "first\n",
        "the first run's output is its own"
    );
    let finished = scene.run(&second);
    finished.expect(Status::Succeeded);
    assert_eq!(finished.captured(), "second\n");
}

#[test]
fn of_many_runs_of_one_id_at_a_time_each_is_either_run_or_told_so() {
    let scene = Scene::new();
    let runtime = Host::builder().build().unwrap();
    for (command, kinds) in [
        (["true"], &["already_running"][..]),
        // Removes the directory again when it could not be started, under the others' feet.
        (["./missing"], &["already_running", "exec_not_found"]),
    ] {
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let result = runtime.run_blocking(scene.invocation(&command).id("one").parsed());
                        let kind = result.metadata.get("error.kind").map(String::as_str);
                        assert!(
                            result.status == Status::Succeeded || kinds.contains(&kind.unwrap()),
                            "{result:?}"
                        );
                    }
                });
            }
        });
    }
}

/// Asserts that everything a result lists is a file at its path, and no link.
#[track_caller]
fn assert_listed_files_are_there(result: &RuntimeResult) {
    for path in result
        .artifacts
        .iter()
        .map(|artifact| &artifact.path)
        .chain(&result.stdout_path)
        .chain(&result.stderr_path)
    {
        let status = fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(status.is_file(), "{path}");
    }
}

#[test]
fn output_that_a_run_removes_or_replaces_is_there_again_at_its_end() {
    for spoil in [
        "rm -rf .executor_runtime",
        "rm -rf .executor_runtime/own",
        "rm -rf .executor_runtime/own; mkdir -p .executor_runtime/own",
        "rm -rf .executor_runtime/own; touch .executor_runtime/own",
        "mv .executor_runtime/own elsewhere; ln -s ../elsewhere .executor_runtime/own2; ln -s ../outside .executor_runtime/own",
        "mv .executor_runtime elsewhere",
        "mv .executor_runtime/own elsewhere",
        "cd .executor_runtime/own; rm stdout.txt stderr.txt",
        "cd .executor_runtime/own; ln -sf \"$OLDPWD/outside/secret\" stdout.txt",
        "cd .executor_runtime/own; rm stdout.txt; mkfifo stdout.txt",
        "cd .executor_runtime/own; mv stdout.txt old.txt; cp old.txt stdout.txt; echo forged >> stdout.txt",
        "rm -rf .executor_runtime/own; mkdir -p \"$RXP_ARTIFACTS_DIR\"; rm -rf .executor_runtime; mkdir .executor_runtime",
    ] {
        let scene = Scene::new();
        fs::create_dir(scene.path("outside")).unwrap();
        scene.file("outside/secret", "secret");
        let script = format!("echo before; ({spoil}) || exit 9; echo after; echo err >&2");
        let finished = scene.run(&scene.script(&script).id("own"));
        let result = finished.expect(Status::Succeeded);
        assert_listed_files_are_there(&result);
        assert_eq!(finished.captured(), "before\nafter\n", "{spoil}");
        assert_eq!(
            fs::read_to_string(result.stderr_path.as_ref().unwrap()).unwrap(),
            "err\n"
        );
        let directory = scene.capture("own");
        assert_eq!(
            result.stdout_path,
            Some(directory.join("stdout.txt").display().to_string())
        );
        assert_eq!(
            fs::read_to_string(scene.path("outside/secret")).unwrap(),
            "secret",
            "{spoil}"
        );
        assert_eq!(tree(&scene.path("outside")).len(), 1, "{spoil}");
        assert_eq!(result.metadata.get("stdout_error"), None, "{spoil}");
        // The same id can run again at once: nothing holds the directory.
        scene
            .run(&scene.script("true").id("own"))
            .expect(Status::Succeeded);
    }
}

#[test]
fn a_base_and_a_result_that_a_run_removes_are_made_again() {
    let scene = Scene::new();
    let (base, result) = (scene.path("a/b/base"), scene.path("a/b/base/results/result.json"));
    let invocation = scene
        .script("echo kept; rm -rf a")
        .path("artifact_directory", &base)
        .path("output_result_path", &result);
    let finished = scene.run(&invocation);
    assert_listed_files_are_there(&finished.expect(Status::Succeeded));
    assert_eq!(finished.captured(), "kept\n");
    let written = RuntimeResult::from_json(&fs::read(&result).unwrap()).unwrap();
    assert_listed_files_are_there(&written);
}

#[test]
fn output_that_can_not_be_kept_where_it_belongs_is_said_to_be_lost() {
    for (spoil, reason) in [
        // What is in a directory is the run's.
        (
            "rm .executor_runtime/own/stdout.txt; mkdir .executor_runtime/own/stdout.txt",
            "Is a directory",
        ),
        // No link that the run has made is followed.
        (
            "rm -rf .executor_runtime; ln -s outside .executor_runtime",
            "is a symbolic link",
        ),
        // The working directory is the caller's to make.
        ("mv \"$PWD\" ../renamed", "No such file or directory"),
        (
            "mv \"$PWD\" ../renamed; ln -s outside \"$PWD\"",
            "Not a directory",
        ),
    ] {
        let scene = Scene::new();
        fs::create_dir_all(scene.path("outside")).unwrap();
        fs::create_dir_all(scene.path("work/outside")).unwrap();
        let script = format!("echo lost; {spoil}");
        let mut invocation = scene.script(&script).id("own");
        invocation = invocation.path("working_directory", &scene.path("work"));
        let finished = scene.run(&invocation);
        let result = finished.expect(Status::Failed);
        assert_eq!(result.metadata["error.kind"], "output_unwritable", "{spoil}");
        assert_eq!(result.exit_code, Some(0));
        assert_eq!(result.stdout_path, None, "{spoil}");
        let said = &result.metadata["stdout_error"];
        assert!(
            said.starts_with("the run moved, removed or replaced it: '") && said.contains(reason),
            "{spoil}: {said}"
        );
        assert_eq!(
            result.error_summary.as_ref(),
            Some(&format!(
                "the process succeeded, but its stdout could not be kept: {said}"
            ))
        );
        assert_listed_files_are_there(&result);
        assert!(tree(&scene.path("outside")).is_empty(), "{spoil}");
    }
}

#[test]
fn only_artifacts_that_are_where_the_result_says_are_listed() {
    // Each leaves `here` listed, and the rest counted.
    for (spoil, listed, omitted) in [
        (
            "echo > \"$RXP_ARTIFACTS_DIR/lost\"; rm -rf .executor_runtime",
            &[][..],
            None,
        ),
        (
            "echo > \"$RXP_ARTIFACTS_DIR/a\"; echo > \"$RXP_ARTIFACTS_DIR/b\"; mv .executor_runtime elsewhere",
            &[],
            Some("2"),
        ),
        (
            "echo > \"$RXP_ARTIFACTS_DIR/a\"; mv .executor_runtime elsewhere; mkdir -p \"$RXP_ARTIFACTS_DIR\"; \
             echo > \"$RXP_ARTIFACTS_DIR/here\"",
            &["artifacts/here"],
            Some("1"),
        ),
        (
            "rm -rf .executor_runtime; mkdir -p \"$RXP_ARTIFACTS_DIR\"; echo > \"$RXP_ARTIFACTS_DIR/here\"",
            &["artifacts/here"],
            None,
        ),
    ] {
        let scene = Scene::new();
        let result = scene
            .run(&scene.script(spoil).id("own"))
            .expect(Status::Succeeded);
        assert_listed_files_are_there(&result);
        let found: Vec<_> = result.artifacts[2..]
            .iter()
            .map(|artifact| artifact.artifact_id.as_str())
            .collect();
        assert_eq!(found, listed, "{spoil}");
        assert_eq!(
            result.metadata.get("artifacts_omitted").map(String::as_str),
            omitted,
            "{spoil}"
        );
    }
}

#[test]
fn a_file_that_was_made_huge_before_it_was_removed_is_copied_as_far_as_it_is_output() {
    let scene = Scene::new();
    let finished = scene.run(
        &scene
            .script("echo out; cd .executor_runtime/own; truncate -s 1T stdout.txt; rm stdout.txt")
            .id("own"),
    );
    finished.expect(Status::Succeeded);
    assert_eq!(finished.captured(), "out\n");
}

#[test]
fn the_default_base_keeps_itself_out_of_git() {
    let scene = Scene::new();
    let ignore = scene.capture("").join(".gitignore");
    let run = |invocation| scene.run(&invocation).expect(Status::Succeeded);
    run(scene.script("true"));
    assert_eq!(fs::read_to_string(&ignore).unwrap(), "*\n");
    // It comes back with the base that a run removes, and to one that has none.
    run(scene.script("rm -rf .executor_runtime"));
    assert_eq!(fs::read_to_string(&ignore).unwrap(), "*\n");
    fs::remove_file(&ignore).unwrap();
    run(scene.script("true"));
    assert_eq!(fs::read_to_string(&ignore).unwrap(), "*\n");
    // What somebody else has put there stays, and no link is followed.
    fs::write(&ignore, "mine").unwrap();
    run(scene.script("true"));
    assert_eq!(fs::read_to_string(&ignore).unwrap(), "mine");
    fs::remove_file(&ignore).unwrap();
    symlink(scene.path("made"), &ignore).unwrap();
    run(scene.script("true"));
    assert!(ignore.is_symlink() && !scene.path("made").exists());
    // A base that the caller names is the caller's.
    run(scene
        .script("true")
        .path("artifact_directory", &scene.path("given")));
    assert!(scene.path("given").is_dir() && !scene.path("given/.gitignore").exists());
}

#[test]
fn a_run_in_a_git_checkout_leaves_it_clean_and_may_clean_it() {
    let scene = Scene::new();
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        scene
            .marked(&mut command)
            .args(arguments)
            .current_dir(scene.root())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
    };
    if !git(&["init", "-q"]).is_ok_and(|output| output.status.success()) {
        return executor_runtime_tests::not_tested("a run in a git checkout", "git can't make one here");
    }
    let finished = scene.run(&scene.script("echo kept; git clean -ffdxq; git status --porcelain"));
    assert_listed_files_are_there(&finished.expect(Status::Succeeded));
    assert_eq!(finished.captured(), "kept\n");
    let status = git(&["status", "--porcelain"]).unwrap();
    assert_eq!(String::from_utf8_lossy(&status.stdout), "");
}

#[test]
fn a_host_holds_its_directory_and_two_files_open_for_a_run_and_nothing_else_of_it() {
    let scene = Scene::new();
    scene.file("payload", "");
    let host = scene.start(
        &scene
            .script("echo > ready; until [ -e go ]; do sleep 0.01; done")
            .id("own")
            .path("input_payload_path", &scene.path("payload")),
    );
    scene.await_file("ready");
    let descriptors = format!("/proc/{}/fd", host.id());
    let expected = BTreeSet::from(["", "/stdout.txt", "/stderr.txt"].map(|file| {
        let directory = scene.root().canonicalize().unwrap();
        PathBuf::from(format!("{}/.executor_runtime/own{file}", directory.display()))
    }));
    // What was handed over to the supervisor is closed right after.
    eventually("that no more is open", || {
        let open: Vec<_> = fs::read_dir(&descriptors)
            .unwrap()
            .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
            .filter(|path| path.starts_with(scene.root().canonicalize().unwrap()))
            .collect();
        (open.len() == expected.len() && BTreeSet::from_iter(open) == expected).then_some(())
    });
    scene.file("go", "");
    scene.finish(host).expect(Status::Succeeded);
}
