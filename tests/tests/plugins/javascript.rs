//! Plugins in JavaScript: the SDK on node alone, and what componentize-js makes of it under the host.

use super::guest_languages::{receipt, run, shown, summary};
use executor_runtime_protocol::{RuntimeResult, Status};
use executor_runtime_tests::{
    Invocation, eventually,
    home::{CommandOutput, Home},
    installed::{Installed, cache},
    javascript::{COMPONENTIZE, new_plugin, path, run_with_node},
    scripted::{Answer, Scripted},
};
use guest_build::{target_directory, workspace};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::LazyLock,
    time::Duration,
};

/// The plugin of `tests/fixtures/javascript/behaviours`, built once.
fn behaviours() -> Option<Installed> {
    static BUILT: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
        let home = Home::new();
        new_plugin(&home, "javascript-behaviours")?;
        let source = workspace().join("tests/fixtures/javascript/behaviours");
        let folder = home.join("javascript-behaviours");
        fs::create_dir(folder.join("lib")).unwrap();
        for file in ["plugin.js", "plugin.json", "lib/parse.js"] {
            fs::copy(source.join(file), folder.join(file)).unwrap();
        }
        let built = run_with_node(&home, &["plugin", "build", "javascript-behaviours"])
            .succeeds()
            .json();
        let kept = target_directory().join("javascript/javascript-behaviours.wasm");
        fs::copy(built[0]["path"].as_str().unwrap(), &kept).unwrap();
        // Compiled before any test waits for what it does.
        let place = Installed::file("javascript_behaviours", &kept);
        let first = place.run(&behave(&place, "nothing", "").timeout(300, 1.0));
        first.expect(Status::Succeeded);
        Some(kept)
    });
    let built = BUILT.as_deref()?;
    Some(Installed::file("javascript_behaviours", built))
}

fn behave(place: &Installed, behaviour: &str, url: &str) -> Invocation {
    let invocation = place.invocation(&[("test.behaviour", behaviour)]);
    match url {
        "" => invocation,
        url => invocation.metadata("test.url", url),
    }
}

fn result(place: &Installed, behaviour: &str, url: &str) -> RuntimeResult {
    place.run(&behave(place, behaviour, url)).result()
}

/// Runs node's tests in a folder; returns what it said.
fn node_tests(folder: &Path) -> Option<String> {
    let ran = Command::new("node")
        .args(["--test", "--test-reporter=tap"])
        .current_dir(folder)
        .env("PATH", path()?)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success(), "{said}");
    Some(said)
}

#[test]
fn the_sdks_own_tests_pass() {
    let said = node_tests(&workspace().join("plugin-sdk/javascript"));
    assert!(said.is_none_or(|said| said.contains("# pass 26")));
}

#[test]
fn a_new_plugin_is_the_one_of_the_guide() {
    let home = Home::new();
    let said = run(&home, &["plugin", "new", "greeter", "--lang", "javascript"]).succeeds();
    assert!(said.stderr.contains("npm install --prefix"), "{}", said.stderr);
    let folder = home.join("greeter");
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let guide = read("executor_runtime/README.md");
    let (name, version) = COMPONENTIZE.rsplit_once('@').unwrap();
    assert!(guide.contains(version) && read("README.md").contains(version));
    assert!(read("package.json").contains(&format!("\"{name}\": \"{version}\"")));
    assert!(read("plugin.js").ends_with(&shown(&guide, "js", "plugin.js")));
    for file in ["index.d.ts", "testing.d.ts", "wit/deps/http.wit"] {
        assert!(folder.join("executor_runtime").join(file).is_file(), "{file}");
    }

    // Its own tests, and what else the guide shows.
    fs::write(folder.join("guide.test.js"), shown(&guide, "js", "tests")).unwrap();
    let requests = format!(
        "import {{ Outcome, Stopped }} from './executor_runtime/index.js';\n\n{}",
        shown(&guide, "js", "requests")
    );
    fs::write(folder.join("requests.js"), requests).unwrap();
    let tests = "import assert from 'node:assert/strict';\nimport http from 'node:http';\nimport { test } from 'node:test';\n\
                 import { TestHost, invocation } from './executor_runtime/testing.js';\nimport { download } from './requests.js';\n\
                 test('download', async () => {\n  const asked = [];\n  const server = http.createServer((request, response) => {\n    \
                 asked.push(`${request.method} ${request.url}`);\n    if (request.url !== '/slow?page=1') response.end('page');\n  });\n  \
                 await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));\n  \
                 const url = `http://127.0.0.1:${server.address().port}`;\n  const host = new TestHost();\n  \
                 const result = await host.run((_, ctx) => download(url, ctx), invocation('x'));\n  \
                 assert.deepEqual(result.receipt, { 'fetch.bytes': '4', 'fetch.status': '200' });\n  \
                 assert.equal(host.artifacts.page.text, 'page');\n  const late = new TestHost({ timeout: 0.2 });\n  \
                 const stopped = await late.run((_, ctx) => download(`${url}/slow`, ctx), invocation('x'));\n  \
                 assert.equal(stopped.status, 'timed_out');\n  assert.equal(asked.at(-1), 'POST /slow/cancel');\n  \
                 server.closeAllConnections();\n  server.close();\n});\n";
    fs::write(folder.join("requests.test.js"), tests).unwrap();
    let said = node_tests(&folder);
    assert!(said.is_none_or(|said| said.contains("# pass 5")));
}

