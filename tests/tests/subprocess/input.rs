//! A program's stdin is the payload, or nothing; never the host's own.

use executor_runtime_protocol::Status;
use executor_runtime_tests::Scene;
use std::{fs, os::unix::net::UnixListener};

#[test]
fn without_a_payload_stdin_is_empty_whatever_the_host_reads() {
    let scene = Scene::new();
    let document = scene.file(
        "invocation.json",
        scene.script("wc -c; readlink /proc/self/fd/0").text(),
    );
    let finished = scene.run_with(
        &["run", document.to_str().unwrap()],
        b"for the host, not for the program",
    );
    finished.expect(Status::Succeeded);
    assert_eq!(finished.captured(), "0\n/dev/null\n");
}

#[test]
fn the_payload_is_stdin_and_its_path_is_told() {
    let scene = Scene::new();
    let payload = scene.file("payload", b"one\0two\xff");
    let finished = scene.run(
        &scene
            .script(
                "cat; echo; cmp - \"$RXP_INPUT_PAYLOAD_PATH\" < payload && echo \"$RXP_INPUT_PAYLOAD_PATH\"",
            )
            .path("input_payload_path", &payload),
    );
    let result = finished.expect(Status::Succeeded);
    let expected = [
        &b"one\0two\xff\n"[..],
        payload.to_str().unwrap().as_bytes(),
        b"\n",
    ]
    .concat();
    assert_eq!(fs::read(result.stdout_path.unwrap()).unwrap(), expected);
}

#[test]
fn a_large_payload_that_is_not_read_is_no_error() {
    let scene = Scene::new();
    let payload = scene.file("payload", vec![b'x'; 64 << 20]);
    let invocation = scene.script("exit 0").path("input_payload_path", &payload);
    let result = scene.run(&invocation).expect(Status::Succeeded);
    assert_eq!(result.exit_code, Some(0));
    let finished = scene.run(&scene.script("wc -c").path("input_payload_path", &payload));
    assert_eq!(finished.captured().trim(), (64 << 20).to_string());
}

#[test]
fn what_can_not_be_a_payload_is_rejected() {
    let scene = Scene::new();
    fs::create_dir(scene.path("folder")).unwrap();
    nix::unistd::mkfifo(&scene.path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let _listener = UnixListener::bind(scene.path("socket")).unwrap();
    scene.file("file", "");
    std::os::unix::fs::symlink("loop", scene.path("loop")).unwrap();
    for (name, reason) in [
        ("missing", "does not exist"),
        ("file/below", "does not exist"),
        ("folder", "is a directory, not a file"),
        ("pipe", "is not a regular file"),
        ("socket", "can't be opened: no such device or address"),
        ("loop", "can't be opened: too many symbolic links encountered"),
    ] {
        let path = scene.path(name);
        let result = scene
            .run(&scene.script("touch ran").path("input_payload_path", &path))
            .expect_rejected("input_not_found");
        let summary = format!("input payload '{}' {reason}", path.display());
        assert_eq!(result.error_summary, Some(summary));
    }
    assert!(!scene.path("ran").exists());
}
