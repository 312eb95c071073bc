//! Plugins in Python: the SDK on CPython alone, and what componentize-py makes of it under the host.

use super::guest_languages::{receipt, run, shown, summary};
use executor_runtime_protocol::{RuntimeResult, Status};
use executor_runtime_tests::{
    Invocation, eventually,
    home::{CommandOutput, Home},
    installed::{Installed, cache},
    not_tested,
    python::{COMPONENTIZE, component, new_plugin, venv},
    scripted::{Answer, Scripted},
};
use guest_build::workspace;
use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    sync::LazyLock,
    time::Duration,
};

/// The plugin of `tests/fixtures/python/behaviours`, built once.
fn behaviours() -> Option<Installed> {
    static BUILT: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
        let source = workspace().join("tests/fixtures/python/behaviours");
        let read = |name: &str| fs::read_to_string(source.join(name)).unwrap();
        let kept = component(
            "python-behaviours",
            &[
                ("plugin.py", &read("plugin.py")),
                ("plugin.json", &read("plugin.json")),
            ],
        )?;
        // Compiled before any test waits for what it does.
        let place = Installed::file("python_behaviours", &kept);
        let first = place.run(&behave(&place, "nothing", "").timeout(300, 1.0));
        first.expect(Status::Succeeded);
        Some(kept)
    });
    let built = BUILT.as_deref()?;
    Some(Installed::file("python_behaviours", built))
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

#[test]
fn the_sdks_own_tests_pass() {
    let ran = Command::new("python3")
        .args(["-B", "-m", "unittest"])
        .current_dir(workspace().join("plugin-sdk/python"))
        .stdin(Stdio::null())
        .output();
    match ran {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && said.contains("OK"), "{said}");
        }
        Err(error) => not_tested("the SDK for Python", error),
    }
}

#[test]
fn a_new_plugin_is_the_one_of_the_guide() {
    let home = Home::new();
    let said = run(&home, &["plugin", "new", "greeter", "--lang", "python"]).succeeds();
    assert!(
        said.stderr.contains(&format!("install {COMPONENTIZE}")),
        "{}",
        said.stderr
    );
    let folder = home.join("greeter");
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let guide = read("executor_runtime/README.md");
    assert!(guide.contains(COMPONENTIZE) && read("README.md").contains(COMPONENTIZE));
    assert!(read("plugin.py").ends_with(&shown(&guide, "python", "plugin.py")));
    assert!(folder.join("executor_runtime/py.typed").is_file());
    assert!(folder.join("executor_runtime/wit/deps/http.wit").is_file());

    // Its own tests, and what else the guide shows.
    fs::write(folder.join("test_guide.py"), shown(&guide, "python", "tests")).unwrap();
    let requests = format!(
        "from executor_runtime import Context, Outcome, Stopped\n\n\n{}",
        shown(&guide, "python", "requests")
    );
    fs::write(folder.join("requests_of_guide.py"), requests).unwrap();
    let tests = "import unittest\nfrom http.server import BaseHTTPRequestHandler, HTTPServer\nimport threading\n\
                 from executor_runtime.testing import TestHost, invocation\nfrom requests_of_guide import fetch\n\n\
                 class Answering(BaseHTTPRequestHandler):\n    def do_GET(self):\n        self.send_response(200)\n        \
                 self.send_header('content-length', '4')\n        self.end_headers()\n        self.wfile.write(b'page')\n    \
                 def log_message(self, *_):\n        pass\n\n\
                 class Requests(unittest.TestCase):\n    def test_fetch(self):\n        \
                 server = HTTPServer(('127.0.0.1', 0), Answering)\n        \
                 threading.Thread(target=server.handle_request, daemon=True).start()\n        \
                 url = f'http://127.0.0.1:{server.server_address[1]}'\n        \
                 host = TestHost()\n        result = host.run(lambda _, ctx: fetch(url, ctx), invocation('x'))\n        \
                 server.server_close()\n        \
                 self.assertEqual(result.receipt, {'fetch.bytes': '4', 'fetch.status': '200'}, result)\n        \
                 self.assertEqual(host.artifacts['page'].data, b'page')\n";
    fs::write(folder.join("test_requests.py"), tests).unwrap();
    let tests = format!(
        "import unittest\nfrom executor_runtime import Failed, Outcome\n\
         from executor_runtime.testing import TestHost, invocation\n\n\n{}\n\n\
         class Failures(unittest.TestCase):\n    def test_failure(self):\n        \
         result = TestHost().run(lambda *_: conclude(5, 2), invocation('x'))\n        \
         self.assertEqual((result.status, result.exit_code), ('failed', 3), result)\n        \
         self.assertEqual(result.receipt['check.errors'], '2', result)\n        \
         self.assertEqual(TestHost().run(lambda *_: conclude(5, 0), invocation('x')).status, 'succeeded')\n",
        shown(&guide, "python", "failure")
    );
    fs::write(folder.join("test_failure.py"), tests).unwrap();
    match Command::new("python3")
        .args(["-m", "unittest"])
        .current_dir(&folder)
        .stdin(Stdio::null())
        .output()
    {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && said.contains("Ran 6 tests"), "{said}");
        }
        Err(error) => not_tested("the tests of a new plugin in Python", error),
    }
}