#[test]
fn what_is_missing_is_said() {
    let home = Home::new();
    run(
        &home,
        &["plugin", "new", "x", "--lang", "javascript", "--sdk", "."],
    )
    .fails_with("--sdk is for plugins in Rust: one in JavaScript");
    run(&home, &["plugin", "new", "test", "--lang", "javascript"]).succeeds();
    run(&home, &["plugin", "build", "test", "--native"]).fails_with("always a component: leave out --native");
    let without_path = |arguments: &[&str]| {
        let bare = home.command(arguments).env("PATH", "").output().unwrap();
        CommandOutput::from(bare)
    };
    let said = without_path(&["plugin", "build", "test"]).fails_with("componentize-js is not installed");
    assert!(
        said.stderr.contains(&format!("--save-dev {COMPONENTIZE}")) && said.stderr.contains("nodejs.org"),
        "{}",
        said.stderr
    );
    let script = home.join("test/node_modules/.bin/componentize-js");
    fs::create_dir_all(script.parent().unwrap()).unwrap();
    fs::write(script, "").unwrap();
    for command in ["build", "test"] {
        without_path(&["plugin", command, "test"]).fails_with("node is not installed, or not in PATH");
    }
    fs::remove_file(home.join("test/plugin.json")).unwrap();
    run(&home, &["plugin", "build", "test"]).fails_with("has to be beside plugin.js");
    run(&home, &["plugin", "new", "other", "--lang", "javascript"]).succeeds();
    fs::remove_dir_all(home.join("other/executor_runtime")).unwrap();
    let said = run(&home, &["plugin", "build", "other"]).fails_with("no executor_runtime in 'other'");
    assert!(said.stderr.contains("--lang javascript"), "{}", said.stderr);
}

#[test]
fn a_new_plugin_is_tested_run_and_installed() {
    let home = Home::new();
    if new_plugin(&home, "greeter").is_none() {
        return;
    }
    let tested = run_with_node(&home, &["plugin", "test", "greeter"]).succeeds();
    assert!(tested.stdout.contains("\"passed\": true"), "{tested:?}");
    assert!(tested.stderr.contains("pass 3"), "{tested:?}");
    let made = || {
        fs::metadata(home.join("greeter/target/greeter.wasm"))
            .unwrap()
            .modified()
            .unwrap()
    };
    let first = made();
    let greeted = run_with_node(
        &home,
        &["plugin", "dev", "greeter", "--once", "-m", "greet.name=Ada"],
    )
    .succeeds();
    assert_eq!(made(), first, "what has not changed is not built again");
    assert_eq!(greeted.json()["metadata"]["greet.text"], "Hello, Ada!");
    let mut install = home.command(&["plugin", "install"]);
    install
        .current_dir(home.join("greeter"))
        .env("XDG_CACHE_HOME", cache());
    CommandOutput::from(install.output().unwrap()).succeeds();
    let greeted = run(&home, &["run", "--kind", "greeter", "-m", "greet.name=Eve"]).succeeds();
    assert_eq!(greeted.json()["metadata"]["greet.text"], "Hello, Eve!");

    // What is wrong is said by the tests, before anything is built.
    let source = home.join("greeter/plugin.js");
    let written = fs::read_to_string(&source).unwrap();
    fs::write(&source, written.replace("Hello", "Bye")).unwrap();
    run_with_node(&home, &["plugin", "test", "greeter"]).fails_with("the plugin's own tests did not pass");
}

#[test]
fn what_can_not_be_built_is_told_in_the_authors_terms() {
    let home = Home::new();
    if new_plugin(&home, "greeter").is_none() {
        return;
    }
    let source = home.join("greeter/plugin.js");
    let written = fs::read_to_string(&source).unwrap();
    for (text, words) in [
        (
            written.replace("new Outcome", "neww Outcome"),
            "plugin.js:10:15 SyntaxError: unexpected token",
        ),
        (
            written.replace("defineRunner(", "("),
            "Error: plugin.js has to export a runner: export default defineRunner(",
        ),
        (
            written.replace("./executor_runtime/index.js", "node:fs"),
            "it can't import 'node:fs'",
        ),
    ] {
        fs::write(&source, text).unwrap();
        let said =
            run_with_node(&home, &["plugin", "build", "greeter"]).fails_with("the component was not built");
        assert!(said.stderr.contains(words), "{words}: {}", said.stderr);
        assert!(!said.stderr.contains("at componentize"), "{}", said.stderr);
    }
}

