//! Every way in which a program can't be started is a rejection of its own, and nothing is run instead.

use executor_runtime_protocol::RuntimeResult;
use executor_runtime_tests::{Invocation, Scene, copy_executable, host_binary};
use serde_json::json;
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
};

/// An ELF file for x86-64 that names an interpreter that is not there.
fn elf_with_missing_interpreter() -> Vec<u8> {
    // Any real program of this machine, with the name of its interpreter replaced by one as long.
    let mut program = fs::read("/bin/true").unwrap();
    let name = b"/lib64/ld-linux-x86-64.so.2";
    let at = program
        .windows(name.len())
        .position(|window| window == name)
        .expect("/bin/true is linked dynamically, on x86-64");
    program[at..at + 6].copy_from_slice(b"/nowhr");
    program
}

fn scene() -> Scene {
    let scene = Scene::new();
    scene.program("text", "touch ran\n");
    scene.program("empty", "");
    scene.program("script", "#!/nowhere/python3 -u\n");
    scene.program("nested", format!("#!{}/script\n", scene.root().display()));
    scene.program("bare", "#!\n");
    scene.program("elf", elf_with_missing_interpreter());
    scene.program("broken-elf", b"\x7fELF\x02\x01\x01\0garbage that is no header");
    scene.file("data", "#!/bin/sh\ntouch ran\n");
    scene.file("plain-interpreter", "#!/bin/sh\ntouch ran\n");
    scene.program(
        "by-plain",
        format!("#!{}/plain-interpreter\n", scene.root().display()),
    );
    fs::create_dir(scene.path("folder")).unwrap();
    symlink("loop", scene.path("loop")).unwrap();
    symlink("nothing", scene.path("dangling")).unwrap();
    nix::unistd::mkfifo(&scene.path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    scene
}

fn summary(result: &RuntimeResult) -> &str {
    result.error_summary.as_deref().unwrap()
}

#[test]
fn each_has_its_own_kind_and_names_the_file_and_the_reason() {
    let scene = scene();
    let root = scene.root().display().to_string();
    let long = "x".repeat(131_072);
    let component = format!("./{}", "x".repeat(300));
    let nul = "a\0b";
    let cases: Vec<(Vec<&str>, &str, String)> = vec![
        (vec!["./missing"], "exec_not_found", "program './missing' does not exist".into()),
        (vec!["./dangling"], "exec_not_found", "program './dangling' does not exist".into()),
        (vec!["./data/below"], "exec_not_found", "program './data/below' does not exist".into()),
        (vec!["./loop"], "exec_not_found", "program './loop' can't be found: too many symbolic links".into()),
        (vec![&component], "exec_not_found", format!("program '{component}' can't be found: its name is too long")),
        (vec![""], "exec_not_found", "the program's name (the first element of command) is empty".into()),
        (vec!["no-such-program"], "exec_not_found", "program 'no-such-program' was not found in PATH (/usr/bin:/bin)".into()),
        (vec!["text"], "exec_not_found", "program 'text' was not found in PATH (/usr/bin:/bin)".into()),
        (vec!["./data"], "exec_permission", "'./data' is not executable by this user".into()),
        (vec!["./folder"], "exec_permission", "'./folder' is a directory, not a program".into()),
        (vec!["./pipe"], "exec_permission", "'./pipe' is not a regular file".into()),
        (vec!["/dev/null"], "exec_permission", "'/dev/null' is not a regular file".into()),
        (vec!["./by-plain"], "exec_permission", format!("'./by-plain' can't be run: its interpreter '{root}/plain-interpreter' is not executable by this user")),
        (vec!["./text"], "exec_format", "'./text' is not in an executable format; a script needs a first line such as '#!/bin/sh'".into()),
        (vec!["./empty"], "exec_format", "'./empty' is not in an executable format; a script needs a first line such as '#!/bin/sh'".into()),
        (vec!["./bare"], "exec_format", "'./bare' is not in an executable format; a script needs a first line such as '#!/bin/sh'".into()),
        (vec!["./broken-elf"], "exec_format", "'./broken-elf' is not in an executable format; a script needs a first line such as '#!/bin/sh'".into()),
        (vec!["./script"], "exec_interpreter_missing", "'./script' can't be run: its interpreter '/nowhere/python3' does not exist".into()),
        (vec!["./nested"], "exec_interpreter_missing", format!("'./nested' can't be run: its interpreter '{root}/script' needs '/nowhere/python3', which does not exist")),
        (vec!["./elf"], "exec_interpreter_missing", "'./elf' can't be run: its interpreter '/nowhr/ld-linux-x86-64.so.2' does not exist".into()),
        (vec!["true", &long], "arg_too_long", "/command/1 has 131072 bytes; the kernel accepts at most 131071 in one argument; pass large input through input_payload_path".into()),
        (vec!["true", "x", nul], "invalid_argument", "/command/2 has a NUL byte at position 1, which no argument can contain".into()),
        (vec![nul], "invalid_argument", "/command/0 has a NUL byte at position 1, which no argument can contain".into()),
    ];
    let mut wrong = Vec::new();
    for (command, kind, expected) in &cases {
        let invocation = scene.invocation(command).env("PATH", "/usr/bin:/bin");
        let result = scene.run(&invocation).result();
        let found = (
            result.metadata.get("error.kind").map_or("", String::as_str),
            summary(&result),
        );
        if found != (*kind, expected) {
            wrong.push(format!("{found:?}\n  instead of {:?}", (kind, expected)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(!scene.path("ran").exists(), "something was run through a shell");
    scene.assert_nothing_left();
}

#[test]
fn a_rejected_run_leaves_no_file_but_the_folder_of_all_captures() {
    let scene = scene();
    for program in ["./missing", "./text", "no-such-program"] {
        scene.run(&scene.invocation(&[program]).id("rejected")).result();
        assert!(!scene.capture("rejected").exists(), "{program}");
    }
}

#[test]
fn the_longest_argument_that_the_kernel_takes_is_passed_whole() {
    let scene = Scene::new();
    let longest = "x".repeat(131_071);
    let finished = scene.run(&scene.invocation(&["printf", "%s", &longest]));
    assert_eq!(finished.captured(), longest);
}

#[test]
fn arguments_that_are_too_long_together_are_told_apart_from_a_single_one() {
    let scene = Scene::new();
    let argument = "x".repeat(100_000);
    let mut command = vec!["true"];
    command.extend(std::iter::repeat_n(argument.as_str(), 80));
    let result = scene
        .run(&scene.invocation(&command))
        .expect_rejected("arg_too_long");
    assert_eq!(
        summary(&result),
        "command and environment together are larger than the kernel accepts; pass large input through \
         input_payload_path"
    );
    let value = "x".repeat(131_072);
    let result = scene
        .run(&scene.invocation(&["true"]).env("BIG", &value))
        .expect_rejected("arg_too_long");
    assert_eq!(
        summary(&result),
        "environment variable 'BIG' has 131072 bytes; the kernel accepts at most 131067 here; pass large input \
         through input_payload_path"
    );
}

#[test]
fn variables_that_can_not_be_set_are_rejected() {
    let scene = Scene::new();
    for (name, value, reason) in [
        ("", "x", "environment variable '' can't be set: its name is empty"),
        (
            "A=B",
            "x",
            "environment variable 'A=B' can't be set: its name contains '='",
        ),
        (
            "A\0B",
            "x",
            "environment variable 'A\\0B' can't be set: its name contains a NUL byte",
        ),
        (
            "A",
            "x\0y",
            "environment variable 'A' can't be set: its value contains a NUL byte",
        ),
    ] {
        let result = scene
            .run(&scene.script("touch ran").env(name, value))
            .expect_rejected("invalid_environment");
        assert_eq!(summary(&result), reason);
    }
    assert!(!scene.path("ran").exists());
}

#[test]
fn working_directories_that_can_not_be_used_are_rejected() {
    let scene = scene();
    for (name, kind, reason) in [
        ("missing", "cwd_not_found", "does not exist"),
        ("dangling", "cwd_not_found", "does not exist"),
        ("data", "cwd_not_dir", "is not a directory"),
        ("pipe", "cwd_not_dir", "is not a directory"),
        (
            "data/below",
            "cwd_not_found",
            "does not exist: a part of the path is not a directory",
        ),
        (
            "loop",
            "cwd_not_found",
            "can't be opened: too many symbolic links encountered",
        ),
    ] {
        let path = scene.path(name);
        let invocation =
            Invocation::new(&path, &["touch", "ran"]).path("artifact_directory", &scene.path("kept"));
        let result = scene.run(&invocation).expect_rejected(kind);
        assert_eq!(
            summary(&result),
            format!("working directory '{}' {reason}", path.display())
        );
    }
    let result = scene
        .run(&scene.script("true").with("working_directory", json!("/tmp\0/x")))
        .expect_rejected("cwd_not_found");
    assert_eq!(
        summary(&result),
        "working directory '/tmp\\0/x' contains a NUL byte"
    );
}

/// Runs as a user without privileges, which root can become: root may enter and read everything.
fn run_unprivileged(scene: &Scene, invocation: &Invocation) -> RuntimeResult {
    let host = scene.path("host");
    if !host.exists() {
        // Where that user reaches it.
        copy_executable(&host_binary(), &host);
        fs::set_permissions(scene.root(), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = if nix::unistd::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&host);
        command
    } else {
        Command::new(&host)
    };
    scene
        .marked(&mut command)
        .args(["run", "-"])
        .current_dir(scene.root())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    scene
        .run_command(&mut command, invocation.text().as_bytes())
        .result()
}

#[test]
fn what_this_user_may_not_do_is_rejected() {
    let scene = Scene::new();
    let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    fs::create_dir(scene.path("kept")).unwrap();
    set(&scene.path("kept"), 0o777);
    for closed in ["closed", "read-only"] {
        fs::create_dir(scene.path(closed)).unwrap();
    }
    scene.program("closed/program", "#!/bin/sh\n");
    let secret = scene.file("secret", "");
    set(&secret, 0);
    let unreadable = scene.program("unreadable", "#!/bin/sh\n");
    set(&unreadable, 0o711);
    set(&scene.path("read-only"), 0o555);
    set(&scene.path("closed"), 0);
    let own = |invocation: Invocation| invocation.path("artifact_directory", &scene.path("kept"));
    let root = scene.root().display().to_string();
    for (invocation, kind, expected) in [
        (
            own(Invocation::new(&scene.path("closed"), &["true"])),
            "cwd_permission",
            format!("working directory '{root}/closed' may not be entered by this user"),
        ),
        (
            own(scene.invocation(&["./closed/program"])),
            "exec_permission",
            "'./closed/program' can't be reached: a directory in its path may not be searched by this user"
                .into(),
        ),
        (
            own(scene.invocation(&["true"])).path("input_payload_path", &secret),
            "input_not_found",
            format!("input payload '{root}/secret' may not be read by this user"),
        ),
        (
            scene
                .invocation(&["true"])
                .path("artifact_directory", &scene.path("read-only")),
            "artifacts_unwritable",
            "output can't be kept: ".into(),
        ),
        (
            scene
                .invocation(&["true"])
                .path("artifact_directory", &scene.path("read-only/below")),
            "artifacts_unwritable",
            "output can't be kept: ".into(),
        ),
    ] {
        let result = run_unprivileged(&scene, &invocation);
        assert_eq!(
            result.metadata.get("error.kind").map(String::as_str),
            Some(kind),
            "{result:?}"
        );
        assert!(summary(&result).starts_with(&expected), "{}", summary(&result));
        assert!(
            summary(&result).contains(&root) || kind == "exec_permission",
            "{}",
            summary(&result)
        );
    }
    set(&scene.path("closed"), 0o700);
}

#[test]
fn a_program_on_a_file_system_without_execution_is_rejected() {
    let scene = Scene::new();
    let document = scene.file("invocation.json", scene.invocation(&["./no/program"]).text());
    fs::create_dir(scene.path("no")).unwrap();
    let script = format!(
        "mount -t tmpfs -o noexec none no || exit 90; printf '#!/bin/sh\\n' > no/program; chmod +x no/program; exec \
         {} run {}",
        host_binary().display(),
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
    let result = finished.expect_rejected("exec_permission");
    assert_eq!(
        summary(&result),
        "'./no/program' may not be run: its file system is mounted noexec"
    );
}

#[test]
fn settings_that_can_not_be_used_are_rejected() {
    let scene = Scene::new();
    for (key, value) in [
        ("subprocess.grace_seconds", "soon"),
        ("subprocess.grace_seconds", "NaN"),
        ("subprocess.grace_seconds", "inf"),
        ("subprocess.max_output_bytes", "0"),
        ("subprocess.max_output_bytes", "1e6"),
        ("limits.cpu_seconds", "-1"),
        ("limits.open_files", ""),
        ("limits.memory", "1"),
        ("subprocess.nice", "1"),
    ] {
        let result = scene
            .run(&scene.script("touch ran").metadata(key, value))
            .expect_rejected("invalid_argument");
        assert!(
            summary(&result).contains(&format!("'{key}'")),
            "{}",
            summary(&result)
        );
    }
    assert!(!scene.path("ran").exists());
}
