//! Plugins in C: what `plugin new` makes, what an author's mistakes look like, and what C's own library does in a run.

use super::guest_languages::shown;
use executor_runtime_protocol::{RuntimeResult, Status};
use executor_runtime_tests::{
    c::{ZIG, command, new_plugin, run, venv},
    home::{CommandOutput, Home},
    installed::Installed,
    not_tested,
    scripted::{Answer, Scripted},
};
use guest_build::{target_directory, workspace};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::LazyLock,
};

/// The plugin of `tests/fixtures/c/behaviours`, built once.
pub(super) fn behaviours() -> Option<Installed> {
    static BUILT: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
        let home = Home::new();
        new_plugin(
            &home,
            "c-behaviours",
            Some(&workspace().join("tests/fixtures/c/behaviours")),
        )?;
        let built = run(&home, &["plugin", "build", "c-behaviours"]).succeeds().json();
        let kept = target_directory().join("c/c-behaviours.wasm");
        fs::copy(built[0]["path"].as_str().unwrap(), &kept).unwrap();
        Some(kept)
    });
    Some(Installed::file("c_behaviours", BUILT.as_deref()?))
}

pub(super) fn result(place: &Installed, behaviour: &str, url: &str) -> RuntimeResult {
    let invocation = place
        .invocation(&[("test.behaviour", behaviour)])
        .timeout(60, 1.0);
    let invocation = match url {
        "" => invocation,
        url => invocation.metadata("test.url", url),
    };
    place.run(&invocation).result()
}

#[test]
fn a_new_plugin_in_c_is_the_one_of_the_guide_and_is_tested_run_and_installed() {
    let home = Home::new();
    if new_plugin(&home, "greeter", None).is_none() {
        return;
    }
    let folder = home.join("greeter");
    let guide = fs::read_to_string(folder.join("executor_runtime/README.md")).unwrap();
    let source = folder.join("plugin.c");
    let written = fs::read_to_string(&source).unwrap();
    assert!(
        guide.contains(ZIG)
            && fs::read_to_string(folder.join("README.md"))
                .unwrap()
                .contains(ZIG)
    );
    assert!(written.ends_with(&shown(&guide, "c", "plugin.c")));
    // What else the guide shows: another file of the plugin, and its test.
    let requests = format!(
        "#include \"executor_runtime/executor_runtime.h\"\n#include <string.h>\n{}",
        shown(&guide, "c", "requests")
    );
    fs::write(folder.join("requests.c"), requests).unwrap();
    let test = shown(&guide, "c", "tests");
    fs::write(folder.join("test_guide.c"), test).unwrap();

    let tested = run(&home, &["plugin", "test", "greeter"]).succeeds();
    assert!(tested.stdout.contains("\"passed\": true"), "{tested:?}");
    assert!(
        tested.stderr.contains("test_guide.c passed") && tested.stderr.contains("test_plugin.c passed"),
        "{tested:?}"
    );
    let greeted = run(
        &home,
        &["plugin", "dev", "greeter", "--once", "-m", "greet.name=Ada"],
    )
    .succeeds();
    assert_eq!(greeted.json()["metadata"]["greet.text"], "Hello, Ada!");
    let plugin = folder.join("target/plugins/component/greeter.wasm");
    let size = fs::metadata(&plugin).unwrap().len();
    assert!(size < 60_000, "{size} bytes");
    let mut install = command(&home, &["plugin", "install"]);
    CommandOutput::from(install.current_dir(&folder).output().unwrap()).succeeds();
    let greeted = run(&home, &["run", "--kind", "greeter", "-m", "greet.name=Eve"]).succeeds();
    assert_eq!(greeted.json()["metadata"]["greet.text"], "Hello, Eve!");

    // What is wrong is said by the tests, before a component is built.
    fs::write(&source, written.replace("Hello", "Bye")).unwrap();
    run(&home, &["plugin", "test", "greeter"]).fails_with("the plugin's own tests did not pass");
    for (replaced, by, said) in [
        ("er_outcome run(", "er_outcome ran(", "undefined symbol: run"),
        ("return er_succeeded();", "", "non-void function"),
        ("er_succeeded()", "er_suceeded()", "er_suceeded"),
        (
            "#include",
            "__attribute__((import_module(\"env\"), import_name(\"f\"))) int f(void);\n#include",
            "the plugin imports 'f' from 'env', which no host offers a plugin in C: declare it without import_module",
        ),
    ] {
        let mut broken = written.replacen(replaced, by, 1);
        if said.contains("'env'") {
            broken = broken.replace(
                "return er_succeeded();",
                "er_exit_code(f());\n    return er_succeeded();",
            );
        }
        fs::write(&source, broken).unwrap();
        let failed = run(&home, &["plugin", "build", "greeter"]);
        assert!(failed.stderr.contains(said), "{said}: {failed:?}");
        assert_ne!(failed.code, Some(0), "{said}");
    }
}