#[test]
fn each_end_is_what_the_author_meant() {
    let Some(place) = behaviours() else { return };
    for (behaviour, status, code, kind, words) in [
        ("nothing", Status::Succeeded, None, "", ""),
        (
            "rejected",
            Status::Rejected,
            None,
            "invalid_metadata",
            "nothing is asked for",
        ),
        (
            "failed",
            Status::Failed,
            Some(7),
            "backend",
            "the backend answered 500",
        ),
        (
            "returned_failure",
            Status::Failed,
            None,
            "backend",
            "this was returned",
        ),
        (
            "wrong_return",
            Status::Failed,
            None,
            "invalid_return",
            "the runner returned an array: expected",
        ),
        (
            "text",
            Status::Failed,
            None,
            "exception",
            "threw the text: no way on from here",
        ),
        (
            "recursion",
            Status::Failed,
            None,
            "exception",
            "InternalError: too much recursion (plugin.js, line ",
        ),
        ("memory", Status::Failed, None, "exception", "out of memory"),
        ("objects", Status::Failed, None, "plugin_crashed", "out of memory"),
        (
            "never",
            Status::Failed,
            None,
            "exception",
            "waits for a promise that nothing will ever settle",
        ),
        ("unhandled", Status::Succeeded, None, "", ""),
        (
            "timer_throws",
            Status::Failed,
            None,
            "exception",
            "RangeError: from a timer (plugin.js",
        ),
        ("global_fetch", Status::Failed, None, "exception", "use ctx.fetch"),
    ] {
        let ended = result(&place, behaviour, "http://127.0.0.1:9/");
        assert_eq!(
            (ended.status, ended.exit_code),
            (status, code),
            "{behaviour}: {ended:?}"
        );
        assert_eq!(receipt(&ended, "error.kind"), kind, "{behaviour}: {ended:?}");
        assert!(summary(&ended).contains(words), "{behaviour}: {ended:?}");
    }
    assert_eq!(receipt(&result(&place, "failed", ""), "test.seen"), "500");
    let told = result(&place, "receipt", "");
    let receipts = ["test.whole", "test.flag", "test.text"].map(|key| receipt(&told, key));
    assert_eq!(receipts, ["3", "true", "ä"]);
    // What was drawn when the component was built is not drawn in each run.
    let again = result(&place, "receipt", "");
    assert_ne!(receipt(&told, "test.random"), receipt(&again, "test.random"));

    let thrown = place.run(&behave(&place, "exception", ""));
    let ended = thrown.result();
    assert!(
        summary(&ended).starts_with("SyntaxError: JSON.parse: "),
        "{ended:?}"
    );
    assert!(
        summary(&ended).ends_with("(lib/parse.js, line 2, in parse)"),
        "{ended:?}"
    );
    // The log has the stack, with the lines of the plugin.
    let log = &thrown.stderr;
    assert!(
        log.contains("at parse (lib/parse.js:2)") && log.contains("at exception (plugin.js:"),
        "{log}"
    );
}

