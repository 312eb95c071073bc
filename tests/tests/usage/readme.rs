//! The README and its pages are true: their tables are the code's, their documents are accepted, their programs run and
//! their links lead somewhere.

use executor_runtime::{
    CancelToken, ErrorKind,
    config::Config,
    protocol::{RuntimeInvocation, Status},
    receipt,
};
use executor_runtime_tests::{
    Scene, eventually, fixtures,
    plugins::{Plugins, summary},
    readme::{PAGES, page_text, section},
    scripted::{Answer, Scripted},
    serving::Serving,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

fn rows(name: &str) -> Vec<Vec<String>> {
    section(name)
        .lines()
        .skip(2)
        .map(|row| {
            row.trim_matches('|')
                .split(" | ")
                .map(|cell| cell.trim().to_owned())
                .collect()
        })
        .collect()
}

fn run(document: &str) -> Value {
    let mut child = Command::new(executor_runtime_tests::host_binary())
        .args(["run", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(document.as_bytes())
        .unwrap();
    serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn the_receipt_table_is_the_codes() {
    let expected: Vec<_> = receipt::KEYS
        .iter()
        .map(|(key, meaning)| vec![format!("`{key}`"), meaning.trim().to_owned()])
        .collect();
    assert_eq!(rows("receipt"), expected);
}

#[test]
fn the_error_kind_table_is_the_codes() {
    let expected: Vec<_> = ErrorKind::ALL
        .iter()
        .map(|(kind, meaning)| {
            vec![
                format!("`{}`", kind.code()),
                format!("`{}`", kind.status().as_str()),
                if kind.is_transient() { "yes" } else { "no" }.to_owned(),
                meaning.trim().to_owned(),
            ]
        })
        .collect();
    assert_eq!(rows("error kinds"), expected);
}

/// The code that an expression stands for in `RunError::failed(...)`, where it is none of its own.
const CODES_OF_OTHERS: [&str; 2] = [
    // Of the SDK, which is looked at as well.
    "error.code()",
    // Of an error that was made before.
    "cut.error.kind()",
];

#[test]
fn the_official_error_kind_table_has_every_code_of_the_sources() {
    let listed: BTreeMap<String, (BTreeSet<String>, Vec<String>)> = rows("official error kinds")
        .into_iter()
        .map(|row| {
            let plain = |text: &str| text.replace('`', "");
            let kinds = plain(&row[1]).split(", ").map(str::to_owned).collect();
            (plain(&row[0]), (kinds, vec![plain(&row[2]), row[3].clone()]))
        })
        .collect();
    let mut found = BTreeSet::new();
    for (package, kinds) in [
        ("common", vec![]),
        ("http", vec!["http"]),
        ("http-async", vec!["http_async"]),
        ("http-sse", vec!["http_sse"]),
    ] {
        for code in codes_in(&guest_build::workspace().join("plugins").join(package).join("src")) {
            let Some((of, _)) = listed.get(&code) else {
                panic!("plugins/README.md does not list the error.kind '{code}' of plugins/{package}");
            };
            let missing: Vec<_> = kinds.iter().filter(|kind| !of.contains(**kind)).collect();
            assert!(missing.is_empty(), "'{code}' is listed without {missing:?}");
            found.insert(code);
        }
    }
    for code in codes_of_requests() {
        assert!(
            listed.contains_key(&code),
            "plugins/README.md does not list '{code}'"
        );
        found.insert(code);
    }
    let extra: Vec<_> = listed.keys().filter(|code| !found.contains(*code)).collect();
    assert!(extra.is_empty(), "nothing ends with {extra:?}");
    for (kind, _) in ErrorKind::ALL {
        if let Some((_, told)) = listed.get(&*kind.code()) {
            let transient = if kind.is_transient() { "yes" } else { "no" };
            assert_eq!(told, &[kind.status().as_str(), transient], "{}", kind.code());
        }
    }
}

/// The codes that the sources of a plugin end runs with, the tests aside.
fn codes_in(sources: &Path) -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    for entry in std::fs::read_dir(sources).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            codes.extend(codes_in(&path));
            continue;
        }
        if path.file_stem().is_some_and(|name| name == "tests") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap();
        for call in ["failed(", "rejected(", "timed_out(", "cancelled("] {
            for argument in text.split(&format!("RunError::{call}")).skip(1) {
                let argument = argument.trim_start();
                match argument.strip_prefix('"') {
                    Some(literal) => codes.extend(literal.split('"').next().map(str::to_owned)),
                    None => {
                        let known = CODES_OF_OTHERS.iter().any(|other| argument.starts_with(other));
                        let shown: String = argument.chars().take(40).collect();
                        assert!(known, "{}: which codes can this be? {shown}", path.display());
                    }
                }
            }
        }
    }
    codes
}

/// The codes of requests that fail.
fn codes_of_requests() -> BTreeSet<String> {
    let path = guest_build::workspace().join("plugin-sdk/src/http/error.rs");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, code) = text.split_once("pub fn code(&self)").unwrap();
    let (code, _) = code.split_once("\n    }\n").unwrap();
    let codes: BTreeSet<_> = code.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    assert!(codes.contains("network"), "{codes:?}");
    codes
}

