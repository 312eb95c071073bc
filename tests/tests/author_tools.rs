//! From `plugin new` to a running plugin, with the real binary: new, test, build, check, install, run, remove.
//! And what the tools say of what is broken.

use executor_runtime_tests::{fixtures, host_binary, not_tested, readme::section, server};
use guest_build::workspace;
use serde_json::Value;
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// A user's empty home, and the binary run in it.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(host_binary());
        command
            .args(arguments)
            .current_dir(self.path())
            .env("XDG_DATA_HOME", self.join("data"))
            .env("XDG_CACHE_HOME", self.join("cache"))
            .env("XDG_CONFIG_HOME", self.join("config"))
            .env_remove("EXECUTOR_RUNTIME_PLUGINS_DIR");
        command
    }

    fn run(&self, arguments: &[&str]) -> Said {
        self.command(arguments).output().unwrap().into()
    }

    /// Makes a new plugin.
    fn make(&self, name: &str) {
        self.run(&["plugin", "new", name, "--sdk", &sdk()]).succeeds();
    }

    /// How many components are compiled already.
    fn compiled(&self) -> usize {
        fs::read_dir(self.join("cache/executor-runtime")).map_or(0, Iterator::count)
    }

    /// Where `install` puts plugins.
    fn plugins(&self) -> PathBuf {
        self.join("data/executor-runtime/plugins")
    }

    fn write(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        path.display().to_string()
    }
}

/// The checkout whose SDK a new plugin uses.
fn sdk() -> String {
    workspace().display().to_string()
}

/// What the binary printed, and how it exited.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Said {
    #[track_caller]
    fn succeeds(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    #[track_caller]
    fn fails_with(self, words: &str) -> Self {
        assert_eq!(self.code, Some(2), "{self:?}");
        assert!(self.stderr.contains(words), "{}", self.stderr);
        self
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// The verdict on each check of a report, with its reason.
fn verdicts(report: &Value) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|check| {
            (
                text(&check["name"]),
                text(&check["verdict"]),
                text(&check["reason"]),
            )
        })
        .collect()
}

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

/// Has the cargo in the crate use what this workspace has built. What only a component needs may not be downloaded
/// yet.
fn as_here(command: &mut Command) -> &mut Command {
    command
        .env("CARGO_TARGET_DIR", guest_build::target_directory())
        .env("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "true")
}

const SECTION: &[u8] = b"executor-runtime.plugin";

fn leb(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        bytes.push(if value == 0 { byte } else { byte | 0x80 });
        if value == 0 {
            return bytes;
        }
    }
}

/// The fixture that behaves as it is told, with `descriptor` before its own.
fn behaviours_with(descriptor: &Value) -> Vec<u8> {
    let mut section = leb(SECTION.len());
    section.extend(SECTION);
    section.extend(descriptor.to_string().as_bytes());
    let component = fs::read(fixtures::component("fixture-behaviours")).unwrap();
    let mut bytes = component[..8].to_vec();
    bytes.push(0);
    bytes.extend(leb(section.len()));
    bytes.extend(section);
    bytes.extend(&component[8..]);
    bytes
}

/// A plugin that always does `behaviour`: the only value that its key takes.
fn always(behaviour: &str) -> Vec<u8> {
    behaviours_with(&serde_json::json!({
        "name": "always", "version": "0.1.0", "kinds": ["always"], "interface": "1.0", "summary": "A test",
        "metadata": {"fixture.behaviour": {
            "type": "string", "required": true, "one_of": [behaviour], "help": "What to do"
        }},
    }))
}

