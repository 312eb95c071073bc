//! `serve`: the HTTP API, used well and badly.

use executor_runtime_protocol::RuntimeResult;
use executor_runtime_tests::{
    Invocation, Scene, assert_golden, eventually,
    readme::section,
    serving::{Event, Following, Serving},
};
use serde_json::{Value, json};
use std::{fs, thread};

/// A run that has to be accepted.
#[track_caller]
pub(super) fn submit(serving: &Serving, invocation: &Invocation) -> Value {
    serving.post("/v1/runs", &invocation.text()).expect(202).json()
}

/// Has a run stop, which it may do at once.
#[track_caller]
pub(super) fn cancel(serving: &Serving, id: &str) {
    let answer = serving.post(&format!("/v1/runs/{id}/cancel"), "");
    assert!(matches!(answer.status(), 200 | 202), "{answer:?}");
}

/// The result of a run, which has to come.
#[track_caller]
pub(super) fn result(serving: &Serving, id: &str) -> RuntimeResult {
    let answer = serving.get(&format!("/v1/runs/{id}/result?wait=60")).expect(200);
    RuntimeResult::from_json(&answer.body).unwrap_or_else(|error| panic!("{error}"))
}

/// All events of a run, from the beginning.
pub(super) fn events(serving: &Serving, id: &str) -> Vec<Event> {
    let mut following = Following::start(serving.connect(), id, None);
    std::iter::from_fn(|| following.next()).collect()
}

