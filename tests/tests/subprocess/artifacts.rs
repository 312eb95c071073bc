//! What a run leaves in its artifacts directory comes back: regular files, with size and digest.

use executor_runtime_protocol::{RuntimeResult, Status};
use executor_runtime_tests::Scene;
use sha2::{Digest, Sha256};
use std::{fs, path::Path};

fn left(result: &RuntimeResult) -> Vec<&str> {
    result.artifacts[2..]
        .iter()
        .map(|artifact| artifact.artifact_id.as_str())
        .collect()
}

#[test]
fn files_are_listed_with_size_and_digest_at_any_depth() {
    let scene = Scene::new();
    let script = "cd \"$RXP_ARTIFACTS_DIR\" && mkdir -p a/b/c 'with space' && printf hello > a/b/c/deep && : > empty \
                  && head -c 300000 /dev/urandom > a/random && echo x > 'with space/ü' && echo x > .hidden";
    let result = scene
        .run(&scene.script(script).id("files"))
        .expect(Status::Succeeded);
    assert_eq!(
        left(&result),
        [
            "artifacts/.hidden",
            "artifacts/a/b/c/deep",
            "artifacts/a/random",
            "artifacts/empty",
            "artifacts/with space/ü"
        ]
    );
    for artifact in &result.artifacts[2..] {
        let content = fs::read(&artifact.path).unwrap();
        assert!(Path::new(&artifact.path).starts_with(scene.capture("files").join("artifacts")));
        assert_eq!(artifact.kind, "file");
        assert_eq!(artifact.metadata["size_bytes"], content.len().to_string());
        assert_eq!(
            artifact.metadata["sha256"],
            format!("{:x}", Sha256::digest(&content))
        );
    }
    assert!(!result.metadata.contains_key("artifacts_omitted"));
}

#[test]
fn links_pipes_and_sockets_are_counted_and_not_listed() {
    let scene = Scene::new();
    scene.file("secret", "secret");
    let script = "secret=$PWD; cd \"$RXP_ARTIFACTS_DIR\" && ln -s \"$secret/secret\" link && ln -s \"$secret\" folder-link \
                  && ln -s link loop && mkfifo pipe && mkdir folder && ln -s .. folder/up && echo x > file \
                  && python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"socket\")'";
    let finished = scene.run(&scene.script(script));
    let result = finished.expect(Status::Succeeded);
    assert_eq!(left(&result), ["artifacts/file"]);
    assert_eq!(result.metadata["artifacts_omitted"], "6");
}

#[test]
fn what_stands_in_place_of_the_artifacts_directory_is_counted() {
    for replacement in ["ln -s \"$PWD\"", "mkfifo", "touch"] {
        let scene = Scene::new();
        let script = format!("rmdir \"$RXP_ARTIFACTS_DIR\"; {replacement} \"$RXP_ARTIFACTS_DIR\"");
        let result = scene.run(&scene.script(&script)).expect(Status::Succeeded);
        assert!(left(&result).is_empty(), "{replacement}");
        assert_eq!(result.metadata["artifacts_omitted"], "1", "{replacement}");
    }
}

#[test]
fn no_more_than_a_thousand_files_are_listed_and_the_rest_is_counted() {
    let scene = Scene::new();
    let script =
        "cd \"$RXP_ARTIFACTS_DIR\" && mkdir z && seq 995 | xargs touch && cd z && seq 17 | xargs touch";
    let result = scene.run(&scene.script(script)).expect(Status::Succeeded);
    assert_eq!(left(&result).len(), 1000);
    assert_eq!(result.metadata["artifacts_omitted"], "12");
}

#[test]
fn files_that_can_not_be_listed_are_counted() {
    let scene = Scene::new();
    let script = "cd \"$RXP_ARTIFACTS_DIR\" && touch \"$(printf 'not-utf8-\\377')\" good && i=0 \
                  && while [ $i -lt 40 ]; do mkdir d && cd d && i=$((i+1)); done && touch bottom";
    let result = scene.run(&scene.script(script)).expect(Status::Succeeded);
    assert_eq!(left(&result), ["artifacts/good"]);
    assert_eq!(result.metadata["artifacts_omitted"], "2");
}

#[test]
fn files_of_an_earlier_run_of_the_same_id_are_not_reported() {
    let scene = Scene::new();
    let run = |script: &str| {
        scene
            .run(&scene.script(script).id("again"))
            .expect(Status::Succeeded)
    };
    let first = run("cd \"$RXP_ARTIFACTS_DIR\" && mkdir old && echo > old/file && chmod 500 old");
    assert_eq!(left(&first), ["artifacts/old/file"]);
    let second = run("echo > \"$RXP_ARTIFACTS_DIR/new\"");
    assert_eq!(left(&second), ["artifacts/new"]);
    let third = run("true");
    assert!(left(&third).is_empty());
    let left = std::fs::read_dir(scene.capture("again").join("artifacts")).unwrap();
    assert_eq!(left.count(), 0);
}

#[test]
fn artifacts_of_failed_and_timed_out_runs_are_reported_too() {
    let scene = Scene::new();
    let leave = "echo > \"$RXP_ARTIFACTS_DIR/evidence\"";
    let failed = scene
        .run(&scene.script(&format!("{leave}; exit 3")))
        .expect(Status::Failed);
    assert_eq!(left(&failed), ["artifacts/evidence"]);
    let timed_out = scene
        .run(&scene.script(&format!("{leave}; exec sleep 1000")).timeout(1, 0.5))
        .expect(Status::TimedOut);
    assert_eq!(left(&timed_out), ["artifacts/evidence"]);
}