/// A plugin called `name` with these kinds.
fn named(name: &str, kinds: &[&str]) -> Vec<u8> {
    behaviours_with(&serde_json::json!({
        "name": name, "version": "0.1.0", "kinds": kinds, "interface": "1.0", "summary": "A test",
        "metadata": {"fixture.behaviour": {"type": "string", "required": true, "help": "What to do"}},
    }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_new_to_a_running_plugin() {
    // `plugin build` knows this one way.
    if let Err(error) = guest_build::Toolchain::rustup() {
        not_tested("the way from a new plugin to a running one", format!("{error:#}"));
        return;
    }
    let home = Home::new();
    let sdk = sdk();
    let said = home
        .run(&["plugin", "new", "wait-up", "--kind", "wait_up", "--sdk", &sdk])
        .succeeds();
    assert!(
        said.stderr.contains("executor-runtime plugin build 'wait-up'"),
        "{}",
        said.stderr
    );
    let crate_folder = home.join("wait-up");
    // The versions that are downloaded already.
    fs::copy(workspace().join("Cargo.lock"), crate_folder.join("Cargo.lock")).unwrap();

    // Its own tests pass, and the one that comes with export_runner!.
    let tested = as_here(
        Command::new("cargo")
            .args(["test", "--release"])
            .current_dir(&crate_folder),
    )
    .output()
    .unwrap();
    let printed = String::from_utf8_lossy(&tested.stdout).into_owned();
    assert!(
        tested.status.success(),
        "{printed}{}",
        String::from_utf8_lossy(&tested.stderr)
    );
    for test in [
        "it_waits_until_the_service_is_up",
        "it_stops_when_it_is_told_to",
        "plugin_json_is_valid",
    ] {
        assert!(printed.contains(&format!("{test} ... ok")), "{printed}");
    }

    let built: Said = as_here(&mut home.command(&["plugin", "build", "wait-up"]))
        .output()
        .unwrap()
        .into();
    let built = built.succeeds().json();
    let carriers: Vec<_> = built
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["carrier"].clone())
        .collect();
    assert_eq!(carriers, ["component", "native"]);
    let path = |index: usize| built[index]["path"].as_str().unwrap().to_owned();
    let (component, native) = (path(0), path(1));
    assert!(
        component.ends_with("/plugins/component/wait-up.wasm"),
        "{component}"
    );
    assert!(native.ends_with("/plugins/native/wait-up.so"), "{native}");
    for file in built.as_array().unwrap() {
        assert_eq!(file["kinds"], serde_json::json!(["wait_up"]));
        assert!(
            (10_000..20_000_000).contains(&file["bytes"].as_u64().unwrap()),
            "{file}"
        );
    }

    let checked = home.run(&["plugin", "check", &component]).succeeds().json();
    for (name, verdict, reason) in verdicts(&checked) {
        let expected = if name == "odd_text" { "skipped" } else { "passed" };
        assert_eq!(verdict, expected, "{name}: {reason}");
    }
    // What this host can't run it says; what it can run is in order.
    let checked = home.run(&["plugin", "check", &native]).succeeds().json();
    assert_eq!(checked["passed"], true);

    home.run(&["plugin", "install", &component]).succeeds();
    let server = server::Server::start(|_| server::Reply::ok("here")).await;
    let url = format!("wait_up.url={}", server.url("/"));
    let run = [
        "run",
        "--kind",
        "wait_up",
        "--metadata",
        &url,
        "--timeout",
        "20",
        "--",
        "wait",
    ];
    let result = home.run(&run).succeeds().json();
    assert_eq!(result["status"], "succeeded");
    assert_eq!(result["exit_code"], 200);
    assert_eq!(result["metadata"]["wait_up.attempts"], "1");
    assert_eq!(server.requests(), 1);
    // Beside where it was built it runs as well.
    let directory = Path::new(&component).parent().unwrap().display().to_string();
    let mut from_build = vec!["--plugins-dir", &directory];
    from_build.extend(run);
    home.run(&["plugin", "remove", "wait-up"]).succeeds();
    assert_eq!(home.run(&from_build).succeeds().json()["status"], "succeeded");
}

#[test]
fn the_readmes_plugin_passes_its_test_and_runs() {
    // `plugin build` knows this one way.
    if let Err(error) = guest_build::Toolchain::rustup() {
        not_tested("the README's plugin", format!("{error:#}"));
        return;
    }
    let home = Home::new();
    let sdk = sdk();
    home.run(&["plugin", "new", "greeter", "--sdk", &sdk]).succeeds();
    let crate_folder = home.join("greeter");
    fs::copy(workspace().join("Cargo.lock"), crate_folder.join("Cargo.lock")).unwrap();
    fs::write(crate_folder.join("plugin.json"), section("plugin descriptor")).unwrap();
    let tests = format!(
        "#[cfg(test)]\nmod tests {{ use super::*; {} }}",
        section("plugin test")
    );
    let source = section("plugin source") + &tests;
    fs::write(crate_folder.join("src/lib.rs"), source).unwrap();

    let tested: Said = as_here(
        Command::new("cargo")
            .args(["test", "--release"])
            .current_dir(&crate_folder),
    )
    .output()
    .unwrap()
    .into();
    assert!(tested.succeeds().stdout.contains("it_greets ... ok"));
    let built: Said = as_here(&mut home.command(&["plugin", "build", "greeter"]))
        .output()
        .unwrap()
        .into();
    for file in built.succeeds().json().as_array().unwrap() {
        let path = Path::new(file["path"].as_str().unwrap());
        let directory = path.parent().unwrap().display().to_string();
        let run = [
            "run",
            "--kind",
            "greet",
            "--metadata",
            "greet.name=Ada",
            "--",
            "greet",
        ];
        let result = home.run(&[&["--plugins-dir", &directory], &run[..]].concat());
        assert_eq!(result.succeeds().json()["metadata"]["greet.text"], "Hello, Ada!");
    }
}

#[test]
fn new_says_what_it_can_not_make() {
    let home = Home::new();
    home.run(&["plugin", "new", "Wait"])
        .fails_with("'Wait' can't be the name of a plugin: expected a lower-case letter");
    home.run(&["plugin", "new", "test"])
        .fails_with("'test' can't be the name of a crate");
    home.run(&["plugin", "new", "x", "--kind", "subprocess"])
        .fails_with("the kind 'subprocess' belongs to the host");
    home.run(&["plugin", "new", "x", "--kind", "a-b"])
        .fails_with("--kind 'a-b' is not a kind");
    home.run(&["plugin", "new", "x", "--sdk", "."])
        .fails_with("no SDK in '.'");
    home.run(&["plugin", "new", "x"])
        .fails_with("--sdk PATH is missing: a checkout of executor-runtime");
    home.run(&["plugin", "new", "x", "--into", "missing", "--sdk", &sdk()])
        .fails_with("'missing/x' can't be made");
    assert_eq!(
        fs::read_dir(home.path()).unwrap().count(),
        0,
        "nothing was written"
    );

    home.make("x");
    fs::write(home.join("x/mine"), "kept").unwrap();
    home.run(&["plugin", "new", "x", "--sdk", &sdk()])
        .fails_with("'x' exists; nothing was written");
    assert_eq!(fs::read_to_string(home.join("x/mine")).unwrap(), "kept");
}

#[test]
fn build_says_what_is_missing() {
    let home = Home::new();
    home.run(&["plugin", "build", "nowhere"])
        .fails_with("'nowhere' can't be opened");
    home.run(&["plugin", "build"]).fails_with("no Cargo.toml in '.'");
    home.make("x");
    let manifest = fs::read_to_string(home.join("x/Cargo.toml")).unwrap();
    let descriptor = fs::read_to_string(home.join("x/plugin.json")).unwrap();

    fs::remove_file(home.join("x/plugin.json")).unwrap();
    home.run(&["plugin", "build", "x"])
        .fails_with("no plugin.json in 'x'");
    fs::write(home.join("x/plugin.json"), descriptor.replace("\"0.1.0\"", "1")).unwrap();
    home.run(&["plugin", "build", "x"])
        .fails_with("/version: found 1");
    fs::write(home.join("x/plugin.json"), descriptor).unwrap();

    fs::write(home.join("x/Cargo.toml"), manifest.replace("\"cdylib\", ", "")).unwrap();
    home.run(&["plugin", "build", "x"])
        .fails_with("set crate-type = [\"cdylib\", \"rlib\"]");
    fs::write(home.join("x/Cargo.toml"), "[package]\nname = 1").unwrap();
    home.run(&["plugin", "build", "x"])
        .fails_with("cargo can't use '");

    fs::write(home.join("x/Cargo.toml"), manifest).unwrap();
    let without_cargo = home
        .command(&["plugin", "build", "x"])
        .env("PATH", "")
        .output()
        .unwrap();
    Said::from(without_cargo).fails_with("cargo is not installed, or not in PATH");
}

/// Programs that stand for cargo, rustc and rustup on a machine without the component target.
#[test]
fn a_missing_target_is_asked_of_rustup_and_its_failure_explained() {
    let home = Home::new();
    home.make("x");
    let bin = home.join("bin");
    fs::create_dir(&bin).unwrap();
    let program = |name: &str, script: &str| {
        let path = bin.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    };
    let manifest = home.join("x/Cargo.toml").canonicalize().unwrap();
    let metadata = serde_json::json!({
        "packages": [{"manifest_path": manifest, "targets": [{"crate_types": ["cdylib"]}]}],
        "target_directory": home.join("x/target"),
    });
    program(
        "cargo",
        &format!("[ $1 = metadata ] && echo '{metadata}' || exit 101"),
    );
    program("rustc", &format!("echo {}", home.join("libdir").display()));
    let build = || -> Said {
        home.command(&["plugin", "build", "x"])
            .env("PATH", &bin)
            .output()
            .unwrap()
            .into()
    };
    build().fails_with("there is no rustup here to install it");
    program("rustup", "exit 1");
    let said = build().fails_with("'rustup target add wasm32-wasip2' failed");
    assert!(
        said.stderr.contains("https://rustup.rs") && said.stderr.contains("--native"),
        "{said:?}"
    );
    program(
        "rustup",
        &format!(
            "echo \"$@\" > {0}/asked; /bin/mkdir {0}/libdir",
            home.path().display()
        ),
    );
    build().fails_with("the component was not built: cargo failed");
    assert_eq!(
        fs::read_to_string(home.join("asked")).unwrap(),
        "target add wasm32-wasip2\n"
    );
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
            "it is damaged: it breaks off",
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
            "plugin.zip",
            b"PK",
            "format",
            "it is not a file named *.wasm or *.so",
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
        "it could be changed by others",
    );
    let newer = behaviours_with(&serde_json::json!({
        "name": "x", "version": "0.1.0", "kinds": ["x"], "interface": "1.9", "summary": "A test"
    }));
    let newer = home.write("newer.wasm", &newer);
    assert_failed(
        &home.run(&["plugin", "check", &newer]).json(),
        "interface",
        "it needs plugin interface 1.9",
    );

    let human = home.run(&["plugin", "check", &newer, "--format", "human"]);
    assert_eq!(human.code, Some(1));
    assert_eq!(
        human.stdout,
        include_str!("author_tools/newer.txt").replace("{path}", &newer)
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
fn install_puts_a_usable_plugin_where_the_host_finds_it() {
    let home = Home::new();
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

    // The kind is taken, also by the same file.
    home.run(&["plugin", "install", &other])
        .fails_with("not installed: kind 'k' is taken by '");
    home.run(&["plugin", "install", &one])
        .fails_with("use --replace to install over it");
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

#[test]
fn what_is_configured_for_no_plugin_is_told() {
    let home = Home::new();
    let file = home.write("one.wasm", &named("some-name", &["k"]));
    home.run(&["plugin", "install", &file]).succeeds();
    let config = home.write(
        "c.toml",
        b"[plugins.some-nam]\nenabled = false\n[plugins.some-name]\nenabled = true\n",
    );
    let invocation = serde_json::json!({
        "invocation_id": "i", "runtime_name": "r", "runtime_kind": "k", "working_directory": home.path(),
        "command": ["x"], "metadata": {"fixture.behaviour": "ok"},
    });
    let invocation = home.write("i.json", invocation.to_string().as_bytes());
    let warning = "[plugins.some-nam] in the configuration is for no plugin that was found; \
                   did you mean 'some-name'?";
    for arguments in [
        &["plugin", "list"][..],
        &["explain", &invocation],
        &["run", &invocation],
        &["kinds"],
    ] {
        let said = home.run(&[&["--config", &config], arguments].concat()).succeeds();
        assert_eq!(
            said.stderr.matches(warning).count(),
            1,
            "{arguments:?}: {}",
            said.stderr
        );
        assert_eq!(
            said.stderr.matches("[plugins.").count(),
            1,
            "{arguments:?}: {}",
            said.stderr
        );
    }
    let said = home.run(&["--config", &config, "run", "--", "true"]).succeeds();
    assert_eq!(said.stderr, "", "nobody looks for plugins there");
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
        .fails_with("could be changed by others");
    assert_eq!(fs::read_dir(&loose).unwrap().count(), 0);
    assert!(!home.plugins().join("broken.wasm").exists());

    // Where the host does not look, it says so; and a kind that is hidden is told.
    let aside = home.join("aside").display().to_string();
    let said = home
        .run(&["plugin", "install", &good, "--into", &aside])
        .succeeds();
    assert!(
        said.stderr.contains("is not searched by itself"),
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

/// What another toolchain makes of `wit/`: a component without a descriptor.
fn bare_component() -> Vec<u8> {
    let mut bytes = fs::read(fixtures::component("fixture-behaviours")).unwrap();
    let found = bytes
        .windows(SECTION.len())
        .position(|window| window == SECTION)
        .expect("the fixture has a descriptor");
    bytes[found..found + SECTION.len()].copy_from_slice(b"some.other.section.name");
    bytes
}

const EMBEDDED: &[u8] = br#"{
    "name": "foreign", "version": "0.1.0", "kinds": ["foreign"], "interface": "1.0", "summary": "A test",
    "metadata": {"fixture.behaviour": {"type": "string", "required": true, "help": "What to do"}}
}"#;

#[test]
fn a_component_of_another_toolchain_becomes_a_plugin() {
    let home = Home::new();
    let component = home.write("foreign.wasm", &bare_component());
    let descriptor = home.write("plugin.json", EMBEDDED);
    let said = home.run(&["plugin", "inspect", &component]).json();
    assert!(
        said["reason"].as_str().unwrap().contains("plugin embed"),
        "{said}"
    );
    let said = home.run(&["plugin", "embed", &component, &descriptor]).succeeds();
    assert_eq!(said.json()[0]["kinds"], serde_json::json!(["foreign"]));
    assert_eq!(
        fs::read_dir(home.path()).unwrap().count(),
        2,
        "nothing else is left"
    );
    home.run(&["plugin", "install", &component]).succeeds();
    let run = [
        "run",
        "--kind",
        "foreign",
        "--metadata",
        "fixture.behaviour=ok",
        "--",
        "x",
    ];
    assert_eq!(
        home.run(&run).succeeds().json()["metadata"]["plugin.name"],
        "foreign"
    );
    home.run(&["plugin", "embed", &component, &descriptor])
        .fails_with("has a descriptor already, that of plugin 'foreign'");
}

#[test]
fn embed_changes_nothing_where_no_plugin_would_come_of_it() {
    let home = Home::new();
    let good = home.write("plugin.json", EMBEDDED);
    let typo = home.write("typo.json", &EMBEDDED.to_ascii_uppercase());
    let native = fs::read(fixtures::native("fixture-greet")).unwrap();
    let module = b"\0asm\x01\0\0\0".to_vec();
    for (name, bytes, descriptor, words) in [
        (
            "component.wasm",
            bare_component(),
            &typo,
            "typo.json' is unusable",
        ),
        ("module.wasm", module, &good, "core module"),
        ("native.wasm", native, &good, "is not a WebAssembly component"),
        ("empty.wasm", Vec::new(), &good, "is not a WebAssembly component"),
    ] {
        let file = home.write(name, &bytes);
        home.run(&["plugin", "embed", &file, descriptor])
            .fails_with(words);
        assert!(fs::read(&file).unwrap() == bytes, "{name} was changed");
    }
    home.run(&["plugin", "embed", "missing.wasm", &good])
        .fails_with("'missing.wasm' can't be read");
}
