//! Output is kept byte for byte, up to a cap, without passing through the host's memory.

use executor_runtime_protocol::Status;
use executor_runtime_tests::{Finished, Scene, eventually, holds, status_field};
use std::{fs, io::Read, path::Path, process::Command, time::Duration};

fn random(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    fs::File::open("/dev/urandom")
        .unwrap()
        .read_exact(&mut bytes)
        .unwrap();
    bytes
}

#[test]
fn both_streams_are_kept_byte_for_byte() {
    let scene = Scene::new();
    let (out, err) = (random(5 << 20), random(3 << 20));
    scene.file("out", &out);
    scene.file("err", &err);
    let finished = scene.run(&scene.script("cat err >&2 & cat out; wait"));
    let result = finished.expect(Status::Succeeded);
    assert!(
        fs::read(result.stdout_path.unwrap()).unwrap() == out,
        "stdout differs"
    );
    assert!(
        fs::read(result.stderr_path.unwrap()).unwrap() == err,
        "stderr differs"
    );
}

#[test]
fn the_files_are_where_they_are_promised_and_listed_as_artifacts() {
    let scene = Scene::new();
    let invocation = scene.script("echo out; echo err >&2").id("where");
    for (invocation, directory) in [
        (invocation.clone(), scene.capture("where")),
        (
            invocation.path("artifact_directory", &scene.path("deep/base")),
            scene.path("deep/base/where"),
        ),
    ] {
        let result = scene.run(&invocation).expect(Status::Succeeded);
        let (stdout, stderr) = (directory.join("stdout.txt"), directory.join("stderr.txt"));
        assert_eq!(fs::read_to_string(&stdout).unwrap(), "out\n");
        assert_eq!(fs::read_to_string(&stderr).unwrap(), "err\n");
        assert_eq!(result.stdout_path.as_deref(), stdout.to_str());
        assert_eq!(result.stderr_path.as_deref(), stderr.to_str());
        let listed: Vec<_> = result
            .artifacts
            .iter()
            .map(|artifact| {
                (
                    artifact.artifact_id.as_str(),
                    artifact.kind.as_str(),
                    Path::new(&artifact.path),
                )
            })
            .collect();
        assert_eq!(
            listed,
            [
                ("stdout", "log_excerpt", &*stdout),
                ("stderr", "log_excerpt", &*stderr)
            ]
        );
    }
}

#[test]
fn a_program_that_opens_dev_stdout_anew_loses_nothing() {
    let scene = Scene::new();
    let finished = scene.run(&scene.script(
        "echo one; echo two >/dev/stdout; echo three >/proc/self/fd/1; echo four; echo five >/dev/stderr",
    ));
    let result = finished.expect(Status::Succeeded);
    assert_eq!(finished.captured(), "one\ntwo\nthree\nfour\n");
    assert_eq!(fs::read_to_string(result.stderr_path.unwrap()).unwrap(), "five\n");
}

#[test]
fn output_is_cut_after_exactly_the_cap_and_only_then_called_truncated() {
    const CAP: u64 = 100_000;
    for (written, kept, truncated) in [
        (CAP - 1, CAP - 1, false),
        (CAP, CAP, false),
        (CAP + 1, CAP, true),
        (50 * CAP, CAP, true),
    ] {
        for stream in ["stdout", "stderr"] {
            let scene = Scene::new();
            let redirect = if stream == "stdout" { "" } else { ">&2" };
            let script = format!("head -c {written} /dev/zero {redirect}; echo over > ready");
            let result = scene
                .run(&scene.script(&script).metadata("subprocess.max_output_bytes", CAP))
                .expect(Status::Succeeded);
            let path = scene.capture(&result.invocation_id).join(format!("{stream}.txt"));
            assert_eq!(fs::metadata(path).unwrap().len(), kept, "{written} to {stream}");
            let flag = result.metadata.get(&format!("{stream}_truncated"));
            assert_eq!(flag.map(String::as_str), truncated.then_some("true"), "{written}");
            assert_eq!(result.exit_code, Some(0), "the program notices nothing");
        }
    }
}

#[test]
fn the_host_stays_small_while_a_program_writes_gigabytes() {
    const BYTES: u64 = 2 << 30;
    let scene = Scene::new();
    let host = scene.start(
        &scene
            .nasty(&["write", &BYTES.to_string()])
            .metadata("subprocess.max_output_bytes", 64 << 20),
    );
    let pid = host.id() as i32;
    // Everyone but the program itself: the host, the spawner, the supervisor.
    let mut largest = 0;
    eventually("the end of the host", || {
        for process in scene.processes() {
            if !process.command.contains("nasty")
                && let Some(peak) = status_field(process.pid, "VmHWM")
            {
                largest = largest.max(peak.trim_end_matches(" kB").parse::<u64>().unwrap());
            }
        }
        status_field(pid, "State")
            .is_none_or(|state| state.starts_with('Z'))
            .then_some(())
    });
    let finished = scene.finish(host);
    let result = finished.expect(Status::Succeeded);
    assert_eq!(result.metadata["stdout_truncated"], "true");
    let kept = fs::metadata(result.stdout_path.unwrap()).unwrap().len();
    assert_eq!(kept, 64 << 20);
    assert!(largest > 0 && largest < 48 << 10, "{largest} KiB");
}