#[test]
fn debians_compiler_makes_a_plugin_as_well() {
    if !Path::new("/usr/lib/wasm32-wasi/libc.a").is_file() {
        not_tested(
            "plugins in C with Debian's clang",
            "its packages are not installed",
        );
        return;
    }
    let home = Home::new();
    run(&home, &["plugin", "new", "greeter", "--lang", "c"]).succeeds();
    let greeted = run(
        &home,
        &["plugin", "dev", "greeter", "--once", "-m", "greet.name=Ada"],
    )
    .succeeds();
    assert_eq!(greeted.json()["metadata"]["greet.text"], "Hello, Ada!");
}

#[test]
fn another_version_of_the_compiler_makes_a_plugin_in_c_anew() {
    let home = Home::new();
    if new_plugin(&home, "greeter", None).is_none() {
        return;
    }
    // Zig, which says that it is of the version in a file.
    let folder = home.join("greeter");
    let version = home.write("version", b"1");
    let zig = venv().unwrap().join("bin/python3");
    let bin = folder.join(".venv/bin");
    fs::remove_file(folder.join(".venv")).unwrap();
    fs::create_dir_all(&bin).unwrap();
    fs::write(bin.join("python-zig"), "").unwrap();
    let python = bin.join("python");
    let script = format!(
        "#!/bin/sh\n[ \"$3\" = version ] && exec cat '{version}'\nexec '{}' \"$@\"\n",
        zig.display()
    );
    fs::write(&python, script).unwrap();
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
    for (number, is_made) in [("1", true), ("1", false), ("2", true), ("2", false)] {
        home.write("version", number.as_bytes());
        let built = run(&home, &["plugin", "build", "greeter"]).succeeds();
        assert_eq!(
            built.stderr.contains("making a component"),
            is_made,
            "{number}: {built:?}"
        );
    }
}

#[test]
fn what_a_plugin_in_c_misses_is_said() {
    let home = Home::new();
    run(&home, &["plugin", "new", "x", "--lang", "c"]).succeeds();
    run(&home, &["plugin", "build", "x", "--native"]).fails_with("always a component: leave out --native");
    let bare = home
        .command(&["plugin", "build", "x"])
        .env("PATH", "")
        .output()
        .unwrap();
    let said = CommandOutput::from(bare).fails_with("no C compiler for WebAssembly is installed");
    assert!(said.stderr.contains(&format!("pip' install {ZIG}")), "{said:?}");
    assert!(said.stderr.contains("apt-get install clang"), "{said:?}");
}

