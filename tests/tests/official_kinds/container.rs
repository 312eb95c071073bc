//! The kind `container` through the host's binary, against a real podman.

mod daemon;
mod kills;

use executor_runtime_protocol::{RuntimeResult, Status};
use executor_runtime_tests::{
    Finished, Invocation, eventually,
    installed::Installed,
    podman::{BUSYBOX, NO_SHELL, Podman},
    readme::section,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;
use std::{
    fs,
    process::{Child, Stdio},
};

/// A daemon, and a host that asks it.
struct Place {
    podman: Podman,
    installed: Installed,
}

impl Place {
    fn new() -> Self {
        Self::configured("")
    }

    fn configured(more: &str) -> Self {
        let podman = Podman::start();
        let installed = Installed::native("container").configured(&podman.config(more));
        fs::create_dir(installed.scene.path("tmp")).unwrap();
        Self { podman, installed }
    }

    fn invocation(&self, image: &str, command: &[&str]) -> Invocation {
        self.installed
            .invocation(&[("container.image", image)])
            .with("command", json!(command))
            .with("timeout_seconds", 120)
    }

    fn script(&self, script: &str) -> Invocation {
        self.invocation(BUSYBOX, &["sh", "-c", script])
    }

    fn run(&self, invocation: &Invocation) -> Finished {
        let mut command = self.installed.host();
        command.env("TMPDIR", self.installed.scene.path("tmp"));
        self.installed
            .scene
            .run_command(&mut command, invocation.text().as_bytes())
    }

    fn start(&self, invocation: &Invocation) -> Child {
        let file = self.installed.scene.file("invocation.json", invocation.text());
        let mut command = self.installed.scene.host(&["run", file.to_str().unwrap()]);
        self.installed
            .equip(&mut command)
            .env("TMPDIR", self.installed.scene.path("tmp"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Kills the plugin's processes.
    fn kill_plugin(&self) {
        for process in self.installed.scene.processes_with("__native-plugin") {
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
    }

    /// No process, container or file of a run is left.
    #[track_caller]
    fn assert_nothing_left(&self) {
        self.installed.scene.assert_nothing_left();
        assert_eq!(self.podman.containers(), [""; 0]);
        let left: Vec<_> = fs::read_dir(self.installed.scene.path("tmp"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, [""; 0]);
    }
}

fn stdout(result: &RuntimeResult) -> String {
    fs::read_to_string(result.stdout_path.as_ref().unwrap()).unwrap()
}

fn stderr(result: &RuntimeResult) -> String {
    fs::read_to_string(result.stderr_path.as_ref().unwrap()).unwrap()
}

#[test]
fn a_command_has_what_the_invocation_says_and_nothing_else() {
    let place = Place::new();
    let script = "echo out; echo err >&2; pwd; id -u; echo $RXP_INVOCATION_ID; \
                  tail -n +3 /proc/net/dev | tr -d ' ' | grep -o '^[a-z0-9]*'; \
                  mkdir $RXP_ARTIFACTS_DIR/folder; echo one > $RXP_ARTIFACTS_DIR/report.txt; \
                  echo two > $RXP_ARTIFACTS_DIR/folder/two; ln -s /etc/passwd $RXP_ARTIFACTS_DIR/link; \
                  mkfifo $RXP_ARTIFACTS_DIR/pipe; echo made > made-here";
    let invocation = place.script(script);
    let result = place.run(&invocation).expect(Status::Succeeded);
    let directory = place.installed.scene.root().display().to_string();
    let id = invocation.0["invocation_id"].as_str().unwrap();
    assert_eq!(stdout(&result), format!("out\n{directory}\n0\n{id}\nlo\n"));
    assert_eq!(stderr(&result), "err\n");
    assert_eq!(result.exit_code, Some(0));
    let made = fs::read_to_string(place.installed.scene.path("made-here"));
    assert_eq!(made.unwrap(), "made\n");
    let artifact = |id: &str| {
        let mut artifacts = result.artifacts.iter();
        let found = artifacts.find(|artifact| artifact.artifact_id == id);
        fs::read_to_string(&found.unwrap_or_else(|| panic!("{id}: {result:#?}")).path).unwrap()
    };
    assert_eq!(artifact("report.txt"), "one\n");
    assert_eq!(artifact("folder__two"), "two\n");
    assert_eq!(artifact("stdout"), stdout(&result));
    assert_eq!(result.artifacts.len(), 4);
    assert_eq!(result.metadata["container.artifacts_omitted"], "2");
    let image_id = format!(
        "sha256:{}",
        place
            .podman
            .output(&["image", "inspect", BUSYBOX, "--format", "{{.Id}}"])
    );
    assert_eq!(result.metadata["container.image_id"], image_id);
    assert_eq!(
        result.metadata["container.image_digest"],
        place
            .podman
            .output(&["image", "inspect", BUSYBOX, "--format", "{{.Digest}}"])
    );
    assert!(result.metadata["container.name"].starts_with(&format!("rxp-{id}-")));
    let told: Vec<_> = result
        .metadata
        .keys()
        .filter(|key| key.starts_with("container."))
        .collect();
    let table = section("container receipts");
    let mut listed: Vec<_> = table
        .lines()
        .skip(2)
        .filter_map(|row| row.split('`').nth(1))
        .collect();
    listed.sort_unstable();
    assert_eq!(told, listed);
    place.assert_nothing_left();
}

#[test]
fn the_invocation_of_the_readme_runs() {
    let place = Place::new();
    let mut invocation = place.script("");
    invocation.0 = serde_json::from_str(&section("container")).unwrap();
    let invocation = invocation
        .path("working_directory", place.installed.scene.root())
        .metadata("container.image", BUSYBOX);
    let result = place.run(&invocation).expect(Status::Succeeded);
    let mut artifacts = result.artifacts.iter();
    assert!(
        artifacts.any(|artifact| artifact.artifact_id == "report.txt"),
        "{result:#?}"
    );
    place.assert_nothing_left();
}

#[test]
fn what_is_asked_for_is_set() {
    let place = Place::configured("networks = \"host\"");
    let odd = "a=b 'c' \"d\" $e \\ \u{e9}\n\tend ";
    for (key, value, script, expected) in [
        ("container.user", "anna", "id -u", "1234\n"),
        ("container.user", "99:98", "id -u; id -g", "99\n98\n"),
        (
            "container.read_only",
            "true",
            "touch /x 2>&1; echo a > $RXP_ARTIFACTS_DIR/a && echo written",
            "touch: /x: Read-only file system\nwritten\n",
        ),
        (
            "container.read_only_working_directory",
            "true",
            "touch x 2>&1",
            "touch: x: Read-only file system\n",
        ),
        ("container.mount_working_directory", "false", "pwd", "/\n"),
        (
            "container.network",
            "host",
            "cat /proc/net/dev | wc -l | grep -q 3 || echo more than lo",
            "more than lo\n",
        ),
        (
            "container.entrypoint",
            r#"["echo", "before"]"#,
            "after",
            "before sh -c after\n",
        ),
        (
            "container.entrypoint",
            "[]",
            "echo $ODD",
            "a=b 'c' \"d\" $e \\ \u{e9} end\n",
        ),
        (
            "container.memory_bytes",
            "67108864",
            "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null",
            "67108864\n",
        ),
        (
            "container.pids",
            "50",
            "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null",
            "50\n",
        ),
        (
            "container.cpus",
            "0.5",
            "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null | head -c 5",
            "50000",
        ),
        (
            "container.platform",
            "linux/amd64",
            "echo \"$ODD\"",
            &format!("{odd}\n"),
        ),
    ] {
        let invocation = place.script(script).metadata(key, value).env("ODD", odd);
        let finished = place.run(&invocation);
        let result = finished.result();
        assert_eq!(
            result.stdout_path.as_ref().map(|_| stdout(&result)).as_deref(),
            Some(expected),
            "{key}={value}: {result:#?}"
        );
    }
    place.assert_nothing_left();
}

#[test]
fn what_goes_wrong_is_told() {
    let place = Place::new();
    for (invocation, status, kind, code, summary) in [
        (
            place.script("echo x; exit 7"),
            Status::Failed,
            "exit_status",
            Some(7),
            "the command exited with code 7",
        ),
        (
            place.invocation(BUSYBOX, &["/no/program"]),
            Status::Rejected,
            "exec_not_found",
            None,
            "the container can't be started: ",
        ),
        (
            place.invocation(NO_SHELL, &["sh", "-c", "true"]),
            Status::Rejected,
            "exec_not_found",
            None,
            "the container can't be started: ",
        ),
        (
            place.invocation(BUSYBOX, &["/etc/passwd"]),
            Status::Rejected,
            "exec_permission",
            None,
            "the container can't be started: ",
        ),
        (
            place
                .script("true")
                .metadata("container.image", "localhost/no/image:1")
                .metadata("container.pull", "never"),
            Status::Rejected,
            "image_not_found",
            None,
            "image 'localhost/no/image:1' is not there: ",
        ),
        (
            place
                .script("true")
                .metadata("container.image", "localhost:1/no/image:1"),
            Status::Failed,
            "pull_failed",
            None,
            "image 'localhost:1/no/image:1' can't be pulled: ",
        ),
        (
            place.script("true").metadata("container.image", "not an image"),
            Status::Rejected,
            "invalid_metadata",
            None,
            "metadata key 'container.image': 'not an image' is no name of an image",
        ),
        (
            place.script("true").metadata("container.network", "host"),
            Status::Rejected,
            "network_not_granted",
            None,
            "network 'host' is not granted: ",
        ),
        (
            place.script("true").metadata("container.network", ""),
            Status::Rejected,
            "network_not_granted",
            None,
            "network '' is not granted: ",
        ),
        (
            place
                .invocation(BUSYBOX, &["tail", "-c", "150000000", "/dev/zero"])
                .metadata("container.memory_bytes", 33_554_432),
            Status::Failed,
            "out_of_memory",
            Some(137),
            "the command ",
        ),
    ] {
        let finished = place.run(&invocation);
        let result = finished.expect(status);
        assert_eq!(result.metadata["error.kind"], kind, "{result:#?}");
        assert_eq!(result.exit_code, code, "{result:#?}");
        let told = result.error_summary.as_deref().unwrap_or_default();
        if kind == "out_of_memory" {
            assert!(
                told.ends_with("ran out of memory: it may have 33554432 bytes"),
                "{told}"
            );
        }
        assert!(told.starts_with(summary), "{told}");
    }
    place.assert_nothing_left();
}

#[test]
fn an_image_without_a_shell_runs() {
    let place = Place::new();
    let result = place
        .run(&place.invocation(NO_SHELL, &["/busybox", "echo", "no shell"]))
        .expect(Status::Succeeded);
    assert_eq!(stdout(&result), "no shell\n");
    place.assert_nothing_left();
}

#[test]
fn a_run_that_is_stopped_has_its_grace() {
    let place = Place::configured("\n[plugins.container.limits]\ngrace_seconds = 10\n");
    let ready = place.installed.scene.path("ready");
    for (script, code, said) in [
        ("trap 'echo ended; exit 5' TERM", 5, "ended\n"),
        ("trap 'echo ignored' TERM", 137, "ignored\n"),
    ] {
        let script = format!("{script}; echo > ready; while true; do sleep 0.1; done");
        let mut host = place.start(&place.script(&script));
        place.installed.scene.await_file("ready");
        fs::remove_file(&ready).unwrap();
        // SAFETY: the host is a child that has not been waited for.
        unsafe { libc::kill(host.id().cast_signed(), libc::SIGTERM) };
        let mut document = String::new();
        std::io::Read::read_to_string(&mut host.stdout.take().unwrap(), &mut document).unwrap();
        host.wait().unwrap();
        let result = RuntimeResult::from_json(document.as_bytes()).unwrap();
        assert_eq!(result.status, Status::Cancelled, "{result:#?}");
        assert_eq!(result.exit_code, Some(code), "{result:#?}");
        assert_eq!(stdout(&result), said);
        place.assert_nothing_left();
    }
}

#[test]
fn megabytes_of_output_are_kept_and_stdin_is_given() {
    let place = Place::new();
    let input = "a line of input\n".repeat(100_000);
    let payload = place.installed.scene.file("payload", &input);
    let script = "cat; yes stderr | head -n 700000 >&2";
    let invocation = place.script(script).path("input_payload_path", &payload);
    let result = place.run(&invocation).expect(Status::Succeeded);
    assert!(stdout(&result) == input, "{} bytes", stdout(&result).len());
    assert!(stderr(&result) == "stderr\n".repeat(700_000));
    place.assert_nothing_left();
}

#[test]
fn output_beyond_the_limit_is_cut_and_the_run_goes_on() {
    let place = Place::configured("\n[plugins.container.limits]\nartifact_bytes = 1000\n");
    let result = place
        .run(&place.script("yes | head -n 10000; echo still here >&2"))
        .expect(Status::Succeeded);
    assert_eq!(stdout(&result).len(), 1000);
    assert_eq!(stderr(&result), "still here\n");
    let artifact = result
        .artifacts
        .iter()
        .find(|artifact| artifact.artifact_id == "stdout");
    assert_eq!(artifact.unwrap().metadata["truncated"], "true");
}

#[test]
fn what_a_gone_owner_has_left_is_removed_by_the_next_run() {
    let place = Place::new();
    let read = |path: &str| fs::read_to_string(path).unwrap().trim().to_owned();
    let machine = fs::read_to_string("/etc/machine-id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default();
    let machine = match machine.as_str() {
        "" => read("/proc/sys/kernel/hostname"),
        id => id.to_owned(),
    };
    let boot = read("/proc/sys/kernel/random/boot_id");
    let namespace = fs::metadata("/proc/self/ns/pid").unwrap();
    let namespace = std::os::unix::fs::MetadataExt::ino(&namespace);
    let own = std::process::id();
    let stat = read("/proc/self/stat");
    let started = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .nth(19)
        .unwrap()
        .to_owned();
    // The labels of `image` are those of another container, as an image has them that was made of one.
    for (name, labelled, owner) in [
        (
            "lost-power",
            "lost-power",
            format!("{machine} earlier-boot 1 2 3"),
        ),
        ("dead", "dead", format!("{machine} {boot} {namespace} {own} 1")),
        (
            "alive",
            "alive",
            format!("{machine} {boot} {namespace} {own} {started}"),
        ),
        (
            "elsewhere",
            "elsewhere",
            "other-machine earlier-boot 1 2 3".to_owned(),
        ),
        ("image", "dead", format!("{machine} {boot} {namespace} {own} 1")),
    ] {
        let label = format!("executor-runtime.owner={owner}");
        let own_name = format!("executor-runtime.container={labelled}");
        let mut command = place.podman.run(&[
            "--detach", "--name", name, "--label", &label, "--label", &own_name, BUSYBOX, "sleep", "3600",
        ]);
        assert!(command.output().unwrap().status.success());
    }
    place.run(&place.script("true")).expect(Status::Succeeded);
    let mut left = place.podman.containers();
    left.sort();
    assert_eq!(left, ["alive", "elsewhere", "image"]);
}

/// Waits until the container of a run has begun, which has written `file`, and podman has taken note of that.
fn begun(place: &Place, file: &str) {
    eventually("the container's start", || {
        place.installed.scene.path(file).exists().then_some(())
    });
    eventually("podman's note of it", || {
        let running = place.podman.output(&["ps", "--quiet"]);
        (!running.is_empty()).then_some(())
    });
}
