//! Plugin files: what `check` finds in them, and what `install` and `remove` do with them.

use executor_runtime_tests::{
    copy_executable,
    descriptors::behaviours_with,
    home::{CommandOutput, Home, verdicts},
};
use serde_json::Value;
use std::{
    fs,
    fs::Permissions,
    io::Write,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::{Command, Stdio},
};

#[track_caller]
fn assert_failed(report: &Value, name: &str, reason: &str) {
    let found = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|check| check["name"] == name)
        .unwrap();
    assert_eq!(found["verdict"], "failed", "{:#?}", verdicts(report));
    let said = found["reason"].as_str().unwrap();
    assert!(said.contains(reason), "{name}: {said}");
    assert!(!found["remedy"].as_str().unwrap().is_empty());
    assert_eq!(report["passed"], false);
}

/// A plugin that always does `behaviour`: the only value that its key takes.
fn always(behaviour: &str) -> Vec<u8> {
    behaviours_with(&serde_json::json!({
        "name": "always", "version": "0.1.0", "kinds": ["always"], "interface": "1.0", "summary": "A test",
        "metadata": {"fixture.behaviour": {
            "type": "string", "required": true, "one_of": [behaviour], "help": "What to do"
        }},
    }).to_string())
}

/// A plugin called `name` with these kinds.
fn named(name: &str, kinds: &[&str]) -> Vec<u8> {
    behaviours_with(
        &serde_json::json!({
            "name": name, "version": "0.1.0", "kinds": kinds, "interface": "1.0", "summary": "A test",
            "metadata": {"fixture.behaviour": {"type": "string", "required": true, "help": "What to do"}},
        })
        .to_string(),
    )
}

#[test]
fn check_explains_files_that_are_no_plugins() {
    let home = Home::new();
    let good = named("good", &["good"]);
    let cases: &[(&str, &[u8], &str, &str)] = &[
        ("empty.wasm", b"", "file", "it is empty"),
        (
            "text.wasm",
            b"hello, world",
            "format",
            "it is not a WebAssembly component",
        ),
        (
            "truncated.wasm",
            &good[..5000],
            "format",
            "it is damaged: it is truncated",
        ),
        ("module.wasm", b"\0asm\x01\0\0\0", "format", "it is a core module"),
        ("text.so", b"hello, world", "format", "it is not a shared library"),
        (
            "none.wasm",
            b"\0asm\x0d\0\x01\0",
            "descriptor",
            "it has no descriptor",
        ),
        (
            "our_api.kind.toml",
            b"base = 'http'",
            "descriptor",
            "it is not a recipe that can be used: missing key `version`: it stands at the top of the file",
        ),
        (
            "plugin.zip",
            b"PK",
            "format",
            "it is not a file named *.wasm, *.so or *.kind.toml",
        ),
    ];
    for (name, bytes, check, reason) in cases {
        let path = home.write(name, bytes);
        let said = home.run(&["plugin", "check", &path]);
        assert_eq!(said.code, Some(1), "{said:?}");
        let report = said.json();
        assert_failed(&report, check, reason);
        // What comes after a failure is not guessed at.
        assert_eq!(verdicts(&report).last().unwrap().1, "skipped");
    }
    let report = home.run(&["plugin", "check", "./missing.wasm"]).json();
    assert_failed(&report, "file", "it can't be read: no such file or directory");
    let loose = home.write("loose.wasm", &good);
    fs::set_permissions(&loose, Permissions::from_mode(0o666)).unwrap();
    assert_failed(
        &home.run(&["plugin", "check", &loose]).json(),
        "file",
        "it is not trusted, because other users can write to",
    );
    let newer = behaviours_with(
        &serde_json::json!({
            "name": "x", "version": "0.1.0", "kinds": ["x"], "interface": "1.9", "summary": "A test"
        })
        .to_string(),
    );
    let newer = home.write("newer.wasm", &newer);
    assert_failed(
        &home.run(&["plugin", "check", &newer]).json(),
        "interface",
        "it needs plugin interface 1.9",
    );

    // Of another world, or without export_runner!.
    let run = b"executor-runtime:plugin/run@1.0.0";
    let mut other = good.clone();
    while let Some(at) = other.windows(run.len()).position(|window| window == run) {
        other[at..at + run.len()].copy_from_slice(b"executor-runtime:plugin/job@1.0.0");
    }
    let other = home.write("other.wasm", &other);
    let report = home.run(&["plugin", "check", &other]).json();
    assert_failed(
        &report,
        "imports",
        "it does not export 'executor-runtime:plugin/run@1.0.0'",
    );
    assert!(
        report
            .to_string()
            .contains("call export_runner! in the crate's library, or export the interface `run` of wit/"),
        "{report}"
    );

    let human = home.run(&["plugin", "check", &newer, "--format", "human"]);
    assert_eq!(human.code, Some(1));
    assert_eq!(
        human.stdout,
        include_str!("plugin_files/newer.txt").replace("{path}", &newer)
    );
}

