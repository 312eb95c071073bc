//! From `plugin new` to a running plugin, with the real binary: new, test, build, check, install, run, remove; and
//! from another toolchain's component, by `plugin embed`.

use executor_runtime_protocol::COMPONENT_SECTION;
use executor_runtime_tests::{
    Setup, Terminal, copy_executable, fixtures, holds,
    home::{CommandOutput, Home, verdicts},
    host_binary, not_tested,
    readme::section,
};
use guest_build::workspace;
use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Has the cargo in the crate use what this workspace has built. What only a component needs may not be downloaded
/// yet.
fn as_here(command: &mut Command) -> &mut Command {
    guest_build::without_outer_cargo(command);
    command
        .env("CARGO_TARGET_DIR", guest_build::target_directory())
        .env("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "true")
        // What is built here runs for a moment.
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
}

/// To be held by who builds a plugin `greeter` in the target directory that all tests share.
fn the_greeter() -> MutexGuard<'static, ()> {
    static GREETER: Mutex<()> = Mutex::new(());
    GREETER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Every way of `cargo` that an author takes in a new plugin, and the plugin in use; `new` are the words that make it.
fn from_new_to_a_running_plugin(home: &Home, host: &Path, new: &[&str]) {
    let run = |arguments: &[&str]| -> CommandOutput {
        let mut command = home.command_of(host, arguments);
        as_here(&mut command).output().unwrap().into()
    };
    let said = run(&[&["plugin", "new", "greeter"], new].concat()).succeeds();
    assert!(
        said.stderr.contains("executor-runtime plugin build 'greeter'"),
        "{}",
        said.stderr
    );
    let crate_folder = home.join("greeter");
    // The versions that are downloaded already.
    fs::copy(workspace().join("Cargo.lock"), crate_folder.join("Cargo.lock")).unwrap();

    // Its own tests pass, and the one that comes with export_runner!. The one that runs the built plugin finds the host in
    // the target directory.
    let mut cargo = Command::new("cargo");
    cargo.args(["test", "--release"]).current_dir(&crate_folder);
    let tested: CommandOutput = as_here(&mut cargo).output().unwrap().into();
    let printed = tested.succeeds().stdout;
    for test in [
        "it_greets",
        "it_stops_when_it_is_told_to",
        "plugin_json_is_valid",
        "it_greets_under_the_host",
    ] {
        assert!(printed.contains(&format!("{test} ... ok")), "{printed}");
    }

    let built = run(&["plugin", "build", "greeter"]).succeeds().json();
    let files = built.as_array().unwrap();
    let paths: Vec<_> = files.iter().map(|file| file["path"].as_str().unwrap()).collect();
    assert!(paths[0].ends_with("/plugins/component/greeter.wasm"), "{paths:?}");
    assert!(paths[1].ends_with("/plugins/native/greeter.so"), "{paths:?}");
    for (file, carrier) in files.iter().zip(["component", "native"]) {
        assert_eq!(file["carrier"], carrier);
        assert_eq!(file["kinds"], serde_json::json!(["greeter"]));
        let bytes = file["bytes"].as_u64().unwrap();
        assert!((10_000..20_000_000).contains(&bytes), "{file}");
        let path = file["path"].as_str().unwrap();
        let checked = run(&["plugin", "check", path]).succeeds().json();
        for (name, verdict, reason) in verdicts(&checked) {
            let expected = if name == "odd_text" { "skipped" } else { "passed" };
            assert!(verdict == expected || verdict == "passed", "{name}: {reason}");
        }
        let directory = Path::new(path).parent().unwrap().display().to_string();
        let greeted = run(&[
            "--plugins-dir",
            &directory,
            "run",
            "--kind",
            "greeter",
            "-m",
            "greet.name=Ada",
        ]);
        assert_eq!(greeted.succeeds().json()["metadata"]["greet.text"], "Hello, Ada!");
    }

    let mut install = home.command_of(host, &["plugin", "install"]);
    install.current_dir(&crate_folder);
    let installed: CommandOutput = as_here(&mut install).output().unwrap().into();
    installed.succeeds();
    let greeted = run(&["run", "--kind", "greeter", "-m", "greet.name=Eve"]);
    assert_eq!(greeted.succeeds().json()["metadata"]["greet.text"], "Hello, Eve!");
    // What was changed is built before it is installed, and takes the place of what it was.
    let source = crate_folder.join("src/lib.rs");
    let written = fs::read_to_string(&source).unwrap();
    fs::write(&source, written.replace("Hello, {name}", "Bye, {name}")).unwrap();
    let mut install = home.command_of(host, &["plugin", "install"]);
    install.current_dir(&crate_folder);
    let refused: CommandOutput = as_here(&mut install).output().unwrap().into();
    refused.fails_with("was changed after the plugin was built: run `executor-runtime plugin build`");
    run(&["plugin", "build", "greeter", "--component"]).succeeds();
    let installed: CommandOutput = as_here(&mut install).output().unwrap().into();
    installed.succeeds();
    let greeted = run(&["run", "--kind", "greeter", "-m", "greet.name=Eve"]);
    assert_eq!(greeted.succeeds().json()["metadata"]["greet.text"], "Bye, Eve!");
    fs::write(&source, written).unwrap();
    run(&["plugin", "remove", "greeter"]).succeeds();
}

#[test]
fn a_new_plugin_uses_the_checkout_that_its_host_was_built_in() {
    // `plugin build` knows this one way.
    if let Err(error) = guest_build::Toolchain::rustup() {
        not_tested("the way from a new plugin to a running one", format!("{error:#}"));
        return;
    }
    let _turn = the_greeter();
    let home = Home::new();
    from_new_to_a_running_plugin(&home, &host_binary(), &[]);
    assert!(!home.join("greeter/vendor").exists());
    let manifest = fs::read_to_string(home.join("greeter/Cargo.toml")).unwrap();
    assert!(
        manifest.contains(&format!("path = \"{}/plugin-sdk\"", workspace().display())),
        "{manifest}"
    );

    // It is the one of the guide.
    let written = |file: &str| {
        let text = fs::read_to_string(home.join("greeter").join(file)).unwrap();
        text.lines().map(str::trim).collect::<Vec<_>>().join("\n")
    };
    for (name, file) in [
        ("plugin source", "src/lib.rs"),
        ("plugin descriptor", "plugin.json"),
        ("plugin test", "src/lib.rs"),
        ("plugin host test", "tests/plugin.rs"),
    ] {
        let shown = section(name);
        let shown: Vec<_> = shown.lines().map(str::trim).collect();
        let (shown, written) = (shown.join("\n"), written(file));
        assert!(
            written.contains(&shown),
            "{name}: {written}\nin the guide: {shown}"
        );
    }
}

#[test]
fn a_new_plugin_of_a_host_without_a_checkout_has_its_own_sdk() {
    if let Err(error) = guest_build::Toolchain::rustup() {
        not_tested("the SDK that a host carries", format!("{error:#}"));
        return;
    }
    let _turn = the_greeter();
    let home = Home::new();
    let host = installed(&home);
    from_new_to_a_running_plugin(&home, &host, &[]);
    let manifest = fs::read_to_string(home.join("greeter/Cargo.toml")).unwrap();
    assert!(
        !manifest.contains(&workspace().display().to_string()),
        "{manifest}"
    );
    // It goes where its folder goes.
    fs::rename(home.join("greeter"), home.join("moved")).unwrap();
    let built: CommandOutput =
        as_here(&mut home.command_of(&host, &["plugin", "build", "moved", "--native"]))
            .output()
            .unwrap()
            .into();
    built.succeeds();
}

#[test]
fn an_sdk_of_somebody_else_above_the_executable_is_not_used() {
    if !nix::unistd::geteuid().is_root() {
        not_tested("an SDK of another user", "only root can make one");
        return;
    }
    let home = Home::new();
    let host = installed(&home);
    let sdk = home.join("plugin-sdk");
    fs::create_dir(&sdk).unwrap();
    let manifest = workspace().join("plugin-sdk/Cargo.toml");
    fs::copy(manifest, sdk.join("Cargo.toml")).unwrap();
    let new = |name: &str| -> String {
        let mut command = home.command_of(&host, &["plugin", "new", name]);
        let made: CommandOutput = command.output().unwrap().into();
        made.succeeds();
        fs::read_to_string(home.join(name).join("Cargo.toml")).unwrap()
    };
    let found = sdk.canonicalize().unwrap().display().to_string();
    let own = new("own");
    assert!(own.contains(&found), "{own}");
    for file in [sdk.join("Cargo.toml"), sdk.clone()] {
        std::os::unix::fs::chown(&file, Some(12345), None).unwrap();
        let other = new(if file == sdk { "folder" } else { "manifest" });
        assert!(other.contains("vendor/executor-runtime"), "{other}");
        std::os::unix::fs::chown(&file, Some(0), None).unwrap();
    }
}

/// The host's executables in a folder that is in no checkout; returns the small one.
fn installed(home: &Home) -> PathBuf {
    let folder = home.join("installed");
    fs::create_dir(&folder).unwrap();
    for name in ["executor-runtime", "executor-runtime-engine"] {
        copy_executable(&host_binary().with_file_name(name), &folder.join(name));
    }
    folder.join("executor-runtime")
}

/// The files below a folder, each by its path there.
fn files(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_owned();
                files.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    files
}

/// That they build from there is shown by `cargo xtask ci`.
#[test]
fn the_crates_for_authors_can_be_packaged_in_one_call() {
    let home = Home::new();
    let names = ["protocol", "tls", "sdk", "testing"].map(|name| format!("executor-runtime-{name}"));
    let mut cargo = guest_build::cargo_command();
    cargo.args(["package", "--offline", "--allow-dirty", "--no-verify"]);
    for name in &names {
        cargo.args(["--package", name]);
    }
    let packaged: CommandOutput = cargo
        .current_dir(workspace())
        .env("CARGO_TARGET_DIR", home.path())
        .output()
        .unwrap()
        .into();
    packaged.succeeds();
    for name in &names {
        let archive = home.join(&format!("package/{name}-1.0.0.crate"));
        let unpacked = Command::new("tar")
            .arg("-xzf")
            .arg(&archive)
            .current_dir(home.path())
            .status();
        assert!(unpacked.is_ok_and(|status| status.success()), "{name}");
        let manifest = fs::read_to_string(home.join(&format!("{name}-1.0.0/Cargo.toml"))).unwrap();
        // Of the parts of the package itself there are paths, of other crates none.
        assert!(
            !manifest.contains("path = \"..") && !manifest.contains(&workspace().display().to_string()),
            "{manifest}"
        );
    }
    let ours = files(&workspace().join("wit"));
    assert_eq!(files(&home.join("executor-runtime-sdk-1.0.0/wit")), ours);
}

#[test]
fn the_interface_that_is_written_is_the_one_of_the_workspace() {
    let home = Home::new();
    let said = home.run(&["plugin", "wit", "made/wit"]).succeeds();
    assert!(
        said.stderr.contains("files to 'made/wit': the world is `runner`"),
        "{said:?}"
    );
    let ours = files(&workspace().join("wit"));
    assert!(ours.contains_key(Path::new("deps/http.wit")));
    assert_eq!(files(&home.join("made/wit")), ours);
    home.run(&["plugin", "wit", "made/wit"]).succeeds();
    home.write("file", b"");
    home.run(&["plugin", "wit", "file"])
        .fails_with("can't be written");
    // An author's own file stays.
    home.write("made/wit/runner.wit", b"mine");
    home.run(&["plugin", "wit", "made/wit"])
        .fails_with("runner.wit' exists and is another file");
    assert_eq!(fs::read(home.join("made/wit/runner.wit")).unwrap(), b"mine");
}

#[test]
fn dev_runs_what_was_saved_and_test_says_what_is_wrong() {
    if let Err(error) = guest_build::Toolchain::rustup() {
        not_tested("plugin dev and plugin test", format!("{error:#}"));
        return;
    }
    let _turn = the_greeter();
    let home = Home::new();
    home.make("greeter");
    fs::copy(workspace().join("Cargo.lock"), home.join("greeter/Cargo.lock")).unwrap();
    let source = home.join("greeter/src/lib.rs");
    let written = fs::read_to_string(&source).unwrap();
    let named = ["plugin", "dev", "greeter", "-m", "greet.name=Ada"];

    let once = as_here(&mut home.command(&[&named[..], &["--once"]].concat()))
        .output()
        .unwrap();
    let result = CommandOutput::from(once).succeeds().json();
    assert_eq!(result["metadata"]["greet.text"], "Hello, Ada!");
    assert_eq!(result["metadata"]["plugin.carrier"], "component");
    let missing = as_here(&mut home.command(&["plugin", "dev", "greeter", "--once", "--native"]))
        .output()
        .unwrap();
    assert_eq!(missing.status.code(), Some(3), "rejected, as the run is");

    let mut terminal = Setup::columns(200).start(as_here(&mut home.command(&named)));
    // Each is a build, which takes its time where much else is built.
    let shown = |terminal: &Terminal, text: &str, times: usize| {
        let found = || (terminal.so_far().matches(text).count() >= times).then_some(());
        assert!(
            holds(Duration::from_secs(200), found).is_some(),
            "{text}: {}",
            terminal.so_far()
        );
    };
    shown(&terminal, "greet.text = Hello, Ada!", 1);
    shown(&terminal, "waiting for a file to be saved in 'greeter'", 1);
    fs::write(&source, written.replace("Hello, {name}", "Bye, {name}")).unwrap();
    shown(&terminal, "greet.text = Bye, Ada!", 1);
    shown(&terminal, "waiting for a file", 2);
    fs::write(&source, "no Rust").unwrap();
    shown(&terminal, "the component was not built: cargo failed", 1);
    shown(&terminal, "waiting for a file", 3);
    fs::write(&source, &written).unwrap();
    shown(&terminal, "greet.text = Hello, Ada!", 2);
    shown(&terminal, "waiting for a file", 4);
    terminal.enter("\x03");
    assert_eq!(terminal.finish().status.code(), Some(130));

    let test = || -> CommandOutput {
        as_here(&mut home.command(&["plugin", "test", "greeter"]))
            .output()
            .unwrap()
            .into()
    };
    let said = test().succeeds();
    assert!(
        said.stdout.contains("it_greets_under_the_host ... ok"),
        "{said:?}"
    );
    assert!(said.stdout.contains("\"passed\": true"), "{said:?}");
    fs::write(&source, written.replace("Some(\"Hello", "Some(\"Other")).unwrap();
    test().fails_with("the plugin's own tests did not pass");
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
    home.run(&["plugin", "new", "x", "--into", "missing"])
        .fails_with("'missing/x' can't be created");
    assert_eq!(
        fs::read_dir(home.path()).unwrap().count(),
        0,
        "nothing was written"
    );

    home.make("x");
    fs::write(home.join("x/mine"), "kept").unwrap();
    home.run(&["plugin", "new", "x"])
        .fails_with("'x' already exists; nothing was written");
    assert_eq!(fs::read_to_string(home.join("x/mine")).unwrap(), "kept");
}

#[test]
fn build_says_what_is_missing() {
    let home = Home::new();
    home.run(&["plugin", "build", "nowhere"])
        .fails_with("'nowhere' can't be opened");
    home.run(&["plugin", "build"])
        .fails_with("in '.', so it is not a plugin's folder");
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
    let mut install = home.command(&["plugin", "install"]);
    let not_built: CommandOutput = install.current_dir(home.join("x")).output().unwrap().into();
    not_built.fails_with("has not been built as a component");
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
fn embed_takes_only_files_that_can_be_what_they_are_given_as() {
    let home = Home::new();
    let component = home.write("foreign.wasm", &bare_component());
    let descriptor = home.write("plugin.json", EMBEDDED);
    let embed = |arguments: &[&str]| home.run(&[&["plugin", "embed"], arguments].concat());
    embed(&[&descriptor, &component])
        .fails_with("is a component, and stands where its descriptor is expected");
    embed(&[&component, &descriptor, "-o", &descriptor])
        .fails_with("is no name for a component: call it *.wasm");
    assert_eq!(fs::read(&descriptor).unwrap(), EMBEDDED);
    let pipe = home.join("pipe.wasm");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let pipe = pipe.to_str().unwrap();
    embed(&[pipe, &descriptor]).fails_with("is not a regular file");
    embed(&[&component, pipe]).fails_with("is not a regular file");
    embed(&[&component, "/dev/zero"]).fails_with("is not a regular file");

    // Through a link, what it leads to is changed.
    let link = home.join("link.wasm");
    symlink(&component, &link).unwrap();
    embed(&[link.to_str().unwrap(), &descriptor]).succeeds();
    assert!(link.is_symlink());
    let inspected = home.run(&["plugin", "inspect", &component]).succeeds().json();
    assert_eq!(inspected["descriptor"]["name"], "foreign");
}

#[test]
fn dev_says_at_once_what_no_build_can_mend() {
    let home = Home::new();
    let nowhere = home.join("nowhere");
    fs::create_dir(&nowhere).unwrap();
    home.run(&["plugin", "dev", nowhere.to_str().unwrap()])
        .fails_with("so it is not a plugin's folder");
    home.make("greeter");
    // No cargo is there that could build it.
    let mut dev = home.command(&["plugin", "dev", "greeter", "--once", "-m", "greet.nam=Ada"]);
    let said: CommandOutput = dev.output().unwrap().into();
    assert_eq!(said.code, Some(3), "{said:?}");
    for words in [
        "greet.nam: found an unknown key",
        "greet.name: found nothing",
        "give it with -m KEY=VALUE",
    ] {
        assert!(said.stderr.contains(words), "{said:?}");
    }
    assert!(!said.stderr.contains("Compiling"), "{said:?}");
}

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
    // Nothing of it is left beside a place that can't be taken.
    let component = home.write("private.wasm", &bare_component());
    fs::create_dir(home.join("taken.wasm")).unwrap();
    let count = || fs::read_dir(home.path()).unwrap().count();
    let before = count();
    let taken = home.join("taken.wasm").display().to_string();
    home.run(&["plugin", "embed", &component, &good, "-o", &taken])
        .fails_with("taken.wasm' can't be written");
    assert_eq!(count(), before);
    // Who may read it stays as it is.
    fs::set_permissions(&component, Permissions::from_mode(0o600)).unwrap();
    home.run(&["plugin", "embed", &component, &good]).succeeds();
    let mode = fs::metadata(&component).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