#[test]
fn each_end_of_a_plugin_in_c_is_what_its_author_meant() {
    let Some(place) = behaviours() else { return };
    for (behaviour, status, kind, words) in [
        ("nothing", Status::Succeeded, "", ""),
        (
            "asserts",
            Status::Failed,
            "plugin_crashed",
            "Assertion failed: !\"the sky is falling\" (plugin.c",
        ),
        ("aborts", Status::Failed, "plugin_crashed", "no way on from here"),
        (
            "exits",
            Status::Failed,
            "plugin_crashed",
            "called exit(3) instead of returning",
        ),
        (
            "says_nothing",
            Status::Failed,
            "invalid_return",
            "run() returned no outcome: expected what",
        ),
        (
            "fails_without_a_failure",
            Status::Failed,
            "invalid_return",
            "nothing has failed",
        ),
        (
            "recursion",
            Status::Failed,
            "plugin_crashed",
            "its recursion was too deep",
        ),
        (
            "null_pointer",
            Status::Failed,
            "plugin_crashed",
            "memory out of bounds",
        ),
        // Each C library says in its own words that there is none.
        ("files", Status::Failed, "no_file", ""),
        ("unknown", Status::Rejected, "unknown_behaviour", "there is no"),
    ] {
        let ended = result(&place, behaviour, "");
        let summary = ended.error_summary.clone().unwrap_or_default();
        assert_eq!(ended.status, status, "{behaviour}: {ended:?}");
        let found = ended.metadata.get("error.kind").map_or("", String::as_str);
        assert_eq!(found, kind, "{behaviour}: {ended:?}");
        assert!(summary.contains(words), "{behaviour}: {ended:?}");
    }
    // All the memory that there is.
    let ended = result(&place, "allocates", "");
    let found = ended.metadata.get("error.kind").map_or("", String::as_str);
    assert!(["out_of_memory", "plugin_limit"].contains(&found), "{ended:?}");
    let endless = place.invocation(&[("test.behaviour", "loops")]).timeout(1, 0.5);
    assert_eq!(place.run(&endless).result().status, Status::TimedOut);

    let library = result(&place, "library", "");
    for (key, value) in [
        ("test.float", "1.414"),
        ("test.clock", "0"),
        ("test.environment", "empty"),
        ("test.input", "-1"),
    ] {
        assert_eq!(library.metadata[key], value, "{library:?}");
    }
    assert!(
        library.metadata["test.year"].parse::<u32>().unwrap() > 2025,
        "{library:?}"
    );
}

#[test]
fn requests_in_c_carry_bodies_heed_their_time_and_can_follow_the_stop() {
    let Some(place) = behaviours() else { return };
    let echo = Scripted::start(|request, _| match request.target.as_str() {
        "/from" => Answer::new(307, "").header("location", "../to?a=b#c"),
        _ => Answer::new(
            200,
            format!(
                "{} {}{}{} {}",
                request.body.len(),
                request.header("x-api-key"),
                request.header("x-totp"),
                request.header("x-sids"),
                request.header("x-bypass")
            ),
        )
        .header("content-type", "text/x"),
    });
    let posted = result(&place, "post", &echo.url("/from"));
    assert_eq!(
        posted.metadata["test.answer"], "200000 secretsecretsecret open",
        "{posted:?}"
    );
    assert_eq!(posted.metadata["test.type"], "text/x");
    assert_eq!(posted.metadata["test.url"], echo.url("/to?a=b"));
    assert_eq!(echo.lines(), ["POST /from", "POST /to?a=b"]);

    // To another origin no secret goes.
    let there = echo.url("/there");
    let elsewhere = Scripted::start(move |_, _| Answer::new(308, "").header("location", &there));
    let place = place.configured("[plugins.c-behaviours]\nallow_hosts = [\"127.0.0.1:*\"]");
    let posted = result(&place, "post", &elsewhere.url("/"));
    assert_eq!(posted.metadata["test.answer"], "200000  open", "{posted:?}");

    let silent = Scripted::start(|_, _| Answer::Silence);
    let short = result(&place, "short", &silent.url("/"));
    assert_eq!(short.metadata["error.kind"], "network", "{short:?}");
    assert!(
        short
            .error_summary
            .as_ref()
            .is_some_and(|summary| summary.contains("timed out")),
        "{short:?}"
    );
    assert_eq!(short.status, Status::Failed);

    let server = Scripted::start(|request, _| match request.target.as_str() {
        "/never" => Answer::Silence,
        _ => Answer::new(200, "noted"),
    });
    let invocation = place
        .invocation(&[("test.behaviour", "after_stop"), ("test.url", &server.url(""))])
        .timeout(2, 30.0);
    let stopped = place.run(&invocation).result();
    assert_eq!(stopped.status, Status::TimedOut, "{stopped:?}");
    assert_eq!(stopped.metadata["test.told"], "true", "{stopped:?}");
    assert_eq!(server.lines(), ["GET /never", "POST /stopped"]);
}