#[test]
fn check_finds_plugins_that_behave_badly() {
    let home = Home::new();
    for (behaviour, check, reason) in [
        ("panic", "minimal_metadata", "plugin 'always'"),
        ("spin", "minimal_metadata", "after its deadline and was ended"),
    ] {
        let path = home.write("always.wasm", &always(behaviour));
        let said = home.run(&["plugin", "check", &path]);
        assert_eq!(said.code, Some(1), "{said:?}");
        assert_failed(&said.json(), check, reason);
        if behaviour == "spin" {
            assert_failed(&said.json(), "deadline", "after its deadline had passed");
            assert_failed(&said.json(), "stop", "after it was told to stop");
        }
    }
    let path = home.write("always.wasm", &always("ok"));
    let report = home.run(&["plugin", "check", &path]).succeeds().json();
    assert_eq!(report["passed"], true);
    assert!(
        verdicts(&report)
            .iter()
            .all(|(_, verdict, _)| verdict != "failed"),
        "{report:#}"
    );
}

#[test]
fn of_two_installs_at_once_one_plugin_comes() {
    for replace in [&[][..], &["--replace"]] {
        for round in 0..8 {
            let home = Home::new();
            let files =
                ["one", "other"].map(|name| home.write(&format!("{name}.wasm"), &named(name, &["k"])));
            let both = files.each_ref().map(|file| {
                home.command(&[&["plugin", "install", file.as_str()], replace].concat())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .unwrap()
            });
            let done = both.map(|mut child| child.wait().unwrap().success());
            let expected = if replace.is_empty() { 1 } else { 2 };
            assert_eq!(
                done.iter().filter(|done| **done).count(),
                expected,
                "round {round}"
            );
            let list = home.run(&["plugin", "list"]).succeeds().json();
            assert_eq!(list.as_array().unwrap().len(), 1, "{list}");
            assert_eq!(list[0]["runs_kinds"], serde_json::json!(["k"]));
            assert_eq!(fs::read_dir(home.plugins()).unwrap().count(), 1);
        }
    }
}

#[test]
fn what_a_killed_install_left_is_removed_by_the_next_one() {
    let home = Home::new();
    let file = home.write("one.wasm", &named("one", &["k"]));
    fs::create_dir_all(home.plugins()).unwrap();
    let mut ended = Command::new("true").spawn().unwrap();
    ended.wait().unwrap();
    let left = home.plugins().join(format!(".one.wasm.{}.partial", ended.id()));
    fs::create_dir(&left).unwrap();
    fs::write(left.join("one.wasm"), named("one", &["k"])).unwrap();
    // It is no plugin, and in nobody's way.
    assert_eq!(
        home.run(&["plugin", "list"]).succeeds().json(),
        serde_json::json!([])
    );
    home.run(&["plugin", "install", &file]).succeeds();
    assert!(!left.exists());
}