#[test]
fn what_is_missing_is_said() {
    let home = Home::new();
    run(&home, &["plugin", "new", "x", "--lang", "python", "--sdk", "."])
        .fails_with("--sdk is for plugins in Rust");
    // What no crate can be called, a plugin in Python can.
    run(&home, &["plugin", "new", "test", "--lang", "python"]).succeeds();
    run(&home, &["plugin", "build", "test", "--native"]).fails_with("always a component: leave out --native");
    let bare = home
        .command(&["plugin", "build", "test"])
        .env("PATH", "")
        .output()
        .unwrap();
    let said = CommandOutput::from(bare).fails_with("componentize-py is not installed, or not in PATH");
    assert!(
        said.stderr.contains(&format!("pip install {COMPONENTIZE}")),
        "{}",
        said.stderr
    );
    let mut install = home.command(&["plugin", "install"]);
    let not_built: CommandOutput = install.current_dir(home.join("test")).output().unwrap().into();
    not_built.fails_with("has not been built as a component");
    let bare = home
        .command(&["plugin", "test", "test"])
        .env("PATH", "")
        .output()
        .unwrap();
    CommandOutput::from(bare).fails_with("python3 is not installed");

    fs::remove_file(home.join("test/plugin.json")).unwrap();
    run(&home, &["plugin", "build", "test"]).fails_with("has to be beside plugin.py");
    run(&home, &["plugin", "new", "other", "--lang", "python"]).succeeds();
    fs::remove_dir_all(home.join("other/executor_runtime")).unwrap();
    run(&home, &["plugin", "build", "other"]).fails_with("no executor_runtime in 'other'");
}

#[test]
fn a_new_plugin_is_tested_run_and_installed() {
    let Some(venv) = venv() else { return };
    let home = Home::new();
    new_plugin(&home, "greeter", venv);
    let tested = run(&home, &["plugin", "test", "greeter"]).succeeds();
    assert!(tested.stdout.contains("\"passed\": true"), "{tested:?}");
    assert!(tested.stderr.contains("Ran 3 tests"), "{tested:?}");
    let made = || {
        fs::metadata(home.join("greeter/target/greeter.wasm"))
            .unwrap()
            .modified()
            .unwrap()
    };
    let first = made();
    let greeted = run(
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
    let source = home.join("greeter/plugin.py");
    let written = fs::read_to_string(&source).unwrap();
    fs::write(&source, written.replace("Hello", "Bye")).unwrap();
    run(&home, &["plugin", "test", "greeter"]).fails_with("the plugin's own tests did not pass");
    fs::write(&source, written.replace("@runner", "")).unwrap();
    let said = run(&home, &["plugin", "build", "greeter"]).fails_with("componentize-py failed");
    assert!(
        said.stderr.contains("has to mark one function with @runner"),
        "{}",
        said.stderr
    );
}

#[test]
fn each_end_is_what_the_author_meant() {
    let Some(place) = behaviours() else { return };
    for (behaviour, status, code, kind, words) in [
        ("nothing", Status::Succeeded, None, "", ""),
        ("exits_with_0", Status::Succeeded, Some(0), "", ""),
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
            "the runner returned a list: expected",
        ),
        ("exits", Status::Failed, Some(1), "exit", "no way on from here"),
        (
            "recursion",
            Status::Failed,
            None,
            "exception",
            "RecursionError: maximum recursion depth",
        ),
        (
            "memory",
            Status::Failed,
            None,
            "exception",
            "in memory) (it exceeded its memory limit of 256 MiB: hold less in memory at a time, or raise \
             limits.memory_bytes)",
        ),
        (
            "late_import",
            Status::Failed,
            None,
            "exception",
            "import it at the top of plugin.py",
        ),
        ("sockets", Status::Failed, None, "exception", "use ctx.http"),
        ("raw_socket", Status::Failed, None, "exception", "use ctx.http"),
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

    let raised = place.run(&behave(&place, "exception", ""));
    let raised_result = raised.result();
    let words = summary(&raised_result);
    assert!(
        words.starts_with("JSONDecodeError: Expecting property name"),
        "{words}"
    );
    assert!(
        words.ends_with(", in exception)") && words.contains("(plugin.py, line "),
        "{words}"
    );
    // The log has the traceback, with the lines of the plugin.
    let log = &raised.stderr;
    assert!(
        log.contains("Traceback") && log.contains("return json.loads("),
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
    assert_eq!(receipt(&ended, "test.first"), "{\"a\": 1}", "{ended:?}");
    assert_eq!(receipt(&ended, "test.length"), "200000");

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
}

#[test]
fn whatever_waits_gives_way_to_the_stop() {
    let Some(place) = behaviours() else { return };
    for (behaviour, words) in [
        ("sleeps", "timed out in a pause"),
        ("time_sleep", "timed out in a pause"),
    ] {
        let ended = place
            .run(&behave(&place, behaviour, "").timeout(2, 30.0))
            .result();
        assert_eq!(ended.status, Status::TimedOut, "{ended:?}");
        assert_eq!(ended.error_summary.as_deref(), Some(words));
    }
    let spun = place.run(&behave(&place, "spins", "").timeout(1, 0.5)).result();
    assert_eq!(
        spun.error_summary.as_deref(),
        Some(
            "plugin 'python-behaviours' timed out after 1 s and was killed: it did not return within its grace period"
        )
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
    let names: Vec<_> = ended
        .artifacts
        .iter()
        .map(|artifact| artifact.artifact_id.as_str())
        .collect();
    assert_eq!(names, ["kept.txt"]);
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
            .contains("\"steps\": 2")
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
