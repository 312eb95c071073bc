//! The kind `manual` through the host's binary, with real dispatchers on a Unix socket and on loopback HTTP.

use executor_runtime_protocol::{RuntimeResult, Status};
use executor_runtime_tests::{
    Finished, Invocation, eventually,
    installed::Installed,
    scripted::{Answer, Scripted, repeat},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

/// What a dispatcher does once it has an invocation.
#[derive(Clone)]
enum Say {
    Text(String),
    /// The beginning of an answer, and then it is gone.
    Broken(&'static str),
    /// The beginning of an answer, and then a byte from time to time.
    Drip(&'static str),
    Nothing,
}

use Say::{Broken, Drip, Nothing, Text};

/// How it is reached.
#[derive(Clone, Copy, Debug, PartialEq)]
enum By {
    Socket,
    Http,
}

const WAYS: [By; 2] = [By::Socket, By::Http];

/// A running dispatcher.
struct Dispatcher {
    key: &'static str,
    address: String,
    seen: Arc<Mutex<Vec<Value>>>,
    _server: Option<Scripted>,
}

impl Dispatcher {
    fn new(installed: &Installed, by: By, say: impl Fn(&Value) -> Say + Send + Sync + 'static) -> Self {
        let seen: Arc<Mutex<Vec<Value>>> = Arc::default();
        let ask = {
            let seen = Arc::clone(&seen);
            move |document: &str| {
                let invocation = serde_json::from_str(document).unwrap();
                let answer = say(&invocation);
                seen.lock().unwrap().push(invocation);
                answer
            }
        };
        match by {
            By::Socket => {
                let path = installed.scene.path("dispatcher.sock");
                // The one before, if there is one, has nobody who asks it any more.
                let _ = std::fs::remove_file(&path);
                let listener = UnixListener::bind(&path).unwrap();
                std::thread::spawn(move || {
                    for stream in listener.incoming() {
                        // The plugin hangs up when it likes.
                        let _ = stream.and_then(|stream| serve(&stream, &ask));
                    }
                });
                Self {
                    key: "manual.socket",
                    address: path.to_str().unwrap().to_owned(),
                    seen,
                    _server: None,
                }
            }
            By::Http => {
                let server = Scripted::start(move |request, _| match ask(&request.text()) {
                    Text(text) => Answer::new(200, text),
                    Broken(text) => Answer::Bytes(
                        format!("HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n{text}").into_bytes(),
                    ),
                    Drip(text) => Answer::drip(text),
                    Nothing => Answer::Silence,
                });
                Self {
                    key: "manual.url",
                    address: server.url("/run"),
                    seen,
                    _server: Some(server),
                }
            }
        }
    }

    fn invocation(&self, installed: &Installed) -> Invocation {
        installed.invocation(&[(self.key, &self.address)])
    }

    fn seen(&self) -> Vec<Value> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(mut stream: &UnixStream, ask: &impl Fn(&str) -> Say) -> std::io::Result<()> {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    match ask(&line) {
        Text(text) => stream.write_all(format!("{text}\n").as_bytes()),
        Broken(text) => stream.write_all(text.as_bytes()),
        Drip(text) => {
            stream.write_all(text.as_bytes())?;
            repeat(stream, b" ", Duration::from_millis(100))
        }
        Nothing => std::io::copy(&mut stream, &mut std::io::sink()).map(drop),
    }
}

/// A good answer.
fn answer(invocation: &Value) -> Value {
    json!({
        "schema_version": "0.1", "contract_kind": "runtime_result",
        "invocation_id": invocation["invocation_id"], "runtime_name": invocation["runtime_name"],
        "runtime_kind": "manual", "status": "succeeded", "exit_code": 7,
        "started_at": "2026-01-02T03:04:05+01:00", "finished_at": "2026-01-02T03:04:06.5+01:00",
        "stdout_path": null, "stderr_path": null, "artifacts": [], "error_summary": null,
        "metadata": {"worker": "w1"}
    })
}

#[track_caller]
fn run(say: impl Fn(&Value) -> Say + Send + Sync + Clone + 'static) -> [Finished; 2] {
    let installed = Installed::native("manual");
    WAYS.map(|by| {
        let dispatcher = Dispatcher::new(&installed, by, say.clone());
        let finished = installed.run(&dispatcher.invocation(&installed));
        assert_eq!(dispatcher.seen().len(), 1, "{by:?}: {finished:?}");
        finished
    })
}

fn summary(result: &RuntimeResult) -> &str {
    result.error_summary.as_deref().unwrap_or_default()
}

fn code(result: &RuntimeResult) -> &str {
    result.metadata.get("error.kind").map_or("", String::as_str)
}

/// The result's document without what is the host's to say.
fn essence(finished: &Finished) -> Value {
    let mut document: Value = serde_json::from_slice(&finished.stdout).unwrap();
    let metadata = document["metadata"].as_object_mut().unwrap();
    metadata.retain(|key, _| !key.starts_with("plugin.") && key != "manual.dispatcher");
    document
}

#[test]
fn the_result_is_the_one_that_the_dispatcher_answers() {
    let artifact = json!({
        "schema_version": "0.1", "contract_kind": "artifact_descriptor", "artifact_id": "report",
        "path": "/on/the/dispatcher/report", "kind": "report", "description": "what\ncame of it",
        "metadata": {"size_bytes": "12"}
    });
    for (status, error, exit_code, host_code) in [
        ("succeeded", None, json!(7), 0),
        ("failed", Some("exit_status"), json!(-9), 1),
        ("failed", Some("out_of_luck"), json!(null), 1),
        ("timed_out", Some("timeout"), json!(null), 124),
        ("cancelled", Some("cancelled"), json!(143), 130),
        ("rejected", Some("no_runner"), json!(null), 3),
    ] {
        let artifact = artifact.clone();
        let edit = move |invocation: &Value| {
            let mut answer = answer(invocation);
            answer["status"] = status.into();
            answer["exit_code"] = exit_code.clone();
            answer["stdout_path"] = "/on/the/dispatcher/out".into();
            answer["stderr_path"] = "relative/err".into();
            answer["artifacts"] = json!([artifact]);
            answer["metadata"] = json!({
                "worker": "w1", "usage.max_rss_bytes": "1", "usage.user_seconds": "2",
                "usage.system_seconds": "3", "usage.wall_seconds": "4", "stdout_truncated": "true",
                "leaked_descendants": "5", "long": "x".repeat(10_000), "": "no name", "a\nb": "c\u{0}d",
            });
            if let Some(error) = error {
                answer["metadata"]["error.kind"] = error.into();
                answer["error_summary"] = format!("line one\n\tline two {}", "y".repeat(5000)).into();
            }
            answer
        };
        for (finished, by) in run({
            let edit = edit.clone();
            move |invocation| Text(edit(invocation).to_string())
        })
        .iter()
        .zip(WAYS)
        {
            let mut shown = essence(finished);
            // The host's own word, because the dispatcher says nothing of it.
            let transient = shown["metadata"]
                .as_object_mut()
                .unwrap()
                .remove("error.transient");
            let may_help = |error| matches!(error, "exit_status" | "out_of_luck" | "timeout");
            assert_eq!(transient, error.map(|error| json!(may_help(error).to_string())));
            assert_eq!(shown, edit(&shown), "{by:?} {status}");
            assert_eq!(finished.code, Some(host_code), "{by:?} {status}");
            let result = finished.result();
            assert_eq!(result.metadata["plugin.name"], "manual");
            assert_eq!(result.metadata["plugin.carrier"], "native");
        }
    }
}

#[test]
fn what_the_dispatcher_leaves_open_the_host_knows_of_its_own_part() {
    for finished in run(|invocation| {
        let mut answer = answer(invocation);
        answer["status"] = "failed".into();
        answer["metadata"] = json!({"plugin.name": "somebody", "error.kind": "No Code"});
        Text(answer.to_string())
    }) {
        let result = finished.expect(Status::Failed);
        assert_eq!(
            (code(&result), summary(&result)),
            (
                "dispatcher_reported",
                "the dispatcher reported 'failed' without an error_summary"
            )
        );
        assert_eq!(result.metadata["plugin.name"], "manual");
        assert!(result.metadata.contains_key("usage.wall_seconds"));
    }
}

#[test]
fn the_dispatcher_gets_the_invocation_as_it_was_given() {
    let installed = Installed::native("manual");
    for by in WAYS {
        let dispatcher = Dispatcher::new(&installed, by, |invocation| Text(answer(invocation).to_string()));
        let payload = installed.scene.file("payload", "in");
        let invocation = dispatcher
            .invocation(&installed)
            .env("A", "line\nbreak")
            .metadata("own.key", "ü")
            .with("timeout_seconds", 20)
            .path("input_payload_path", &payload)
            .path("output_result_path", &installed.scene.path("result.json"))
            .path("artifact_directory", &installed.scene.path("artifacts"));
        let finished = installed.run(&invocation);
        let result = finished.expect(Status::Succeeded);
        let [seen] = &dispatcher.seen()[..] else {
            panic!("it is asked once");
        };
        let sent = serde_json::to_value(invocation.parsed()).unwrap();
        assert_eq!(*seen, sent, "{by:?}");
        assert_eq!(
            std::fs::read(installed.scene.path("result.json")).unwrap(),
            finished.stdout
        );
        let named = match by {
            By::Socket => format!("unix:{}", dispatcher.address),
            By::Http => dispatcher.address.clone(),
        };
        assert_eq!(result.metadata["manual.dispatcher"], named);
    }
}

#[test]
fn an_answer_that_is_no_result_of_this_invocation_is_refused_with_the_reason() {
    type Edit = fn(&mut Value);
    let cases: [(Edit, &str); 12] = [
        (
            |a| a["invocation_id"] = "x".into(),
            "is for another invocation: invocation_id is 'x', expected 'e2e-",
        ),
        (
            |a| a["runtime_name"] = "x".into(),
            "is for another invocation: runtime_name is 'x', expected 'e2e'",
        ),
        (
            |a| a["runtime_kind"] = "http".into(),
            "is for another invocation: runtime_kind is 'http', expected 'manual'",
        ),
        (
            |a| a["status"] = "running".into(),
            "has the status 'running', which is not final",
        ),
        (
            |a| a["finished_at"] = "2026-01-02T02:04:05+00:30".into(),
            "has the finished_at '2026-01-02T02:04:05+00:30', which is before its started_at \
             '2026-01-02T03:04:05+01:00'",
        ),
        (|a| a["status"] = "done".into(), "is not a valid RuntimeResult: "),
        (|a| a["extra"] = 1.into(), "is not a valid RuntimeResult: "),
        (
            |a| a["contract_kind"] = "runtime_invocation".into(),
            "is not a valid RuntimeResult: ",
        ),
        (
            |a| a["schema_version"] = "0.2".into(),
            "is not a valid RuntimeResult: ",
        ),
        (|a| a["artifacts"] = json!([{}]), "is not a valid RuntimeResult: "),
        (
            |a| drop(a.as_object_mut().unwrap().remove("exit_code")),
            "is not a valid RuntimeResult: ",
        ),
        (|a| *a = json!([1]), "is not a valid RuntimeResult: "),
    ];
    for (edit, words) in cases {
        refused(words, move |invocation| {
            let mut answer = answer(invocation);
            edit(&mut answer);
            Text(answer.to_string())
        });
    }
    for (text, words) in [
        ("", "is empty"),
        (" ", "is empty"),
        ("no json", "is not a valid RuntimeResult: "),
        ("{}", "is not a valid RuntimeResult: "),
        ("null", "is not a valid RuntimeResult: "),
        ("\u{0}", "is not a valid RuntimeResult: "),
    ] {
        refused(words, move |_| Text(text.to_owned()));
    }
    refused("is longer than 16777216 bytes", |_| {
        Text("x".repeat((16 << 20) + 1))
    });
}

#[track_caller]
fn refused(words: &str, say: impl Fn(&Value) -> Say + Send + Sync + Clone + 'static) {
    for (finished, by) in run(say).iter().zip(WAYS) {
        let result = finished.expect(Status::Failed);
        assert_eq!(
            code(&result),
            "dispatcher_protocol",
            "{by:?}: {}",
            summary(&result)
        );
        let expected = format!("the dispatcher's answer {words}");
        assert!(
            summary(&result).starts_with(&expected),
            "{by:?}: {}\nexpected: {expected}",
            summary(&result)
        );
        // Problems are listed on one line, and not on lines whose ends are escaped.
        assert!(!summary(&result).contains(r"\n"), "{by:?}: {}", summary(&result));
        assert_eq!(result.exit_code, None);
        assert!(result.metadata["manual.dispatcher"].contains("/"), "{result:?}");
    }
}

#[test]
fn a_long_answer_comes_through() {
    for finished in run(|invocation| {
        let mut answer = answer(invocation);
        answer["metadata"]["long"] = "\"".repeat(2 << 20).into();
        Text(answer.to_string())
    }) {
        let result = finished.expect(Status::Succeeded);
        assert_eq!(result.metadata["long"].len(), 2 << 20);
    }
}

#[test]
fn a_dispatcher_that_breaks_off_is_a_failure() {
    let [socket, http] = run(|_| Broken(r#"{"schema_version":"#));
    let result = socket.expect(Status::Failed);
    assert_eq!(code(&result), "dispatcher_protocol");
    assert!(
        summary(&result).starts_with("the dispatcher's answer is not a valid RuntimeResult: "),
        "{}",
        summary(&result)
    );
    let result = http.expect(Status::Failed);
    assert_eq!(code(&result), "network");
    assert!(
        summary(&result).ends_with("closed the connection before its answer was complete"),
        "{}",
        summary(&result)
    );
    let [socket, http] = run(|_| Broken(""));
    assert_eq!(
        summary(&socket.expect(Status::Failed)),
        "the dispatcher's answer is empty"
    );
    assert_eq!(code(&http.expect(Status::Failed)), "network");
}

#[test]
fn another_http_status_than_2xx_is_told_with_the_beginning_of_its_answer() {
    let installed = Installed::native("manual");
    for (status, body, expected) in [
        (500, "broken\n", "the dispatcher's answer is HTTP 500: broken"),
        (404, "", "the dispatcher's answer is HTTP 404:"),
        (401, "{}", "the dispatcher's answer is HTTP 401: {}"),
    ] {
        let server = Scripted::sequence(vec![Answer::new(status, body)]);
        let finished = installed.run(&installed.invocation(&[("manual.url", &server.url("/"))]));
        let result = finished.expect(Status::Failed);
        assert_eq!(
            (code(&result), summary(&result)),
            ("dispatcher_protocol", expected)
        );
    }
}

#[test]
fn a_dispatcher_that_is_not_there_is_named() {
    let installed = Installed::native("manual");
    let missing = installed.scene.path("missing.sock");
    let dead = installed.scene.path("dead.sock");
    drop(UnixListener::bind(&dead).unwrap());
    let file = installed.scene.file("file", "");
    let long = format!("/{}", "x".repeat(200));
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let socket = |path: &Path, what: &str| {
        (
            "manual.socket",
            path.to_str().unwrap().to_owned(),
            format!("dispatcher socket '{}': no connection: {what}", path.display()),
        )
    };
    for (key, value, expected) in [
        socket(&missing, "No such file or directory"),
        socket(&dead, "Connection refused"),
        socket(&file, "Connection refused"),
        socket(Path::new(&long), "File name too long"),
        (
            "manual.url",
            format!("http://{closed}/"),
            format!("http error: connection refused by {closed}"),
        ),
    ] {
        let result = installed
            .run(&installed.invocation(&[(key, &value)]))
            .expect(Status::Failed);
        assert_eq!(code(&result), "network");
        assert!(summary(&result).starts_with(&expected), "{}", summary(&result));
    }
}

#[test]
fn a_dispatcher_that_does_not_answer_in_time_is_left() {
    let installed = Installed::native("manual").configured("[plugins.manual.limits]\ngrace_seconds = 0.5\n");
    let grace = Duration::from_millis(500);
    for by in WAYS {
        for say in [Nothing, Drip("{\"schema_version\": "), Drip("")] {
            let dispatcher = Dispatcher::new(&installed, by, move |_| say.clone());
            let finished = installed.run(&dispatcher.invocation(&installed).with("timeout_seconds", 1));
            let result = finished.expect(Status::TimedOut);
            assert_eq!(
                (code(&result), summary(&result)),
                ("timeout", "timed out in the dispatcher's run (timeout 1 s)"),
                "{by:?}"
            );
            assert_eq!(finished.code, Some(124));
            assert!(
                finished.wall < Duration::from_secs(1) + grace + Duration::from_millis(300),
                "{by:?}: {:?}",
                finished.wall
            );
            installed.scene.assert_nothing_left_within(Duration::from_secs(1));
        }
    }
}

#[test]
fn a_signal_to_the_host_cancels_the_wait() {
    let installed = Installed::native("manual");
    for by in WAYS {
        let dispatcher = Dispatcher::new(&installed, by, |_| Nothing);
        let host = installed.start(&dispatcher.invocation(&installed));
        eventually("the dispatcher being asked", || {
            (!dispatcher.seen().is_empty()).then_some(())
        });
        kill(Pid::from_raw(host.id().cast_signed()), Signal::SIGTERM).unwrap();
        let finished = installed.scene.finish(host);
        let result = finished.expect(Status::Cancelled);
        assert_eq!(
            (code(&result), summary(&result)),
            ("cancelled", "cancelled in the dispatcher's run"),
            "{by:?}"
        );
        assert_eq!(finished.code, Some(143));
        assert!(
            finished.wall < Duration::from_secs(1),
            "{by:?}: {:?}",
            finished.wall
        );
        installed.scene.assert_nothing_left_within(Duration::from_secs(1));
    }
}

#[test]
fn the_operator_names_a_dispatcher_for_each_runtime_and_the_invocation_wins() {
    let installed = Installed::native("manual");
    let named = |name: &'static str| {
        move |invocation: &Value| {
            let mut answer = answer(invocation);
            answer["metadata"]["worker"] = name.into();
            Text(answer.to_string())
        }
    };
    let socket = Dispatcher::new(&installed, By::Socket, named("socket"));
    let http = Dispatcher::new(&installed, By::Http, named("http"));
    let installed = installed.configured(&format!(
        "[plugins.manual.config]\n\"dispatcher.by-socket\" = \"unix:{}\"\n\"dispatcher.by-http\" = \"{}\"\n\
         \"dispatcher.by-name\" = \"somewhere\"\n\"dispatcher.relative\" = \"unix:d.sock\"\n",
        socket.address, http.address
    ));
    let at = |runtime: &str, metadata: &[(&str, &str)]| {
        installed.run(&installed.invocation(metadata).with("runtime_name", runtime))
    };
    let worker = |finished: Finished| finished.expect(Status::Succeeded).metadata["worker"].clone();
    assert_eq!(worker(at("by-socket", &[])), "socket");
    assert_eq!(worker(at("by-http", &[])), "http");
    assert_eq!(worker(at("by-socket", &[("manual.url", &http.address)])), "http");
    assert_eq!(
        worker(at("by-http", &[("manual.socket", &socket.address)])),
        "socket"
    );
    for (runtime, metadata, words) in [
        (
            "e2e",
            &[][..],
            "no dispatcher: set metadata key 'manual.url' or 'manual.socket', or config key 'dispatcher.e2e' \
             of plugin 'manual'",
        ),
        (
            "by-name",
            &[],
            "config key 'dispatcher.by-name' of plugin 'manual' is neither a URL nor unix:<absolute path>",
        ),
        (
            "relative",
            &[],
            "config key 'dispatcher.relative' of plugin 'manual' is 'd.sock', expected an absolute path",
        ),
        (
            "by-http",
            &[("manual.url", "http://a/"), ("manual.socket", "/d")],
            "metadata keys 'manual.url' and 'manual.socket' can't be combined",
        ),
        (
            "by-http",
            &[("manual.socket", "d")],
            "metadata key 'manual.socket' is 'd', expected an absolute path",
        ),
    ] {
        let finished = at(runtime, metadata);
        let result = finished.expect_rejected("invalid_metadata");
        assert_eq!(summary(&result), words);
    }
    let rejected = at("by-http", &[("manual.url", "ftp://a/")]);
    assert!(summary(&rejected.expect_rejected("invalid_metadata")).contains("manual.url"));
}