#[test]
fn a_run_is_submitted_shown_waited_for_listed_and_followed() {
    let scene = Scene::new();
    let serving = Serving::start(&scene, &[]);
    assert_eq!(
        serving.said(),
        format!("serving on unix:{}\n", scene.path("api.sock").display())
    );
    assert_eq!(
        serving.get("/healthz").expect(200).json(),
        json!({"status": "ok"})
    );
    let invocation = scene.script("echo out; echo err >&2; exit 3").id("first");
    let accepted = serving.post("/v1/runs", &invocation.text()).expect(202);
    assert_eq!(accepted.header("location"), "/v1/runs/first");
    assert_eq!(accepted.header("content-type"), "application/json");
    let accepted = accepted.json();
    assert_eq!(accepted["invocation_id"], "first");
    assert_eq!(accepted["runtime_kind"], "subprocess");

    let told = result(&serving, "first");
    assert_eq!(told.exit_code, Some(3));
    assert_eq!(told.metadata["error.kind"], "exit_status");
    let shown = serving.get("/v1/runs/first").expect(200).json();
    assert_eq!(shown["status"], "failed");
    assert_eq!(shown["exit_code"], 3);
    assert_eq!(shown["error_kind"], "exit_status");
    assert!(shown["finished_at"].is_string(), "{shown}");

    assert_eq!(
        serving.get("/v1/runs/first/logs/stdout").expect(200).body,
        b"out\n"
    );
    assert_eq!(
        serving.get("/v1/runs/first/logs/stderr").expect(200).body,
        b"err\n"
    );
    assert_eq!(
        serving.get("/v1/runs/first/artifacts/stdout").expect(200).body,
        b"out\n"
    );
    // What is lost is not nothing.
    fs::remove_file(told.stdout_path.unwrap()).unwrap();
    let gone = serving.get("/v1/runs/first/logs/stdout").expect_problem(410);
    assert!(gone.contains("is not there any more"), "{gone}");

    let kinds: Vec<_> = events(&serving, "first")
        .into_iter()
        .map(|event| event.kind)
        .collect();
    assert_eq!(kinds.first().map(String::as_str), Some("accepted"), "{kinds:?}");
    assert_eq!(kinds.last().map(String::as_str), Some("ended"), "{kinds:?}");
    assert!(kinds.iter().any(|kind| kind == "started"), "{kinds:?}");

    for number in 0..5 {
        submit(&serving, &scene.script("exit 0").id(&format!("later-{number}")));
        result(&serving, &format!("later-{number}"));
    }
    let ids = |answer: &Value| -> Vec<String> {
        let runs = answer["runs"].as_array().expect("a list");
        let id = |run: &Value| run["invocation_id"].as_str().expect("a text").to_owned();
        runs.iter().map(id).collect()
    };
    let page = serving.get("/v1/runs?limit=4").expect(200).json();
    assert_eq!(ids(&page), ["later-4", "later-3", "later-2", "later-1"]);
    let next = page["next_cursor"].as_str().expect("there are more");
    let page = serving
        .get(&format!("/v1/runs?limit=4&cursor={next}"))
        .expect(200)
        .json();
    assert_eq!(ids(&page), ["later-0", "first"]);
    assert!(page["next_cursor"].is_null());
    let failed = serving
        .get("/v1/runs?status=failed&kind=subprocess")
        .expect(200)
        .json();
    assert_eq!(ids(&failed), ["first"]);
    assert_eq!(ids(&serving.get("/v1/runs?kind=http").json()), [] as [&str; 0]);
    let since = shown["finished_at"].as_str().expect("a time");
    assert_eq!(
        ids(&serving.get(&format!("/v1/runs?since={since}")).json()).len(),
        5
    );

    let kinds = serving.get("/v1/kinds").expect(200).json();
    let listed = scene.run_with(&["kinds", "--format", "json"], b"");
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(kinds["kinds"], listed);

    let metrics = String::from_utf8(serving.get("/metrics").expect(200).body).unwrap();
    for sample in [
        "executor_runtime_runs_ended_total{status=\"failed\"} 1\n",
        "executor_runtime_runs_ended_total{status=\"succeeded\"} 5\n",
        "executor_runtime_runs_queued 0\n",
        "executor_runtime_runs_running_max 256\n",
    ] {
        assert!(metrics.contains(sample), "{sample}{metrics}");
    }

    let pruned = serving.post("/v1/prune", r#"{"older_than_seconds": 3600, "captures": true}"#);
    assert_eq!(
        pruned.expect(200).json(),
        json!({"runs": 0, "captures": 0, "captures_kept": 0})
    );
    let pruned = serving
        .post("/v1/prune", r#"{"older_than_seconds": 0}"#)
        .expect(200)
        .json();
    assert_eq!(pruned["runs"], 6);
    assert_eq!(ids(&serving.get("/v1/runs").json()), [] as [&str; 0]);
    assert!(scene.capture("first").exists());
}

#[test]
fn the_same_document_many_times_at_once_is_one_run_and_another_one_is_a_conflict() {
    let scene = Scene::new();
    let serving = Serving::start(&scene, &[]);
    let document = scene.script("echo ran >> ran; sleep 0.2").id("once").text();
    let codes: Vec<u16> = thread::scope(|scope| {
        let clients: Vec<_> = (0..3)
            .map(|client| {
                let (serving, document) = (&serving, &document);
                scope.spawn(move || {
                    let mut connection = serving.connect();
                    let times = [4, 3, 3][client];
                    // All at once: the answers come in order.
                    for _ in 0..times {
                        connection.send("POST", "/v1/runs", &[], document.as_bytes());
                    }
                    (0..times)
                        .map(|_| connection.answer().status())
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect()
    });
    assert_eq!(codes.len(), 10);
    assert_eq!(codes.iter().filter(|code| **code == 202).count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == 200).count(), 9, "{codes:?}");
    let first = serving.get("/v1/runs/once/result?wait=60").expect(200).body;
    for _ in 0..9 {
        assert_eq!(
            serving.get("/v1/runs/once/result?wait=60").expect(200).body,
            first
        );
    }
    assert_eq!(fs::read_to_string(scene.path("ran")).unwrap(), "ran\n");
    let started = events(&serving, "once");
    let started = started.iter().filter(|event| event.kind == "started").count();
    assert_eq!(started, 1);
    // Also after its end.
    assert_eq!(serving.post("/v1/runs", &document).status(), 200);
    let other = scene.script("echo other").id("once").text();
    serving.post("/v1/runs", &other).expect_problem(409);
}

#[test]
fn who_waits_is_answered_at_the_end_or_in_time() {
    let scene = Scene::new();
    let serving = Serving::start(&scene, &[]);
    submit(
        &serving,
        &scene.script("until [ -e go ]; do sleep 0.01; done").id("held"),
    );
    let early = serving.get("/v1/runs/held/result").expect(202).json();
    assert_eq!(early["invocation_id"], "held");
    let waited = serving.get("/v1/runs/held/result?wait=0.3").expect(202).json();
    assert_eq!(waited["status"], "running");
    let mut waiting = serving.connect();
    waiting.send("GET", "/v1/runs/held/result?wait=60", &[], b"");
    scene.file("go", "");
    assert_eq!(waiting.answer().expect(200).json()["status"], "succeeded");
    for bad in ["-1", "3601", "x", "NaN", "1e400", "60s", ""] {
        let answer = serving.get(&format!("/v1/runs/held/result?wait={bad}"));
        assert_eq!(
            answer.expect_problem(400),
            format!("wait={bad}: expected a number of seconds from 0 to 3600")
        );
    }
    for path in ["", "/result", "/events", "/logs/stdout", "/artifacts/stdout"] {
        serving.get(&format!("/v1/runs/none{path}")).expect_problem(404);
    }
    serving.post("/v1/runs/none/cancel", "").expect_problem(404);
}

#[test]
fn one_request_submits_a_run_and_is_answered_with_its_result() {
    let scene = Scene::new();
    let serving = Serving::start(&scene, &["-j1"]);
    let short = scene.script("echo out; exit 3").id("short").text();
    let answer = serving.post("/v1/runs?wait=60", &short).expect(200);
    assert_eq!(answer.header("location"), "/v1/runs/short");
    let told = RuntimeResult::from_json(&answer.body).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(told.exit_code, Some(3));
    assert_eq!(answer.body, serving.get("/v1/runs/short/result").expect(200).body);
    // Sent again, it is the same run and has the same result; without waiting, the answer is the run.
    let again = serving.post("/v1/runs?wait=0", &short).expect(200);
    assert_eq!(again.body, answer.body);
    assert_eq!(
        serving.post("/v1/runs", &short).expect(200).json()["status"],
        "failed"
    );
    serving
        .post("/v1/runs?wait=60", &scene.script("echo other").id("short").text())
        .expect_problem(409);

    let held = scene
        .script("until [ -e go ]; do sleep 0.01; done")
        .id("held")
        .text();
    let early = serving.post("/v1/runs?wait=0", &held).expect(202);
    assert_eq!(early.header("location"), "/v1/runs/held");
    assert_eq!(early.json()["status"], "running");
    // One that waits for its turn is answered in time, too, and a caller that goes away leaves it as it is.
    let queued = scene.script("echo ran > ran").id("queued").text();
    let waited = serving.post("/v1/runs?wait=0.1", &queued).expect(202).json();
    assert_eq!(waited["status"], "pending");
    let mut gone = serving.connect();
    let left = scene.script("echo ran").id("left").text();
    gone.send("POST", "/v1/runs?wait=60", &[], left.as_bytes());
    eventually("it being accepted", || {
        (serving.get("/v1/runs/left").status() == 200).then_some(())
    });
    let mut waiting = serving.connect();
    waiting.send("POST", "/v1/runs?wait=60", &[], queued.as_bytes());
    drop(gone);
    scene.file("go", "");
    assert_eq!(waiting.answer().expect(200).json()["status"], "succeeded");
    for id in ["held", "left"] {
        assert_eq!(result(&serving, id).status.as_str(), "succeeded");
    }
    // Without patience it runs if there is room now.
    let now = scene.script("true").id("now").text();
    let answer = serving.post("/v1/runs?wait=60&queue_timeout=0", &now).expect(200);
    assert_eq!(answer.json()["status"], "succeeded");
    for bad in ["-1", "3601", "x"] {
        serving
            .post(&format!("/v1/runs?wait={bad}"), &held)
            .expect_problem(400);
    }
}

#[test]
fn a_run_is_cancelled_wherever_it_is() {
    let scene = Scene::new();
    let serving = Serving::start(&scene, &["-j1"]);
    submit(
        &serving,
        &scene
            .script("trap 'exit 0' TERM; touch up; sleep 600 & wait")
            .id("running"),
    );
    submit(&serving, &scene.script("touch never").id("queued"));
    eventually("the run being up", || scene.path("up").exists().then_some(()));
    let queued = serving.post("/v1/runs/queued/cancel", "");
    assert!(matches!(queued.status(), 200 | 202), "{queued:?}");
    assert_eq!(result(&serving, "queued").status.as_str(), "cancelled");
    let cancelled = serving.post("/v1/runs/running/cancel", "").expect(202).json();
    assert_eq!(cancelled["cancel_requested"], true);
    assert_eq!(result(&serving, "running").status.as_str(), "cancelled");
    assert_eq!(
        serving.post("/v1/runs/running/cancel", "").expect(200).json()["status"],
        "cancelled"
    );
    assert!(!scene.path("never").exists());

    let stubborn = scene.script("trap '' TERM; touch stubborn; while :; do sleep 1; done");
    submit(&serving, &stubborn.grace(600.0).id("stubborn"));
    eventually("it being up", || scene.path("stubborn").exists().then_some(()));
    serving.post("/v1/runs/stubborn/cancel", "").expect(202);
    let killed = serving.post("/v1/runs/stubborn/cancel?immediate=true", "");
    assert!(matches!(killed.status(), 200 | 202), "{killed:?}");
    assert_eq!(result(&serving, "stubborn").status.as_str(), "cancelled");
}

/// The routes of the README are those that there are.
#[test]
fn the_readme_lists_the_routes() {
    let scene = Scene::new();
    let serving = Serving::start(&scene, &[]);
    let document = serving.get("/openapi.json").expect(200).json();
    let mut routes: Vec<_> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().iter().map(move |(method, operation)| {
                let summary = operation["summary"].as_str().unwrap();
                format!("| `{} {path}` | {summary} |", method.to_uppercase())
            })
        })
        .collect();
    routes.sort();
    let listed = section("routes");
    let mut listed: Vec<_> = listed.lines().skip(2).map(str::to_owned).collect();
    listed.sort();
    assert_eq!(listed, routes);
}

#[test]
fn the_page_lists_the_query_parameters_and_the_statuses_of_a_run() {
    let scene = Scene::new();
    let serving = Serving::start(&scene, &[]);
    let document = serving.get("/openapi.json").expect(200).json();
    let mut parameters = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let all = operation["parameters"].as_array().into_iter().flatten();
            for parameter in all.filter(|parameter| parameter["in"] == "query") {
                let schema = &parameter["schema"];
                let range = match &schema["maximum"] {
                    Value::Null => "-".to_owned(),
                    maximum => format!("{} to {maximum}", schema["minimum"]),
                };
                let default = match &schema["default"] {
                    Value::Null => "-".to_owned(),
                    default => format!("`{default}`"),
                };
                let meaning = parameter["description"].as_str().unwrap().replace('\n', " ");
                let (method, name) = (method.to_uppercase(), parameter["name"].as_str().unwrap());
                parameters.push(format!(
                    "| `{method} {path}` | `{name}` | {range} | {default} | {meaning} |"
                ));
            }
        }
    }
    parameters.sort();
    let listed = section("query parameters");
    let mut listed: Vec<_> = listed.lines().skip(2).map(str::to_owned).collect();
    listed.sort();
    assert_eq!(listed, parameters);
    assert!(parameters.len() > 10);

    let listed = section("run statuses");
    let first_cells = listed.lines().skip(2).map(|row| row.split('`').nth(1).unwrap());
    let statuses = &document["components"]["schemas"]["RunStatus"]["enum"];
    assert_eq!(json!(first_cells.collect::<Vec<_>>()), *statuses);
}

/// The OpenAPI document is what clients are generated from.
#[test]
fn the_api_describes_itself() {
    let scene = Scene::new();
    let serving = Serving::start(&scene, &[]);
    let answer = serving.get("/openapi.json").expect(200);
    let document = answer.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    assert_golden("serve/openapi.json", std::str::from_utf8(&answer.body).unwrap());
    // Each operation is there: it is neither an unknown path nor an unknown method.
    let paths = document["paths"].as_object().unwrap();
    let mut operations = 0;
    for (path, item) in paths {
        for method in item.as_object().unwrap().keys() {
            let path = path.replace("{stream}", "stdout").replace(['{', '}'], "");
            let answer = serving.request(&method.to_uppercase(), &path, "");
            assert_ne!(answer.status(), 405, "{method} {path}");
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(!text.contains("there is no such path"), "{method} {path}: {text}");
            operations += 1;
        }
    }
    assert_eq!(operations, 13);
    // What is sent fits what is described.
    let schema = |name: &str| {
        let mut schema = json!({"$ref": format!("#/components/schemas/{name}")});
        schema["components"] = document["components"].clone();
        jsonschema::validator_for(&schema).expect("a schema")
    };
    submit(&serving, &scene.script("echo x; exit 4").id("described"));
    result(&serving, "described");
    for (path, name) in [
        ("/v1/runs/described", "RunSummary"),
        ("/v1/runs", "RunList"),
        ("/v1/runs/described/result", "RuntimeResult"),
        ("/v1/runs/none", "Problem"),
        ("/v1/kinds", "Kinds"),
        ("/healthz", "Health"),
    ] {
        let found = serving.get(path).json();
        let errors: Vec<_> = schema(name)
            .iter_errors(&found)
            .map(|error| error.to_string())
            .collect();
        assert!(errors.is_empty(), "{path}: {errors:?} in {found}");
    }
    for event in events(&serving, "described") {
        assert!(schema("RunEvent").is_valid(&event.data), "{event:?}");
    }
    let problem = serving.post("/v1/runs", "{}").json();
    assert!(schema("Problem").is_valid(&problem), "{problem}");
    let invocation: Value = serde_json::from_str(&scene.script("x").text()).unwrap();
    assert!(schema("RuntimeInvocation").is_valid(&invocation));
}
