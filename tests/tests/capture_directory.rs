//! Neither an id nor anything that was planted makes a run write outside its own capture directory.

use executor_runtime::{Runtime, protocol::Status};
use executor_runtime_tests::Scene;
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
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
    let runtime = Runtime::new().unwrap();
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