#[test]
fn the_exit_status_tables_are_the_helps() {
    for (command, table) in [
        ("run", "exit statuses"),
        ("batch", "batch exit statuses"),
        ("serve", "serve exit statuses"),
        ("wait", "wait exit statuses"),
    ] {
        let help = Command::new(executor_runtime_tests::host_binary())
            .args([command, "--help"])
            .output()
            .unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        for row in rows(table) {
            let line = help
                .lines()
                .find(|line| line.trim_start().starts_with(&format!("{} ", row[0])));
            assert!(line.is_some(), "--help does not mention exit status {}", row[0]);
        }
    }
}

#[test]
fn the_clients_are_described_as_in_their_help() {
    for row in rows("client commands") {
        let command = row[0].trim_matches('`');
        let help = Command::new(executor_runtime_tests::host_binary())
            .args([command, "--help"])
            .output()
            .unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        let summary = help.split("\n\n").next().unwrap().replace('\n', " ");
        assert_eq!(summary, row[1], "{command}");
    }
}

#[test]
fn the_batches_run_as_shown() {
    let scene = Scene::new();
    let invocations: String = ["a", "b", "c"]
        .map(|id| scene.script("true").id(id).text() + "\n")
        .concat();
    scene.file("invocations.ndjson", invocations);
    let host = executor_runtime_tests::host_binary();
    let mut shell = Command::new("sh");
    let path = format!("{}:/usr/bin:/bin", host.parent().unwrap().display());
    shell
        .args(["-e", "-c", &section("batch")])
        .current_dir(scene.root())
        .env("PATH", path);
    let finished = scene.run_command(scene.marked(&mut shell), b"");
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let statuses = |file: &str| {
        let text = std::fs::read_to_string(scene.path(file)).unwrap();
        let results = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        results.map(|result| result["status"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(statuses("results.ndjson"), ["succeeded"; 3]);
    // Nothing was left for the batch that goes on.
    assert_eq!(statuses("results.out"), ["succeeded"; 3]);
}

#[test]
fn the_first_batches_run_as_shown() {
    let scene = Scene::new();
    let invocations: String = ["a", "b"]
        .map(|id| scene.script("true").id(id).text() + "\n")
        .concat();
    scene.file("invocations.ndjson", invocations);
    scene.file("one.log", "1");
    scene.file("two words.log", "2");
    let host = executor_runtime_tests::host_binary();
    let mut shell = Command::new("sh");
    let path = format!("{}:/usr/bin:/bin", host.parent().unwrap().display());
    shell
        .args(["-e", "-c", &section("first batch")])
        .current_dir(scene.root())
        .env("PATH", path);
    let finished = scene.run_command(scene.marked(&mut shell), b"");
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(scene.path("one.log.gz").exists() && scene.path("two words.log.gz").exists());
    let results = std::fs::read_to_string(scene.path("results.ndjson")).unwrap();
    assert_eq!(results.lines().count(), 2, "{results}");
}

#[test]
fn the_variables_and_files_are_those_of_the_manual_page() {
    let page = Command::new(executor_runtime_tests::host_binary())
        .arg("man")
        .output()
        .unwrap();
    let page = String::from_utf8(page.stdout)
        .unwrap()
        .replace("\\-", "-")
        .replace("\\(aq", "'");
    for (name, title) in [("environment", "ENVIRONMENT"), ("files", "FILES")] {
        let (_, section) = page.split_once(&format!(".SH \"{title}\"\n")).unwrap();
        let section = section.split(".SH ").next().unwrap();
        let expected: String = rows(name)
            .iter()
            .map(|row| row.iter().map(|cell| cell.replace('`', "")).collect::<Vec<_>>())
            .map(|row| format!(".TP\n\\fB{}\\fR\n{}\n", row[0], row[1]))
            .collect();
        assert_eq!(section, expected);
    }
}

#[test]
fn the_artifacts_of_official_kinds_are_as_listed() {
    let listed: Vec<_> = rows("official artifacts")
        .iter()
        .map(|row| (row[0].replace('`', ""), row[1].replace('`', "")))
        .collect();
    let declared: Vec<_> = ["http", "http-async", "http-sse"]
        .into_iter()
        .flat_map(artifacts_in_the_summary)
        .collect();
    assert_eq!(listed, declared);
}

/// The artifacts that an official plugin's summary names, each with its kind.
fn artifacts_in_the_summary(plugin: &str) -> Vec<(String, String)> {
    let path = guest_build::workspace().join(format!("plugins/{plugin}/plugin.json"));
    let descriptor: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let summary = descriptor["summary"].as_str().unwrap().to_owned();
    let kind = descriptor["kinds"][0].as_str().unwrap();
    let names = summary.split(" as artifact ").skip(1);
    names
        .map(|rest| (rest.split(' ').next().unwrap().to_owned(), kind.to_owned()))
        .collect()
}

/// An invocation that is shown, with `server` in place of `host`.
fn shown_with(plugins: &Plugins, name: &str, host: &str, server: &Scripted) -> RuntimeInvocation {
    let text = section(name).replace(&format!("https://{host}"), &server.url(""));
    let mut invocation: Value = serde_json::from_str(&text).unwrap();
    invocation["working_directory"] = plugins.directory().to_str().unwrap().into();
    RuntimeInvocation::from_json(invocation.to_string().as_bytes()).unwrap()
}

#[test]
fn the_invocation_of_an_asynchronous_api_is_run_to_the_end() {
    let server = Scripted::start(|request, n| match (&*request.line(), n) {
        ("POST /runs", _) => Answer::new(202, r#"{"id": "7"}"#),
        ("GET /runs/7", 1) => Answer::new(200, r#"{"state": "running", "progress": 0.5}"#),
        ("GET /runs/7", _) => Answer::new(200, r#"{"state": "done"}"#),
        ("GET /runs/7/result", _) => Answer::new(200, "the result"),
        _ => Answer::new(204, ""),
    });
    let plugins = Plugins::new(&[fixtures::component("executor-runtime-plugin-http-async")], "");
    let invocation = shown_with(&plugins, "http_async", "builds.example.com", &server);
    let result = plugins.runtime.run_blocking(invocation);
    assert_eq!(result.status, Status::Succeeded, "{result:?}");
    let expected = [
        "POST /runs",
        "GET /runs/7",
        "GET /runs/7",
        "GET /runs/7/result",
        "DELETE /runs/7",
    ];
    assert_eq!(server.lines(), expected);
}

#[test]
fn the_invocation_of_an_api_that_streams_goes_on_where_the_stream_broke_off() {
    let event = |number: u32, status: &str| {
        let response = json!({"id": "r7", "status": status});
        format!(
            "data: {}\n\n",
            json!({"sequence_number": number, "response": response})
        )
    };
    let server = Scripted::start(move |_, n| {
        let events = match n {
            0 => event(0, "queued") + &event(1, "in_progress"),
            _ => event(2, "completed"),
        };
        Answer::new(200, events).header("content-type", "text/event-stream")
    });
    let plugins = Plugins::new(&[fixtures::component("executor-runtime-plugin-http-sse")], "");
    let invocation = shown_with(&plugins, "http_sse", "models.example.com", &server);
    let result = plugins.runtime.run_blocking(invocation);
    assert_eq!(result.status, Status::Succeeded, "{result:?}");
    let again = "GET /v1/responses/r7?stream=true&starting_after=1";
    assert_eq!(server.lines(), ["POST /v1/responses", again]);
    assert_eq!(result.metadata["sse.events"], "3");
}

#[test]
fn the_first_invocation_gives_the_result_that_is_shown() {
    let shown: Value = serde_json::from_str(&section("result")).unwrap();
    let mut result = run(&section("invocation"));
    for varying in ["started_at", "finished_at"] {
        result[varying] = shown[varying].clone();
    }
    let usage = result["metadata"].as_object_mut().unwrap();
    for (key, value) in usage.iter_mut().filter(|(key, _)| key.starts_with("usage.")) {
        *value = shown["metadata"][key].clone();
    }
    assert_eq!(result, shown);
    assert_eq!(shown["status"], Status::Failed.as_str());
}

#[test]
fn the_configuration_is_accepted() {
    let config = Config::parse(&section("configuration"), "README.md").unwrap();
    assert_eq!(config.subprocess().processes, Some(100));
    assert_eq!(config.plugin("http").config["region"], "eu");
    assert_eq!(
        config.plugin("manual").config["dispatcher.batch"],
        "unix:/run/batch.sock"
    );
}

#[test]
fn the_limits_of_plugins_are_all_there() {
    let schema = serde_json::to_value(Config::schema()).unwrap();
    let limits = schema["$defs"]["PluginLimits"]["properties"].as_object().unwrap();
    let mut listed: Vec<_> = rows("plugin limits")
        .iter()
        .map(|row| {
            row[0]
                .trim_start_matches('`')
                .split('`')
                .next()
                .unwrap()
                .to_owned()
        })
        .collect();
    listed.sort();
    let mut known: Vec<_> = limits.keys().cloned().collect();
    known.sort();
    assert_eq!(listed, known);
}

#[test]
fn a_denial_looks_as_it_is_shown() {
    let shown: Value = serde_json::from_str(&section("denial")).unwrap();
    let server = Scripted::sequence(vec![
        Answer::new(307, "").header("location", "http://elsewhere.example:8080/x"),
    ]);
    let plugins = Plugins::new(&[fixtures::component("executor-runtime-plugin-http")], "");
    let result = plugins.run("http", &[("http.url", &server.url("/"))]);
    let denied = json!({
        "status": result.status.as_str(),
        "error_summary": result.error_summary,
        "metadata": {"error.kind": result.metadata["error.kind"]},
    });
    assert_eq!(denied, shown);
}

#[test]
fn the_python_program_runs() {
    let program = section("python").replace("\"executor-runtime\"", "HOST");
    let host = executor_runtime_tests::host_binary();
    let program = format!("HOST = {:?}\n{program}", host.to_str().unwrap());
    match Command::new("python3").arg("-c").arg(&program).output() {
        Ok(output) => {
            let printed = String::from_utf8_lossy(&output.stdout);
            assert_eq!(
                printed.trim_end(),
                "succeeded Linux",
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Err(error) => {
            let why = format!("python3 can't be started: {error}");
            executor_runtime_tests::not_tested("the README's Python program", why);
        }
    }
}

/// Runs the page's orchestrator against the host at a socket, after a prelude; none if this machine has no Python or no httpx.
fn orchestrator() -> Option<impl Fn(&Path, &str) -> Output> {
    let packages = tempfile::tempdir().unwrap();
    let install = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--target"])
        .arg(packages.path())
        .arg("httpx==0.28.1")
        .output();
    let why = match install {
        Err(error) => Some(format!("python3 can't be started: {error}")),
        Ok(output) if !output.status.success() => {
            let said = String::from_utf8_lossy(&output.stderr);
            Some(format!("httpx can't be installed: {said}"))
        }
        Ok(_) => None,
    };
    if let Some(why) = why {
        executor_runtime_tests::not_tested("the README's Python program for `serve`", why);
        return None;
    }
    Some(move |socket: &Path, prelude: &str| {
        let program = section("python serve").replace(
            "os.environ[\"XDG_RUNTIME_DIR\"] + \"/executor-runtime/api.sock\"",
            &format!("{:?}", socket.to_str().unwrap()),
        );
        Command::new("python3")
            .arg("-c")
            .arg(format!("{prelude}\n{program}"))
            .env("PYTHONPATH", packages.path())
            .output()
            .unwrap()
    })
}

#[test]
fn the_python_program_that_asks_a_host_that_serves_runs() {
    let Some(orchestrator) = orchestrator() else {
        return;
    };
    let scene = Scene::new();
    let serving = Serving::start(&scene, &[]);
    // The second time it is the same run.
    for _ in 0..2 {
        let output = orchestrator(serving.socket(), "");
        let printed = String::from_utf8_lossy(&output.stdout);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(printed, "Linux\nsucceeded\n", "{said}");
    }
}

#[test]
fn the_python_program_asks_a_busy_host_again_and_says_what_is_wrong() {
    let Some(orchestrator) = orchestrator() else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let later = |status| Answer::new(status, r#"{"title": "later"}"#).header("retry-after", 0);
    let busy = Scripted::unix(&directory.path().join("busy.sock"), move |request, n| {
        match (&*request.line(), n) {
            ("POST /v1/runs", 0) => later(429),
            ("POST /v1/runs", 1) => later(503),
            ("POST /v1/runs", _) => Answer::new(202, "{}").header("location", "/v1/runs/x"),
            ("GET /v1/runs/x/logs/stdout?follow=true", _) => Answer::new(200, "Linux\n"),
            (_, 4) => Answer::new(202, r#"{"status": "running"}"#),
            (_, 5) => later(503),
            _ => Answer::new(200, r#"{"status": "succeeded"}"#),
        }
    });
    let output = orchestrator(&directory.path().join("busy.sock"), "");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "Linux\nsucceeded\n",
        "{said}"
    );
    let lines = busy.lines();
    let count = |line: &str| lines.iter().filter(|asked| asked.starts_with(line)).count();
    assert_eq!(count("POST /v1/runs"), 3, "{lines:?}");
    assert_eq!(count("GET /v1/runs/x/result?wait=60"), 3, "{lines:?}");

    let _refusing = Scripted::unix(&directory.path().join("refusing.sock"), |_, _| {
        let problem = json!({"type": "about:blank", "title": "Conflict", "status": 409, "detail": "another document has this id"});
        Answer::new(409, problem.to_string()).header("content-type", "application/problem+json")
    });
    let output = orchestrator(&directory.path().join("refusing.sock"), "");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("another document has this id"),
        "{said}"
    );
}

#[test]
fn the_python_program_waits_for_a_silent_run_and_takes_no_error_for_its_output() {
    /// What a client does that waits for the next byte of the output less than a day: it fails, here at once.
    const SILENCE: &str = r#"
import httpx
class Silence(httpx.HTTPTransport):
    def handle_request(self, request):
        longest = request.extensions["timeout"]["read"]
        if "/logs/" in request.url.path and longest is not None and longest < 86400:
            raise httpx.ReadTimeout("the run has been silent")
        return super().handle_request(request)
httpx.HTTPTransport = Silence
"#;
    let Some(orchestrator) = orchestrator() else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let run = |name: &str, output: Answer| {
        let socket = directory.path().join(name);
        let _host = Scripted::unix(&socket, move |request, _| match &*request.line() {
            "POST /v1/runs" => Answer::new(202, "{}").header("location", "/v1/runs/x"),
            "GET /v1/runs/x/logs/stdout?follow=true" => output.clone(),
            _ => Answer::new(200, r#"{"status": "succeeded"}"#),
        });
        orchestrator(&socket, SILENCE)
    };
    let output = run("silent.sock", Answer::new(200, "Linux\n"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "Linux\nsucceeded\n",
        "{said}"
    );
    let output = run("failing.sock", Answer::new(500, "no output"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("500"), "{said}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
}

#[test]
fn the_receipts_of_official_kinds_are_as_listed() {
    let server = Scripted::start(|request, _| match request.line().as_str() {
        "POST /kickoff" => Answer::new(202, r#"{"id": "7"}"#),
        "GET /done/7" => Answer::new(200, r#"{"status": "completed"}"#),
        "GET /running/7" => Answer::new(200, r#"{"status": "running"}"#),
        "GET /events" => {
            let events = "id: 1\ndata: {\"id\": 7}\n\ndata: end\n\n";
            Answer::new(200, events).header("content-type", "text/event-stream")
        }
        "GET /pings" => Answer::Endless {
            head: b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n".to_vec(),
            piece: b": ping\n\n".to_vec(),
            pause: Duration::from_millis(50),
        },
        _ => {
            let headers: String = (0..40)
                .map(|n| format!("x-{n}: {}\r\n", "v".repeat(600)))
                .collect();
            // Without `connection: close` the next request might be sent on this connection, and get no answer.
            let close = "content-length: 9\r\nconnection: close\r\n";
            let answer = format!("HTTP/1.1 200 OK\r\n{close}{headers}\r\nan answer");
            Answer::Bytes(answer.into_bytes())
        }
    });
    let plugins = Plugins::new(
        &[
            fixtures::component("executor-runtime-plugin-http"),
            fixtures::component("executor-runtime-plugin-http-async"),
            fixtures::component("executor-runtime-plugin-http-sse"),
            fixtures::native("executor-runtime-plugin-manual"),
        ],
        "plugins.http.limits.artifact_bytes = 2\nplugins.http-sse.limits.artifact_bytes = 2",
    );
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut with_artifacts = plugins.invocation("http", &[("http.url", &server.url("/"))]);
    with_artifacts.artifact_directory = Some(plugins.directory().join("kept").display().to_string());
    // To its end; or, where the server never lets it end, cancelled once the server has been asked for that.
    let run = |kind: &str, metadata: &[(&str, &str)], endless: Option<&str>| {
        let times = |line: &str| server.lines().iter().filter(|seen| *seen == line).count();
        let cancel = CancelToken::new();
        let before = endless.map(times);
        let ended = AtomicBool::new(false);
        let result = thread::scope(|scope| {
            if let Some(line) = endless {
                let (cancel, times, ended) = (cancel.clone(), &times, &ended);
                scope.spawn(move || {
                    eventually("the server being asked", || {
                        let asked = Some(times(line)) > before;
                        (asked || ended.load(Ordering::Relaxed)).then_some(())
                    });
                    cancel.cancel();
                });
            }
            let invocation = plugins.invocation(kind, metadata);
            let result = plugins.runtime.run_blocking_until(invocation, &cancel);
            ended.store(true, Ordering::Relaxed);
            result
        });
        let status = if endless.is_some() {
            "cancelled"
        } else {
            "succeeded"
        };
        assert_eq!(result.status.as_str(), status, "{}", summary(&result));
        result
    };
    let asynchronous = |poll: &str, cancel: &str, endless: Option<&str>| {
        let metadata = [
            ("http.url", &*server.url("/kickoff")),
            (
                "http.poll_url_template",
                &*server.url(&format!("/{poll}/{{run_id}}")),
            ),
            ("http.poll_run_id_path", "id"),
            ("http.poll_status_path", "status"),
            ("http.poll_interval_seconds", "0.1"),
            ("http.poll_terminal_states", "completed"),
            ("http.cancel_url_template", cancel),
            ("http.result_url_template", &server.url("/result")),
            ("http.cleanup_url_template", cancel),
        ];
        run("http_async", &metadata, endless)
    };
    let streaming = |stream: &str, cancel: &str, endless: Option<&str>| {
        let metadata = [
            ("http.url", &*server.url(stream)),
            ("http.method", "GET"),
            ("sse.run_id_path", "id"),
            ("sse.success_data", "end"),
            ("http.cancel_url_template", cancel),
        ];
        run("http_sse", &metadata, endless)
    };
    let (running, pings) = (Some("GET /running/7"), Some("GET /pings"));
    let results = [
        plugins.runtime.run_blocking(with_artifacts),
        asynchronous("done", &server.url("/cancel"), None),
        asynchronous("running", &server.url("/cancel"), running),
        asynchronous("running", &format!("http://{closed}/"), running),
        streaming("/events", &server.url("/cancel"), None),
        streaming("/pings", &server.url("/cancel"), pings),
        streaming("/pings", &format!("http://{closed}/"), pings),
        plugins.run("manual", &[("manual.url", &server.url("/"))]),
    ];
    let mut sent: BTreeSet<(String, String)> = results
        .iter()
        .flat_map(|result| {
            let kind = result.runtime_kind.as_str();
            result.metadata.keys().map(move |key| {
                let key = if key.starts_with("http.header.") {
                    "http.header.*"
                } else {
                    key
                };
                (key.to_owned(), kind.to_owned())
            })
        })
        .filter(|(key, _)| {
            ["http.", "sse.", "manual."]
                .iter()
                .any(|group| key.starts_with(group))
        })
        .collect();
    // It takes a host that dies, which `plugins::checkpoints` kills.
    for kind in ["http_async", "http_sse"] {
        sent.insert(("http.resumed".to_owned(), kind.to_owned()));
    }
    let listed: BTreeSet<_> = rows("official receipts")
        .into_iter()
        .flat_map(|row| {
            let plain = |text: &str| text.replace('`', "");
            let key = plain(&row[0]);
            let kinds = plain(&row[1]);
            let pairs: Vec<_> = kinds
                .split(", ")
                .map(|kind| (key.clone(), kind.to_owned()))
                .collect();
            pairs
        })
        .collect();
    assert_eq!(sent, listed);
}

/// A heading's anchor, as the usual renderers of Markdown make it.
fn anchor(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter(|char| char.is_alphanumeric() || matches!(char, ' ' | '-' | '_'))
        .map(|char| if char == ' ' { '-' } else { char })
        .collect()
}

fn headings(text: &str) -> Vec<String> {
    let mut in_code = false;
    text.lines()
        .filter_map(|line| {
            in_code ^= line.starts_with("```");
            let heading = line.trim_start_matches('#');
            (!in_code && heading.starts_with(' ') && heading.len() < line.len())
                .then(|| anchor(heading.trim()))
        })
        .collect()
}

#[test]
fn every_link_leads_somewhere() {
    let guides = [
        "plugin-sdk/python/README.md",
        "plugin-sdk/javascript/README.md",
        "plugin-sdk/c/README.md",
        "plugin-sdk/examples/README.md",
        "plugin-sdk/COMPATIBILITY.md",
        "plugins/recipes/README.md",
        ".github/SECURITY.md",
    ];
    let mut followed = 0;
    for page in PAGES.into_iter().chain(guides) {
        let text = page_text(page);
        for link in text.split("](").skip(1) {
            let link = link.split(')').next().unwrap();
            if link.starts_with("http") {
                continue;
            }
            followed += 1;
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => page.to_owned(),
                file => Path::new(page).with_file_name(file).display().to_string(),
            };
            assert!(
                guest_build::workspace().join(&target).exists(),
                "{page}: {link}: there is no {target}"
            );
            if !heading.is_empty() {
                let found = headings(&page_text(&target));
                assert!(
                    found.iter().any(|one| one == heading),
                    "{page}: {link}: {found:?}"
                );
            }
        }
    }
    assert!(followed > 30, "{followed}");
}

#[test]
fn the_table_of_an_invocation_is_the_schemas() {
    let printed = Command::new(executor_runtime_tests::host_binary())
        .args(["schema", "invocation"])
        .output()
        .unwrap();
    let schema: Value = serde_json::from_slice(&printed.stdout).unwrap();
    let required = schema["required"].as_array().unwrap();
    let expected: BTreeSet<_> = schema["properties"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, field)| {
            let is_required = if required.contains(&json!(name)) {
                "yes"
            } else {
                "no"
            };
            let fixed = || format!("`{}`", field["default"].as_str().unwrap());
            let meaning = field["description"].as_str().map_or_else(fixed, str::to_owned);
            vec![format!("`{name}`"), is_required.to_owned(), meaning]
        })
        .collect();
    assert_eq!(BTreeSet::from_iter(rows("invocation fields")), expected);
}

#[test]
fn the_tables_of_plugin_json_have_the_fields_that_there_are() {
    let printed = Command::new(executor_runtime_tests::host_binary())
        .args(["schema", "descriptor"])
        .output()
        .unwrap();
    let schema: Value = serde_json::from_slice(&printed.stdout).unwrap();
    let fields = |of: &Value| -> BTreeSet<String> {
        let fields = of["properties"].as_object().unwrap().keys();
        fields.filter(|field| *field != "$schema").cloned().collect()
    };
    let listed = |table: &str| -> BTreeSet<String> {
        let rows = rows(table);
        let names = rows.iter().flat_map(|row| row[0].split(", "));
        names.map(|name| name.trim_matches('`').to_owned()).collect()
    };
    assert_eq!(listed("plugin.json"), fields(&schema));
    assert_eq!(
        listed("plugin.json metadata"),
        fields(&schema["$defs"]["MetadataKey"])
    );
}
