//! From `plugin new` to a running plugin, with the real binary: new, test, build, check, install, run, remove; and
//! from another toolchain's component, by `plugin embed`.

use executor_runtime_protocol::COMPONENT_SECTION;
use executor_runtime_tests::{
    fixtures,
    home::{CommandOutput, Home, verdicts},
    not_tested,
    readme::section,
    server,
};
use guest_build::workspace;
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
};

/// The checkout whose SDK a new plugin uses.
fn sdk() -> String {
    workspace().display().to_string()
}

/// Has the cargo in the crate use what this workspace has built. What only a component needs may not be downloaded
/// yet.
fn as_here(command: &mut Command) -> &mut Command {
    command
        .env("CARGO_TARGET_DIR", guest_build::target_directory())
        .env("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "true")
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

    // Its own tests pass, and the one that comes with export_runner!. Those that run the built plugin find the host in
    // the target directory.
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
        "the_host_runs_it",
        "it_conforms",
    ] {
        assert!(printed.contains(&format!("{test} ... ok")), "{printed}");
    }

    let built: CommandOutput = as_here(&mut home.command(&["plugin", "build", "wait-up"]))
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
    fs::write(crate_folder.join("tests/plugin.rs"), section("plugin host test")).unwrap();

    let tested: CommandOutput = as_here(
        Command::new("cargo")
            .args(["test", "--release"])
            .current_dir(&crate_folder),
    )
    .output()
    .unwrap()
    .into();
    let tested = tested.succeeds().stdout;
    for test in ["it_greets", "it_greets_under_the_host"] {
        assert!(tested.contains(&format!("{test} ... ok")), "{tested}");
    }
    let built: CommandOutput = as_here(&mut home.command(&["plugin", "build", "greeter"]))
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
        .fails_with("'Wait' is not a valid plugin name: expected a lower-case letter");
    home.run(&["plugin", "new", "test"])
        .fails_with("'test' can't be a crate name");
    home.run(&["plugin", "new", "x", "--kind", "subprocess"])
        .fails_with("kind 'subprocess' is reserved for the host");
    home.run(&["plugin", "new", "x", "--kind", "a-b"])
        .fails_with("--kind 'a-b' is not a valid runtime kind");
    home.run(&["plugin", "new", "x", "--sdk", "."])
        .fails_with("no SDK in '.'");
    home.run(&["plugin", "new", "x"])
        .fails_with("--sdk PATH is required: the path of a checkout of executor-runtime");
    home.run(&["plugin", "new", "x", "--into", "missing", "--sdk", &sdk()])
        .fails_with("'missing/x' can't be created");
    assert_eq!(
        fs::read_dir(home.path()).unwrap().count(),
        0,
        "nothing was written"
    );

    home.make("x");
    fs::write(home.join("x/mine"), "kept").unwrap();
    home.run(&["plugin", "new", "x", "--sdk", &sdk()])
        .fails_with("'x' already exists; nothing was written");
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
    CommandOutput::from(without_cargo).fails_with("cargo is not installed, or not in PATH");
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
    let build = || -> CommandOutput {
        home.command(&["plugin", "build", "x"])
            .env("PATH", &bin)
            .output()
            .unwrap()
            .into()
    };
    build().fails_with("rustup is not installed");
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

/// What another toolchain makes of `wit/`: a component without a descriptor.
fn bare_component() -> Vec<u8> {
    let mut bytes = fs::read(fixtures::component("fixture-behaviours")).unwrap();
    let found = bytes
        .windows(COMPONENT_SECTION.len())
        .position(|window| window == COMPONENT_SECTION.as_bytes())
        .expect("the fixture has a descriptor");
    bytes[found..found + COMPONENT_SECTION.len()].copy_from_slice(b"some.other.section.name");
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
}

#[test]
fn a_descriptor_that_is_embedded_again_replaces_the_one_before() {
    let home = Home::new();
    let bare = bare_component();
    let component = home.write("built.wasm", &bare);
    let first = home.write("plugin.json", EMBEDDED);
    let renamed = String::from_utf8(EMBEDDED.to_vec())
        .unwrap()
        .replace("\"name\": \"foreign\"", "\"name\": \"other\"");
    let second = home.write("other.json", renamed.as_bytes());
    let out = home.join("dist.wasm").display().to_string();

    let said = home
        .run(&["plugin", "embed", &component, &first, "-o", &out])
        .succeeds();
    assert_eq!(said.json()[0]["path"], out);
    assert!(fs::read(&component).unwrap() == bare, "the input is as it was");
    let once = fs::read(&out).unwrap();

    home.run(&["plugin", "embed", &out, &second]).succeeds();
    assert_eq!(
        home.run(&["plugin", "inspect", &out]).succeeds().json()["descriptor"]["name"],
        "other"
    );
    home.run(&["plugin", "embed", &out, &first]).succeeds();
    assert!(
        fs::read(&out).unwrap() == once,
        "one descriptor, and nothing else has changed"
    );
    assert_eq!(
        fs::read_dir(home.path()).unwrap().count(),
        4,
        "nothing else is left"
    );

    // What export_runner! puts into a module can't be taken out of it.
    let rust = home.write(
        "rust.wasm",
        &fs::read(fixtures::component("fixture-behaviours")).unwrap(),
    );
    home.run(&["plugin", "embed", &rust, &first])
        .fails_with("already has a descriptor in its code, for plugin 'behaviours'");
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
            "typo.json' can't be used",
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