/// Runs the script with its capture directory on a file system of one megabyte; the last line of what the host
/// says on stderr is how many bytes of stdout are there afterwards.
#[track_caller]
fn run_on_a_small_disk(scene: &Scene, script: &str) -> Finished {
    let document = scene.file(
        "invocation.json",
        scene
            .script(script)
            .id("own")
            .path("artifact_directory", &scene.path("small"))
            .text(),
    );
    fs::create_dir(scene.path("small")).unwrap();
    // A mount of this test's own, in a namespace that goes away with it.
    let script = format!(
        "mount -t tmpfs -o size=1m none small || exit 90; {} run {}; code=$?; cat small/*/stdout.txt | wc -c >&2; exit $code",
        executor_runtime_tests::host_binary().display(),
        document.display()
    );
    let mut command = Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    scene
        .marked(&mut command)
        .args(["--mount", "sh", "-c", &script])
        .current_dir(scene.root())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let finished = scene.run_command(&mut command, b"");
    assert_ne!(
        finished.code,
        Some(90),
        "no file system can be mounted: {}",
        finished.stderr
    );
    finished
}

#[test]
fn a_full_disk_is_reported_and_what_fitted_is_kept() {
    let scene = Scene::new();
    let finished = run_on_a_small_disk(&scene, "head -c 4194304 /dev/zero; echo went on >&2");
    let result = finished.expect(Status::Failed);
    assert_eq!(result.metadata["error.kind"], "output_unwritable");
    assert_eq!(result.metadata["stdout_error"], "no space left on device");
    assert_eq!(
        result.exit_code,
        Some(0),
        "the program was neither blocked nor ended"
    );
    let sizes = finished.stderr.lines().last().unwrap_or_default();
    let kept: u64 = sizes.trim().parse().unwrap_or_else(|_| panic!("{finished:?}"));
    assert!(kept > 900_000, "{kept}");
    let summary = result.error_summary.unwrap();
    assert_eq!(
        summary,
        format!(
            "the process succeeded, but only {kept} bytes of its stdout could be kept: no space left on device"
        )
    );
}

#[test]
fn a_disk_that_is_full_from_the_beginning_is_reported_for_both_streams() {
    let scene = Scene::new();
    let finished = run_on_a_small_disk(
        &scene,
        "head -c 4194304 /dev/zero > small/filler 2> /dev/null; echo out; echo err >&2",
    );
    let result = finished.expect(Status::Failed);
    assert_eq!(result.metadata["error.kind"], "output_unwritable");
    for key in ["stdout_error", "stderr_error"] {
        assert_eq!(result.metadata[key], "no space left on device");
    }
    assert!(result.stdout_path.is_some() && result.stderr_path.is_some());
}

#[test]
fn output_that_a_run_removes_on_a_disk_without_room_for_a_copy_is_said_to_be_lost() {
    let scene = Scene::new();
    let finished = run_on_a_small_disk(
        &scene,
        "head -c 900000 /dev/zero; rm -rf small/own; head -c 4194304 /dev/zero > small/filler 2> /dev/null; true",
    );
    let result = finished.expect(Status::Failed);
    assert_eq!(result.metadata["error.kind"], "output_unwritable");
    assert_eq!(result.stdout_path, None);
    let said = &result.metadata["stdout_error"];
    assert!(
        said.starts_with("the run moved, removed or replaced it: '") && said.contains("No space left"),
        "{said}"
    );
    let listed: Vec<_> = result
        .artifacts
        .iter()
        .map(|artifact| &*artifact.artifact_id)
        .collect();
    assert_eq!(listed, ["stderr"], "an empty file needs no room");
}

#[test]
fn output_over_the_hosts_own_limit_on_file_size_is_reported() {
    let scene = Scene::new();
    let document = scene.file(
        "invocation.json",
        scene.script("head -c 4194304 /dev/zero").text(),
    );
    let script = format!(
        "ulimit -f 1024; exec {} run {}",
        executor_runtime_tests::host_binary().display(),
        document.display()
    );
    let finished = scene.run_command(&mut scene.host_from(Path::new("sh"), &["-c", &script]), b"");
    let result = finished.expect(Status::Failed);
    assert_eq!(result.metadata["error.kind"], "output_unwritable");
    assert_eq!(result.metadata["stdout_error"], "file too large");
}

#[test]
fn output_is_in_the_file_while_the_program_runs() {
    let scene = Scene::new();
    let host = scene.start(&scene.script("echo so far; exec sleep 1000").id("follow"));
    let path = scene.capture("follow").join("stdout.txt");
    let seen = holds(Duration::from_secs(5), || {
        fs::read_to_string(&path).ok().filter(|text| text == "so far\n")
    });
    assert!(seen.is_some());
    drop(host);
}