#[test]
fn requests_follow_redirects_are_tried_again_and_streamed() {
    let Some(place) = behaviours() else { return };
    let body = "x".repeat(300_000);
    let sent = body.clone();
    let server = Scripted::start(move |request, number| match (request.target.as_str(), number) {
        ("/start?q=a+b", _) => Answer::new(302, "").header("location", "/end"),
        (_, 1) => Answer::new(503, "later").header("retry-after", "0"),
        _ => Answer::new(200, sent.clone()),
    });
    let ended = result(&place, "fetch", &server.url("/start"));
    assert_eq!(
        (ended.status, ended.exit_code),
        (Status::Succeeded, Some(200)),
        "{ended:?}"
    );
    assert_eq!(receipt(&ended, "test.bytes"), "300000");
    assert_eq!(receipt(&ended, "test.url"), server.url("/end"));
    assert_eq!(
        server.lines(),
        ["GET /start?q=a+b", "GET /end", "GET /start?q=a+b", "GET /end"]
    );
    let [artifact] = ended.artifacts.as_slice() else {
        panic!("{ended:?}");
    };
    assert_eq!(artifact.kind, "response_body");
    assert_eq!(fs::read_to_string(&artifact.path).unwrap(), body);

    let echo = Scripted::start(|request, _| {
        Answer::new(200, serde_json::json!({"body": request.text()}).to_string())
    });
    let ended = result(&place, "post", &echo.url("/"));
    assert_eq!(receipt(&ended, "test.first"), "{\"a\":1}", "{ended:?}");
    let lengths = ["test.length", "test.big"].map(|key| receipt(&ended, key));
    assert_eq!(lengths, ["200000", "300000"]);

    let refused = result(&place, "network", "http://127.0.0.1:9/");
    assert_eq!(receipt(&refused, "error.kind"), "network", "{refused:?}");
    let half =
        Scripted::start(|_, _| Answer::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".to_vec()));
    let broken = result(&place, "fetch", &half.url("/"));
    assert_eq!(receipt(&broken, "error.kind"), "network", "{broken:?}");
    assert_eq!(broken.artifacts.len(), 0, "{broken:?}");
    let silent = Scripted::start(|_, _| Answer::Silence);
    assert_eq!(
        receipt(&result(&place, "short", &silent.url("/")), "test.kind"),
        "timeout"
    );
    let large = Scripted::start(|_, _| Answer::new(200, "z".repeat(500_000)));
    let forgotten = result(&place, "forgotten", &large.url("/"));
    assert_eq!(forgotten.status, Status::Succeeded, "{forgotten:?}");
}

#[test]
fn several_waits_are_under_way_at_once() {
    let Some(place) = behaviours() else { return };
    let ended = result(&place, "timers", "");
    assert_eq!(receipt(&ended, "test.order"), "10,50,90", "{ended:?}");
    assert_eq!(receipt(&ended, "test.ticks"), "true");
}

#[test]
fn whatever_waits_gives_way_to_the_stop() {
    let Some(place) = behaviours() else { return };
    for (behaviour, words) in [
        ("sleeps", "timed out in a pause"),
        ("set_timeout", "timed out in a timer"),
    ] {
        let ended = place
            .run(&behave(&place, behaviour, "").timeout(2, 30.0))
            .result();
        assert_eq!(ended.status, Status::TimedOut, "{ended:?}");
        assert_eq!(ended.error_summary.as_deref(), Some(words));
    }
    let looped = place.run(&behave(&place, "loop", "").timeout(1, 1.0)).result();
    assert_eq!(looped.status, Status::TimedOut, "{looped:?}");
    assert!(
        summary(&looped).contains("did not return within its grace period"),
        "{looped:?}"
    );
    let server = Scripted::start(|request, _| match request.target.as_str() {
        "/never" => Answer::Silence,
        _ => Answer::new(200, "noted"),
    });
    // Not before the plugin is compiled.
    let mut host = place.start(&behave(&place, "told", &server.url("")).grace(30.0));
    server.wait_for(1);
    let terminated = Command::new("kill").arg(host.id().to_string()).status();
    assert!(terminated.is_ok_and(|status| status.success()));
    host.wait().unwrap();
    assert_eq!(server.lines(), ["GET /never", "POST /stopped"]);
}

#[test]
fn artifacts_and_input_are_there() {
    let Some(place) = behaviours() else { return };
    let ended = result(&place, "dropped", "");
    assert!(
        receipt(&ended, "test.error").contains("can't be the name of an artifact"),
        "{ended:?}"
    );
    let [artifact] = ended.artifacts.as_slice() else {
        panic!("{ended:?}");
    };
    assert_eq!(artifact.artifact_id, "kept.txt");
    assert_eq!(fs::read_to_string(&artifact.path).unwrap(), "kept");
    let input = place.scene.file("input.txt", "one\ntwo\nthree".repeat(10_000));
    let ended = place
        .run(&behave(&place, "payload", "").path("input_payload_path", &input))
        .result();
    assert_eq!(receipt(&ended, "test.lines"), "20001", "{ended:?}");
}

#[test]
fn a_run_goes_on_where_its_host_died() {
    let Some(place) = behaviours() else { return };
    let invocation = behave(&place, "resumes", "").env("PAUSE", "600").id("the-run");
    let mut host = place.start(&invocation);
    let capture = place.scene.capture("the-run");
    // The second of its checkpoints, after which it pauses.
    eventually("the second step", || {
        let kept = fs::read(capture.join("checkpoint")).unwrap_or_default();
        String::from_utf8_lossy(&kept)
            .contains("\"steps\":2")
            .then_some(())
    });
    host.kill().unwrap();
    host.wait().unwrap();
    place.scene.assert_nothing_left_within(Duration::from_secs(5));
    let ended = place.run(&invocation).result();
    assert_eq!(receipt(&ended, "test.from"), "2", "{ended:?}");
    assert_eq!(
        fs::read_to_string(&ended.artifacts[0].path).unwrap(),
        "0\n1\n2\n3\n"
    );
}