#[test]
fn install_puts_a_usable_plugin_where_the_host_finds_it() {
    let home = Home::new();
    fs::create_dir(home.join("newer")).unwrap();
    let (one, other) = (
        home.write("one.wasm", &named("one", &["k"])),
        home.write("other.wasm", &named("other", &["k"])),
    );
    home.run(&["plugin", "install", &one]).succeeds();
    let installed = home.plugins().join("one.wasm");
    assert_eq!(fs::read(&installed).unwrap(), fs::read(&one).unwrap());
    assert_eq!(installed.metadata().unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(
        home.run(&["plugin", "inspect", "k"]).succeeds().json()["descriptor"]["name"],
        "one"
    );
    let list = home.run(&["plugin", "list"]).succeeds().json();
    assert_eq!(list[0]["runs_kinds"], serde_json::json!(["k"]));

    // The same file again changes nothing, and the kind is taken for others.
    let modified = || installed.metadata().unwrap().modified().unwrap();
    let before = modified();
    let said = home.run(&["plugin", "install", &one]).succeeds();
    assert_eq!(
        said.stderr,
        format!("'{}' is already installed\n", installed.display())
    );
    home.run(&["plugin", "install", installed.to_str().unwrap()])
        .succeeds();
    assert_eq!(modified(), before);
    home.run(&["plugin", "install", &other])
        .fails_with("not installed: kind 'k' is taken by '");
    let newer = [&named("one", &["k"])[..], &[0, 2, 1, b'x']].concat();
    let newer = home.write("newer/one.wasm", &newer);
    home.run(&["plugin", "install", &newer])
        .fails_with("use --replace to install over it");
    assert_eq!(modified(), before);
    let files = || {
        let mut names: Vec<_> = fs::read_dir(home.plugins())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(files(), ["one.wasm"]);
    home.run(&["plugin", "install", &one, "--replace"]).succeeds();
    assert_eq!(files(), ["one.wasm"]);
    home.run(&["plugin", "install", &other, "--replace"]).succeeds();
    assert_eq!(files(), ["other.wasm"]);

    // Another kind under the same name of a file.
    fs::create_dir(home.join("new")).unwrap();
    let same_name = home.write("new/other.wasm", &named("third", &["third"]));
    home.run(&["plugin", "install", &same_name])
        .fails_with("other.wasm' exists; use --replace");

    home.run(&["plugin", "remove", "k"]).succeeds();
    assert!(files().is_empty());
    home.run(&["plugin", "remove", "k"])
        .fails_with("no installed plugin has the name or kind 'k'");
}

#[test]
fn install_and_check_compile_what_a_run_then_finds() {
    let run = [
        "run",
        "--kind",
        "k",
        "--metadata",
        "fixture.behaviour=ok",
        "--",
        "run",
    ];
    for way in ["install", "check"] {
        let home = Home::new();
        let file = home.write("one.wasm", &named("one", &["k"]));
        home.run(&["plugin", way, &file]);
        assert_eq!(home.compiled(), 1, "{way}");
        if way == "install" {
            home.run(&run).succeeds();
            assert_eq!(home.compiled(), 1, "the run finds it");
        }
    }

    // One that compiles to nothing useful is installed all the same, and that is told.
    let home = Home::new();
    let mut bytes = named("one", &["k"]);
    // A second core module, whose one function is not what its type says.
    bytes.extend(b"\x01\x19\0asm\x01\0\0\0\x01\x05\x01\x60\0\x01\x7f\x03\x02\x01\0\x0a\x04\x01\x02\0\x0b");
    let file = home.write("one.wasm", &bytes);
    let said = home.run(&["plugin", "install", &file]).succeeds();
    assert!(
        said.stderr.contains("note: '") && said.stderr.contains("can't be loaded"),
        "{}",
        said.stderr
    );
}

/// A home with the plugin `some-name`, and an invocation of its kind `greeting`.
fn with_some_name() -> (Home, String) {
    let home = Home::new();
    let file = home.write("one.wasm", &named("some-name", &["greeting"]));
    home.run(&["plugin", "install", &file]).succeeds();
    let invocation = serde_json::json!({
        "invocation_id": "i", "runtime_name": "r", "runtime_kind": "greeting", "working_directory": home.path(),
        "command": ["x"], "metadata": {"fixture.behaviour": "ok"},
    });
    let invocation = home.write("i.json", invocation.to_string().as_bytes());
    (home, invocation)
}

#[test]
fn what_is_configured_for_no_plugin_is_told() {
    let (home, invocation) = with_some_name();
    let config = home.write(
        "c.toml",
        b"[plugins.elsewhere]\nenabled = false\n[plugins.some-name]\nenabled = true\n[plugins.some]\n",
    );
    for arguments in [
        &["plugin", "list"][..],
        &["explain", &invocation],
        &["run", &invocation],
        &["kinds"],
    ] {
        let said = home.run(&[&["--config", &config], arguments].concat()).succeeds();
        let count = |text: &str| said.stderr.matches(text).count();
        let warning = "in the configuration matches no plugin that was found";
        assert_eq!(count(&format!("[plugins.elsewhere] {warning}\n")), 1, "{said:?}");
        let beginning = format!("[plugins.some] {warning}; did you mean 'some-name'?");
        assert_eq!(count(&beginning), 1, "{said:?}");
        assert_eq!(count("[plugins."), 2, "{arguments:?}: {said:?}");
    }
    let said = home.run(&["--config", &config, "run", "--", "true"]).succeeds();
    assert_eq!(said.stderr, "", "nothing looks for plugins there");
}

#[test]
fn what_is_configured_under_a_wrong_name_is_an_error() {
    let (home, invocation) = with_some_name();
    for (name, problem) in [
        ("some-nam", "matches no plugin; did you mean [plugins.some-name]?"),
        (
            "Some_Name",
            "matches no plugin; did you mean [plugins.some-name]?",
        ),
        (
            "greeting",
            "is for a kind, and not for the plugin that runs it; write [plugins.some-name]",
        ),
        (
            "greetng",
            "matches no plugin; did you mean [plugins.some-name], which runs kind 'greeting'?",
        ),
        (
            "subprocess",
            "is for a kind that is built in; write [subprocess] or [limits] for that",
        ),
    ] {
        let text = format!("[plugins.{name}]\nenabled = false\n");
        let config = home.write("c.toml", text.as_bytes());
        let problem = format!("[plugins.{name}] in the configuration {problem}");
        let run = |arguments: &[&str]| home.run(&[&["--config", &config], arguments].concat());
        for arguments in [
            &["plugin", "list"][..],
            &["plugin", "inspect", "some-name"],
            &["plugin", "check", "some-name"],
            &["kinds"],
        ] {
            run(arguments).fails_with(&problem);
        }
        let said = run(&["run", &invocation]);
        assert_eq!(said.code, Some(3), "{said:?}");
        let result = said.json();
        assert_eq!(result["metadata"]["error.kind"], "plugin_unusable");
        assert_eq!(result["error_summary"], *problem);
        let said = run(&["explain", &invocation]);
        assert_eq!(said.code, Some(3), "{said:?}");
        assert_eq!(said.json()["rejected"]["error_summary"], *problem);
        // It is about plugins.
        run(&["run", "--", "true"]).succeeds();
    }
}

#[test]
fn install_refuses_what_the_host_would_not_use() {
    let home = Home::new();
    let broken = home.write("broken.wasm", b"hello, world");
    home.run(&["plugin", "install", &broken])
        .fails_with("not installed: '");
    home.run(&["plugin", "install", "missing.wasm"])
        .fails_with("can't be read: no such file or directory");
    let good = home.write("good.wasm", &named("good", &["good"]));
    let loose = home.join("loose");
    fs::create_dir(&loose).unwrap();
    fs::set_permissions(&loose, Permissions::from_mode(0o777)).unwrap();
    let into = loose.display().to_string();
    home.run(&["plugin", "install", &good, "--into", &into])
        .fails_with("is not trusted, because other users can write to");
    assert_eq!(fs::read_dir(&loose).unwrap().count(), 0);
    assert!(!home.plugins().join("broken.wasm").exists());

    // Where the host does not look, it says so; and a kind that is hidden is told.
    let aside = home.join("aside").display().to_string();
    let said = home
        .run(&["plugin", "install", &good, "--into", &aside])
        .succeeds();
    assert!(
        said.stderr.contains("is not on the plugin search path"),
        "{}",
        said.stderr
    );
    let said = home
        .run(&[
            "--plugins-dir",
            &aside,
            "plugin",
            "install",
            &good,
            "--into",
            &home.plugins().display().to_string(),
        ])
        .succeeds();
    assert!(
        said.stderr.contains("is shadowed: kind 'good' is taken by"),
        "{}",
        said.stderr
    );
}

#[test]
fn remove_takes_only_what_is_installed() {
    let home = Home::new();
    let mine = home.write("mine.wasm", &named("mine", &["mine"]));
    home.run(&["plugin", "remove", &mine])
        .fails_with("is not a file in a plugins directory");
    assert!(Path::new(&mine).exists());
    home.run(&["plugin", "install", &mine]).succeeds();
    fs::write(home.plugins().join("broken.wasm"), "").unwrap();
    // What can't be used can be removed all the same.
    home.run(&["plugin", "remove", "broken.wasm"]).succeeds();
    home.run(&[
        "plugin",
        "remove",
        &home.plugins().join("mine.wasm").display().to_string(),
    ])
    .succeeds();
    assert_eq!(fs::read_dir(home.plugins()).unwrap().count(), 0);
    assert!(Path::new(&mine).exists());
}

/// The host's two executables.
const EXECUTABLES: [&str; 2] = ["executor-runtime", "executor-runtime-engine"];

/// A home with the plugin `good`, and copies of `executables` in its folder `bin`; returns what runs an invocation of
/// that plugin, as a document on stdin, with the executable at a path in the home.
fn with_executables(executables: &[&str]) -> (Home, impl Fn(&Home, &str, &[&str]) -> CommandOutput) {
    let home = Home::new();
    fs::create_dir(home.join("bin")).unwrap();
    fs::create_dir_all(home.plugins()).unwrap();
    fs::write(home.plugins().join("good.wasm"), named("good", &["good"])).unwrap();
    for name in executables {
        let built = executor_runtime_tests::host_binary().with_file_name(name);
        copy_executable(&built, &home.join("bin").join(name));
    }
    let run = |home: &Home, executable: &str, arguments: &[&str]| {
        let document = serde_json::json!({
            "invocation_id": "i", "runtime_name": "tests", "runtime_kind": "good",
            "working_directory": home.path(), "command": ["-"], "timeout_seconds": 60,
            "metadata": {"fixture.behaviour": "ok"},
        });
        let mut child = home
            .command_of(&home.join(executable), arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(document.to_string().as_bytes())
            .unwrap();
        child.wait_with_output().unwrap().into()
    };
    (home, run)
}

#[test]
fn the_small_executable_finds_the_engine_beside_itself_however_it_is_called() {
    let (home, run) = with_executables(&EXECUTABLES);
    symlink("bin/executor-runtime", home.join("linked")).unwrap();
    for executable in ["bin/executor-runtime", "linked", "bin/executor-runtime-engine"] {
        let said = run(&home, executable, &["run", "-"]);
        assert_eq!(said.code, Some(0), "{executable}: {said:?}");
        assert_eq!(said.stderr, "", "{executable}");
        let result: Value = serde_json::from_str(&said.stdout).unwrap();
        assert_eq!(result["metadata"]["plugin.carrier"], "component", "{executable}");
    }
}

#[test]
fn an_invocation_is_read_once_wherever_it_comes_from() {
    let (home, run) = with_executables(&EXECUTABLES);
    for command in ["run", "explain"] {
        for file in ["-", "/dev/stdin", "/proc/self/fd/0"] {
            let said = run(&home, "bin/executor-runtime", &[command, file]);
            assert_eq!(said.code, Some(0), "{command} {file}: {said:?}");
        }
    }
}

#[test]
fn a_hand_over_that_fails_is_a_result() {
    let (home, run) = with_executables(&EXECUTABLES);
    let script = home.write(
        "limited",
        format!(
            "#!/bin/bash\nulimit -f 0; exec '{}' run -\n",
            home.join("bin/executor-runtime").display()
        )
        .as_bytes(),
    );
    fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    let said = run(&home, "limited", &[]);
    assert_eq!(said.code, Some(3), "{said:?}");
    let result: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(result["metadata"]["error.kind"], "host_exhausted");
    assert!(
        result["error_summary"].as_str().unwrap().contains("ulimit -f"),
        "{result}"
    );
}

#[test]
fn reading_stdin_for_a_plugin_counts_against_the_time_of_the_run() {
    let (home, _) = with_executables(&EXECUTABLES);
    let small = home.join("bin/executor-runtime");
    let arguments = [
        "run",
        "--stdin",
        "--timeout",
        "1",
        "--kind",
        "good",
        "--metadata",
        "fixture.behaviour=ok",
    ];
    // Its other end stays open.
    let (stdin, _held) = std::io::pipe().unwrap();
    let output = home.command_of(&small, &arguments).stdin(stdin).output().unwrap();
    let said = CommandOutput::from(output);
    assert_eq!(said.code, Some(124), "{said:?}");
    let result: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(result["status"], "timed_out");
    assert_eq!(result["error_summary"], "timed out while stdin was read");
}

#[test]
fn an_installed_plugin_that_is_refused_is_not_said_to_be_missing() {
    let home = Home::new();
    let good = home.write("good.wasm", &named("good", &["good"]));
    home.run(&["plugin", "install", &good]).succeeds();
    let installed = home.plugins().join("good.wasm");
    fs::set_permissions(&installed, Permissions::from_mode(0o666)).unwrap();
    let path = installed.canonicalize().unwrap().display().to_string();
    let reason = format!("because other users can write to '{path}' (mode 0666); run: chmod go-w '{path}'");
    let checked = home.run(&["plugin", "check", "good"]);
    assert_eq!(checked.code, Some(1), "{checked:?}");
    assert_failed(&checked.json(), "file", &format!("it is not trusted, {reason}"));
    let inspected = home.run(&["plugin", "inspect", "good"]).succeeds().json();
    assert_eq!(inspected["reason"], format!("is not trusted, {reason}"));
    home.run(&["plugin", "check", "other"]).fails_with(&format!(
        "no plugin that can be used has the name or kind 'other', but it may be in a file that can't be used: '{}' is not \
         trusted, {reason}",
        installed.display()
    ));
}

#[test]
fn a_missing_engine_is_named_and_stops_only_what_needs_it() {
    let (home, run) = with_executables(&EXECUTABLES[..1]);
    let said = run(&home, "bin/executor-runtime", &["run", "-"]);
    assert_eq!(said.code, Some(3), "{said:?}");
    let result: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(result["metadata"]["error.kind"], "plugin_unusable");
    let engine = home.join("bin").canonicalize().unwrap().join(EXECUTABLES[1]);
    let expected = format!("'{}' does not exist", engine.display());
    let summary = result["error_summary"].as_str().unwrap();
    assert!(summary.starts_with(&expected), "{summary}");
    let small = home.join("bin/executor-runtime");
    for arguments in [&["run", "--", "true"][..], &["kinds"], &["plugin", "list"]] {
        let said = CommandOutput::from(home.command_of(&small, arguments).output().unwrap());
        assert_eq!(said.code, Some(0), "{arguments:?}: {said:?}");
    }
    let kinds = CommandOutput::from(home.command_of(&small, &["kinds"]).output().unwrap());
    assert!(kinds.stdout.contains("\"good\""), "{}", kinds.stdout);
    // Listings say what is missing, and where it was looked for.
    let expected = format!("needs the WebAssembly engine: {expected}");
    let reason = kinds.json()[0]["reason"].take();
    assert!(reason.as_str().unwrap().starts_with(&expected), "{reason}");
    let listed = CommandOutput::from(home.command_of(&small, &["plugin", "list"]).output().unwrap()).json();
    assert_eq!(listed[0]["usable"], false);
    assert!(
        listed[0]["reason"].as_str().unwrap().starts_with(&expected),
        "{listed}"
    );
    for command in [&["kinds"][..], &["plugin", "list"]] {
        let arguments = [command, &["--format", "human"]].concat();
        let shown = CommandOutput::from(home.command_of(&small, &arguments).output().unwrap()).stdout;
        assert!(shown.contains(&expected), "{shown}");
    }
}

#[test]
fn executables_of_two_builds_refuse_each_other() {
    let (home, _) = with_executables(&EXECUTABLES);
    let handed_over = ["__handed-over", "another build", "kinds"];
    let engine = home.join("bin/executor-runtime-engine");
    let said = CommandOutput::from(home.command_of(&engine, &handed_over).output().unwrap());
    assert_eq!((said.code, said.stdout.as_str()), (Some(2), ""));
    assert!(
        said.stderr.contains("install both from one build"),
        "{}",
        said.stderr
    );
}

#[test]
fn remove_leaves_what_is_not_the_users_own_unless_it_is_told() {
    let home = Home::new();
    let bytes = named("one", &["k"]);
    fs::create_dir_all(home.join("shared")).unwrap();
    let shared = home.join("shared").display().to_string();
    let theirs = home.write("shared/one.wasm", &bytes);
    let remove = |wanted: &str, arguments: &[&str]| {
        let mut command = home.command(&[arguments, &["plugin", "remove", wanted]].concat());
        command.env("EXECUTOR_RUNTIME_PLUGINS_DIR", &shared);
        CommandOutput::from(command.output().unwrap())
    };
    let advice = format!(
        "not removed: '{theirs}' is not in your own plugins directory; to remove it anyway, add --plugins-dir \
         '{shared}'"
    );
    for wanted in ["one", "k", "one.wasm", &theirs] {
        remove(wanted, &[]).fails_with(&advice);
    }
    // Of several it is the user's own, whichever runs.
    let mine = home.write("mine.wasm", &bytes);
    home.run(&["plugin", "install", &mine]).succeeds();
    remove("k", &[]).succeeds();
    assert!(!home.plugins().join("mine.wasm").exists() && Path::new(&theirs).exists());
    remove("k", &[]).fails_with(&advice);

    home.run(&["plugin", "install", &mine]).succeeds();
    remove("k", &["--plugins-dir", &shared]).succeeds();
    assert!(home.plugins().join("mine.wasm").exists() && !Path::new(&theirs).exists());
    remove("k", &["--plugins-dir", &shared]).fails_with("is not in the directory that --plugins-dir names");
}

#[test]
fn inspect_shows_the_plugin_that_runs() {
    let home = Home::new();
    for directory in ["first", "second"] {
        fs::create_dir(home.join(directory)).unwrap();
    }
    let (first, second) = (home.join("first"), home.join("second"));
    let directories = [
        "--plugins-dir",
        first.to_str().unwrap(),
        "--plugins-dir",
        second.to_str().unwrap(),
    ];
    let inspect = |wanted: &str| {
        let said = home.run(&[&directories[..], &["plugin", "inspect", wanted]].concat());
        said.succeeds().json()["path"].as_str().unwrap().to_owned()
    };
    let one = home.write("first/one.wasm", &named("one", &["k"]));
    let other = home.write("second/one.wasm", &named("one", &["k", "another"]));
    assert_eq!(inspect("one"), one);
    assert_eq!(inspect("k"), one);
    assert_eq!(inspect("another"), other);
    // One that can't be used is passed over for one that can.
    fs::set_permissions(&one, Permissions::from_mode(0o666)).unwrap();
    assert_eq!(inspect("k"), other);
}

#[test]
fn a_plugins_directory_that_is_named_has_to_be_there() {
    let home = Home::new();
    home.write("file", b"");
    for (name, reason) in [
        ("typo", "there is no such directory"),
        ("file", "it is not a directory"),
    ] {
        let problem = format!("'{name}': {reason}");
        for arguments in [
            &["plugin", "list"][..],
            &["kinds"],
            &["run", "--", "true"],
            &["plugin", "remove", "x"],
        ] {
            home.run(&[&["--plugins-dir", name], arguments].concat())
                .fails_with(&format!("--plugins-dir {problem}"));
            let mut command = home.command(arguments);
            let said = CommandOutput::from(
                command
                    .env("EXECUTOR_RUNTIME_PLUGINS_DIR", name)
                    .output()
                    .unwrap(),
            );
            let warning = format!(" EXECUTOR_RUNTIME_PLUGINS_DIR={problem}\n");
            assert_eq!(said.code == Some(0), !arguments.contains(&"remove"), "{said:?}");
            assert_eq!(said.stderr.matches(&warning).count(), 1, "{said:?}");
        }
    }
    // It is made for what is installed there.
    let file = home.write("one.wasm", &named("one", &["k"]));
    home.run(&["--plugins-dir", "new", "plugin", "install", &file])
        .succeeds();
    assert!(home.join("new/one.wasm").exists());
}
