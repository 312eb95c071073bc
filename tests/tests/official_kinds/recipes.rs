//! Recipes: kinds that are made of an installed one by a file, and those that come with the host.

mod anthropic_message;
mod langgraph_run;
mod openai_response;
mod real_langgraph;
mod real_ray;
mod real_slurm;
mod slurm_job;

use executor_runtime_protocol::{RuntimeResult, Status};
use executor_runtime_tests::{
    Invocation, fixtures, holds,
    home::{CommandOutput, verdicts},
    installed::Installed,
    kind::{artifact, package},
    scripted::{Answer, Request, Scripted},
};
use guest_build::workspace;
use serde_json::{Value, json};
use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

/// The official recipe of `kind`, and its base.
fn official(kind: &'static str) -> Installed {
    let recipe = fs::read_to_string(file_of(kind)).unwrap();
    let base = package(&base_of(&recipe));
    let place = Installed::file(kind, &fixtures::component(&base));
    put(&place, kind, &recipe);
    place
}

fn base_of(recipe: &str) -> String {
    let line = recipe.lines().find_map(|line| line.strip_prefix("base = "));
    line.expect("a recipe has a base").trim_matches('"').to_owned()
}

fn file_of(kind: &str) -> PathBuf {
    workspace()
        .join("plugins/recipes")
        .join(format!("{kind}.kind.toml"))
}

/// `http_async`, and a recipe that is this text.
fn with_base(kind: &'static str, recipe: &str) -> Installed {
    let base = fixtures::component("executor-runtime-plugin-http-async");
    let place = Installed::file(kind, &base);
    put(&place, kind, recipe);
    place
}

fn put(place: &Installed, kind: &str, recipe: &str) {
    fs::write(
        place.scene.path("plugins").join(format!("{kind}.kind.toml")),
        recipe,
    )
    .unwrap();
}

fn said(place: &Installed, arguments: &[&str]) -> CommandOutput {
    let mut command = place.scene.host(arguments);
    place.equip(&mut command).output().unwrap().into()
}

/// What `plugin list` says of the recipe of `kind`.
fn reason(place: &Installed, kind: &str) -> Option<String> {
    let list = said(place, &["plugin", "list"]).json();
    let name = format!("{kind}.kind.toml");
    let found = list.as_array().unwrap().iter().find(|file| {
        Path::new(file["path"].as_str().unwrap())
            .file_name()
            .is_some_and(|found| found == name.as_str())
    });
    found.expect("it is listed")["reason"].as_str().map(str::to_owned)
}

/// The data of each event in a result's artifact.
fn events(result: &RuntimeResult) -> Vec<Value> {
    let kept = artifact(result, "events").expect("there is an artifact");
    let lines = String::from_utf8(kept).unwrap();
    let data = |line: &str| -> Value {
        let line: Value = serde_json::from_str(line).unwrap();
        let data = line["data"].as_str().unwrap();
        serde_json::from_str(data).unwrap_or_else(|_| data.into())
    };
    lines.lines().map(data).collect()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Waits for what another program does, which may have to load a lot.
#[track_caller]
fn becomes_true(what: &str, mut is_true: impl FnMut() -> bool) {
    let held = holds(Duration::from_secs(120), || is_true().then_some(()));
    assert!(held.is_some(), "{what}: not within 120 seconds");
}

fn summary(result: &RuntimeResult) -> &str {
    result.error_summary.as_deref().unwrap_or_default()
}

fn body(request: &Request) -> Value {
    serde_json::from_str(&request.text()).unwrap()
}

/// Answers as Ray's dashboard does: <https://docs.ray.io/en/latest/cluster/running-applications/job-submission/rest.html>.
/// The job is in these states, one after the other, and stays in the last one.
fn ray(states: &'static [&'static str]) -> Scripted {
    Scripted::start(move |request, n| match &*request.line() {
        "POST /api/jobs/" => {
            let id = body(request)["submission_id"].clone();
            Answer::new(200, json!({"job_id": null, "submission_id": id}).to_string())
        }
        line if line.ends_with("/stop") => Answer::new(200, json!({"stopped": true}).to_string()),
        _ => {
            let state = states[(n - 1).min(states.len() - 1)];
            Answer::new(200, json!({"status": state, "message": "as it goes"}).to_string())
        }
    })
}

fn ray_job(place: &Installed, server: &Scripted) -> Invocation {
    place
        .invocation(&[("ray.url", &server.url("")), ("ray.poll_seconds", "0.05")])
        .with("command", json!(["python", "-c", "print('hi there')"]))
        .id("job/1")
}

#[test]
fn a_job_of_ray_is_submitted_and_waited_for() {
    let place = official("ray_job");
    let server = ray(&["PENDING", "RUNNING", "SUCCEEDED"]);
    let invocation = ray_job(&place, &server)
        .env("A", "it's \"so\"")
        .metadata("ray.pip", "torch==2.4.0, pandas")
        .metadata("ray.num_cpus", "0.5")
        .metadata("mine", "kept");
    let result = place.run(&invocation).expect(Status::Succeeded);
    assert_eq!(result.runtime_kind.as_str(), "ray_job");
    for (key, value) in [
        ("http.run_status", "SUCCEEDED"),
        ("http.run_id", "job/1"),
        ("plugin.name", "http-async"),
        ("plugin.recipe", "ray-job"),
        ("plugin.recipe_version", "0.1.0"),
    ] {
        assert_eq!(result.metadata[key], value, "{key}");
    }
    assert_eq!(result.metadata["plugin.recipe_sha256"].len(), 64);
    assert_eq!(result.artifacts[0].artifact_id, "final_status");
    let requests = server.requests();
    assert_eq!(
        body(&requests[0]),
        json!({
            "entrypoint": r#"python -c 'print('\''hi there'\'')'"#,
            "submission_id": "job/1",
            "entrypoint_num_cpus": 0.5,
            "runtime_env": {"pip": ["torch==2.4.0", "pandas"], "env_vars": {"A": "it's \"so\""}},
        })
    );
    assert_eq!(requests[0].header("content-type"), "application/json");
    assert_eq!(requests[0].header("authorization"), "");
    let looked = "GET /api/jobs/job%2F1";
    assert_eq!(server.lines(), ["POST /api/jobs/", looked, looked, looked]);
}

#[test]
fn a_job_that_fails_or_is_too_long_is_told_as_such() {
    let place = official("ray_job");
    let server = ray(&["FAILED"]);
    let result = place.run(&ray_job(&place, &server)).expect(Status::Failed);
    assert_eq!(result.metadata["http.run_status"], "FAILED");
    assert_eq!(result.metadata["plugin.recipe"], "ray-job");

    let server = ray(&["RUNNING"]);
    let invocation = ray_job(&place, &server)
        .metadata("ray.token", "s3cret")
        .timeout(2, 1.0);
    place.run(&invocation).expect(Status::TimedOut);
    let requests = server.requests();
    let last = requests.last().unwrap();
    assert_eq!(last.line(), "POST /api/jobs/job%2F1/stop");
    assert_eq!(last.header("authorization"), "Bearer s3cret");
}

#[test]
fn a_job_is_found_again_when_its_host_died() {
    let place = official("ray_job");
    let server = ray(&["RUNNING", "RUNNING", "SUCCEEDED"]);
    let invocation = ray_job(&place, &server).metadata("ray.poll_seconds", "0.3");
    let mut host = place.start(&invocation);
    server.wait_for(3);
    host.kill().unwrap();
    host.wait().unwrap();
    place.scene.assert_nothing_left_within(Duration::from_secs(1));
    let result = place.run(&invocation).expect(Status::Succeeded);
    assert_eq!(result.metadata["http.resumed"], "true");
    let submitted = server
        .lines()
        .iter()
        .filter(|line| line.starts_with("POST"))
        .count();
    assert_eq!(submitted, 1, "{:?}", server.lines());
}

/// Also by a host that has only its journal to know by, which is of what the caller asked for, and not of what the recipe has
/// made of it.
#[test]
fn a_job_of_a_batch_is_found_again_when_its_host_died() {
    let place = official("ray_job");
    let server = ray(&["RUNNING", "RUNNING", "SUCCEEDED"]);
    let invocation = ray_job(&place, &server).metadata("ray.poll_seconds", "0.3");
    let jobs = place
        .scene
        .file("jobs.ndjson", invocation.text() + "\n")
        .display()
        .to_string();
    let journal = place.scene.path("journal").display().to_string();
    let batch = || {
        let mut command = place.scene.host(&["batch", "--journal", &journal, &jobs]);
        place.equip(&mut command).stdin(Stdio::null());
        command
    };
    let mut host = batch().stdout(Stdio::null()).spawn().unwrap();
    server.wait_for(3);
    host.kill().unwrap();
    host.wait().unwrap();
    place.scene.assert_nothing_left_within(Duration::from_secs(1));
    let output = batch().output().unwrap();
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["status"], "succeeded", "{result:#}");
    assert_eq!(result["metadata"]["http.resumed"], "true", "{result:#}");
    let lines = server.lines();
    let submitted = lines.iter().filter(|line| line.starts_with("POST")).count();
    assert_eq!(submitted, 1, "{lines:?}");
}

#[test]
fn the_official_recipes_are_listed_and_conform() {
    let place = official("ray_job");
    let sse = fixtures::component(&package("http_sse"));
    fs::copy(&sse, place.scene.path("plugins/http-sse.wasm")).unwrap();
    let guide = guide();
    let (_, table) = guide.split_once("<!-- test: official recipes -->").unwrap();
    let (table, _) = table.split_once("\n\n").unwrap();
    let files = fs::read_dir(workspace().join("plugins/recipes")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    for name in names.filter(|name| name != "README.md") {
        let kind = name.strip_suffix(".kind.toml").expect("recipes only");
        let recipe = fs::read_to_string(file_of(kind)).unwrap();
        let row = format!("| `{kind}` | `{}` |", base_of(&recipe));
        assert!(table.contains(&row), "{table}");
        put(&place, kind, &recipe);
        assert_eq!(reason(&place, kind), None);
        let report = said(&place, &["plugin", "check", kind]).succeeds().json();
        let mut verdicts = verdicts(&report).into_iter();
        let loads = verdicts.find(|(name, _, _)| name == "loads").unwrap();
        assert_eq!(loads.1, "passed");
        let human = said(&place, &["plugin", "check", kind, "--format", "human"]);
        assert!(human.stdout.contains("ok      is a recipe\n"), "{human:?}");
        let skipped = human.stdout.lines().filter(|line| line.starts_with("skipped "));
        assert_eq!(skipped.count(), 1, "{human:?}");
        let inspected = said(&place, &["plugin", "inspect", kind]).succeeds().json();
        assert_eq!(inspected["carrier"], "recipe");
        assert_eq!(inspected["descriptor"]["kinds"], json!([kind]));
    }
}

fn guide() -> String {
    fs::read_to_string(workspace().join("plugins/recipes/README.md")).unwrap()
}

#[test]
fn the_recipe_of_the_guide_runs() {
    let guide = guide();
    let (_, recipe) = guide.split_once("<!-- test: recipe -->\n```toml\n").unwrap();
    let (recipe, _) = recipe.split_once("```").unwrap();
    let (_, text) = guide.split_once("<!-- test: recipe text -->\n```toml\n").unwrap();
    let (text, _) = text.split_once("```").unwrap();
    let place = with_base("build", &format!("{recipe}\n{text}"));
    let server = Scripted::start(|request, n| match (&*request.method, n) {
        ("POST", _) => Answer::new(200, json!({"build": {"id": "b-17"}}).to_string()),
        (_, 1) => Answer::new(200, json!({"build": {"state": "passed"}}).to_string()),
        _ => Answer::new(404, ""),
    });
    let invocation = place
        .invocation(&[
            ("build.api", &server.url("/v2")),
            ("build.project", "web/x"),
            ("build.cores", "4"),
        ])
        .with("environment", json!({"BUILD_TOKEN": "TOKEN"}))
        .with("command", json!(["make", "test"]));
    place.run(&invocation).expect(Status::Succeeded);
    let requests = server.requests();
    assert_eq!(
        server.lines(),
        ["POST /v2/projects/web%2Fx/builds", "GET /v2/builds/b-17"]
    );
    assert_eq!(
        body(&requests[0]),
        json!({"ref": "main", "command": ["make", "test"], "cores": 4})
    );
    assert_eq!(requests[0].header("x-cores"), "[4]");
    assert!(
        requests
            .iter()
            .all(|request| request.header("authorization") == "Bearer TOKEN")
    );
}

const MINIMAL: &str = r#"
    version = "1.0.0"
    summary = "Asks our API"
    base = "http_async"
    metadata."api.url" = { type = "url", required = true, help = "Where" }
    metadata."api.path" = { type = "string", default = "x", help = "What" }
    [set]
    "http.url" = "{{api.url}}/{{api.path}}"
    "http.poll_url_template" = "{{api.url}}/polls"
    "http.poll_status_path" = "status"
    "http.poll_terminal_states" = "done"
"#;

/// The hosts that an invocation may reach, as `explain` tells; or why it would be rejected.
fn grants(place: &Installed, metadata: &[(&str, &str)]) -> Result<Value, String> {
    let file = place
        .scene
        .file("explained.json", place.invocation(metadata).text());
    let told = said(place, &["explain", file.to_str().unwrap()]).json();
    match told["rejected"].as_object() {
        None => Ok(told["grants"].clone()),
        Some(rejected) => Err(rejected["error_summary"].as_str().unwrap_or_default().to_owned()),
    }
}

#[test]
fn a_recipe_reaches_only_the_hosts_of_its_urls() {
    let place = with_base("api", MINIMAL);
    let url = ("api.url", "http://127.0.0.1:9");
    assert_eq!(grants(&place, &[url]).unwrap(), json!(["127.0.0.1:9"]));
    for path in [
        "@evil.example/",
        "../../x",
        "http://evil.example/",
        "\r\nHost: evil.example",
        "{{api.url}}",
    ] {
        assert_eq!(
            grants(&place, &[url, ("api.path", path)]).unwrap(),
            json!(["127.0.0.1:9"]),
            "{path}"
        );
    }
    for (metadata, words) in [
        (
            ("api.path", ".."),
            "api.path: it would be a step to another place in the path",
        ),
        (
            ("http.url", "http://evil.example/"),
            "http.url: found a key of http_async, the base, which only the recipe api itself may set",
        ),
        (("http.header.x", "1"), "http.header.x: found a key of http_async"),
    ] {
        let problem = grants(&place, &[url, metadata]).unwrap_err();
        assert!(
            problem.starts_with("invalid metadata: ") && problem.contains(words),
            "{problem}"
        );
        place
            .run(&place.invocation(&[url, metadata]))
            .expect_rejected("invalid_metadata");
    }
}

#[test]
fn the_base_and_what_it_is_given_are_explained_without_secrets() {
    let more = r#"
    "http.header.authorization" = "Bearer {{api.token}}"
    "http.header.x-api-key" = "WRITTEN-OUT"
    "http.header.x-user" = "{{environment.API_USER}}"
    [set."http.body"]
    path = "{{api.path}}"
    "#;
    let recipe = MINIMAL.replace(
        "    [set]",
        "    metadata.\"api.token\" = { type = \"string\", required = true, help = \"Key\" }\n    [set]",
    );
    let place = with_base("api", &(recipe + more));
    let explain = |metadata: &[(&str, &str)], format: &str| {
        let invocation = place.invocation(metadata).env("PASSWORD", "SECRET-VARIABLE");
        let file = place.scene.file("explained.json", invocation.text());
        said(&place, &["explain", file.to_str().unwrap(), "--format", format])
    };
    let given = [
        ("api.url", "http://127.0.0.1:9/"),
        ("limits.memory_bytes", "64MiB"),
        ("api.token", "SECRET-TOKEN"),
    ];
    let told = explain(&given, "json").succeeds().json();
    assert_eq!(told["carrier"], "recipe");
    assert_eq!(told["base"]["runtime_kind"], "http_async");
    assert_eq!(told["base"]["carrier"], "component");
    assert_eq!(told["base"]["plugin"], "http-async 0.1.0");
    assert!(
        told["base"]["path"].as_str().unwrap().ends_with(".wasm"),
        "{told}"
    );
    // The variable is not there, so the header is not set.
    let templates = json!({
        "http.body": r#"{"path":"{{api.path}}"}"#,
        "http.header.authorization": "Bearer {{api.token}}",
        "http.header.x-api-key": "(hidden)",
        "http.poll_status_path": "status",
        "http.poll_terminal_states": "done",
        "http.poll_url_template": "{{api.url}}/polls",
        "http.url": "{{api.url}}/{{api.path}}",
    });
    assert_eq!(told["base"]["set"], templates);
    let metadata = json!({
        "http.body": r#"{"path":"x"}"#,
        "http.header.authorization": "(hidden)",
        "http.header.x-api-key": "(hidden)",
        "http.poll_status_path": "status",
        "http.poll_terminal_states": "done",
        "http.poll_url_template": "http://127.0.0.1:9/polls",
        "http.url": "http://127.0.0.1:9/x",
        "limits.memory_bytes": "64MiB",
    });
    assert_eq!(
        told["base"]["given"],
        json!({"command": ["run"], "metadata": metadata})
    );
    let shown = explain(&given, "human").succeeds().stdout;
    for line in [
        "base       http_async: component, plugin http-async 0.1.0, '",
        "sets       http.url = {{api.url}}/{{api.path}}\n",
        "sets       http.header.authorization = Bearer {{api.token}}\n",
        "given      command = [\"run\"]\n",
        "given      http.url = http://127.0.0.1:9/x\n",
        "given      http.header.authorization = (hidden)\n",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    for text in [told.to_string(), shown] {
        assert!(!text.contains("SECRET") && !text.contains("WRITTEN"), "{text}");
    }
    // What is rejected is explained as far as it is known.
    let rejected = explain(&given[..2], "json").json();
    assert_eq!(rejected["rejected"]["error_kind"], "invalid_metadata");
    assert_eq!(rejected["base"]["given"], Value::Null);
    assert_eq!(
        rejected["base"]["set"]["http.header.x-user"],
        "{{environment.API_USER}}"
    );
}

#[test]
fn a_recipe_that_does_not_fit_is_listed_with_the_reason() {
    let place = with_base("api", MINIMAL);
    assert_eq!(reason(&place, "api"), None);
    for (change, words) in [
        (
            ("http_async", "nothing"),
            "no plugin that can be used here runs its base 'nothing'; `plugin list` shows",
        ),
        (
            ("http_async", "htp_async"),
            "no plugin that can be used here runs its base 'htp_async'; did you mean 'http_async'?",
        ),
        (
            ("http_async", "subprocess"),
            "its base is 'subprocess', which is built in",
        ),
        (("http_async", "other"), "its base 'other' is a recipe too"),
        (
            ("\"http.url\"", "\"http.ulr\""),
            "[set] \"http.ulr\" is not a key of http_async; did you mean \"http.url\"?",
        ),
        (
            ("{{api.url}}/{{", "{{api.path}}/{{"),
            "begins with {{api.path}}, which is not a key of type url",
        ),
        (("summary", "sumary"), "line 3: unknown key `sumary`"),
        (("[set]", "[set"), "is not a recipe that can be used: line 7: "),
    ] {
        put(&place, "other", MINIMAL);
        put(&place, "api", &MINIMAL.replacen(change.0, change.1, 1));
        let found = reason(&place, "api").expect(words);
        assert!(found.contains(words), "{found}");
        let result = place
            .run(&place.invocation(&[("api.url", "http://127.0.0.1:9")]))
            .expect(Status::Rejected);
        let summary = result.error_summary.unwrap();
        // Of a file that can't be read as a recipe, it is not known which kind it is.
        let is_told = summary.contains(words) || summary.contains("`plugin list` says why");
        assert!(is_told, "{summary}");
    }
}

#[test]
fn the_operator_pins_and_disables_recipes_as_plugins() {
    let url = ("api.url", "http://127.0.0.1:9");
    for (config, words) in [
        ("[plugins.api]\nenabled = false", "is disabled"),
        (
            "[plugins.api]\nsha256 = \"0000000000000000000000000000000000000000000000000000000000000000\"",
            "the configuration pins 0000",
        ),
        (
            "[plugins.api]\nallow_hosts = [\"*\"]",
            "[plugins.api] in the configuration can have only enabled and sha256, because it is a recipe",
        ),
        (
            "[plugins.http-async]\nenabled = false",
            "no plugin that can be used here runs its base 'http_async'",
        ),
    ] {
        let place = with_base("api", MINIMAL).configured(config);
        let result = place
            .run(&place.invocation(&[url]))
            .expect_rejected("plugin_unusable");
        let summary = result.error_summary.unwrap();
        assert!(summary.contains(words), "{summary}");
    }
    // What is configured for a recipe and does not count is refused wherever the configuration is looked at.
    let place = with_base("api", MINIMAL).configured("[plugins.api]\nallow_hosts = [\"*\"]");
    for command in [&["kinds"][..], &["plugin", "list"]] {
        let told = said(&place, command);
        assert_eq!(told.code, Some(2), "{command:?}");
        let words = "use is configured for the plugin of its base, the kind http_async";
        assert!(told.stderr.contains(words), "{command:?}: {}", told.stderr);
    }
    // What the base may use counts.
    let place =
        with_base("api", MINIMAL).configured("[plugins.http-async]\nallow_hosts = [\"more.example\"]");
    assert_eq!(
        grants(&place, &[url]).unwrap(),
        json!(["127.0.0.1:9", "more.example"])
    );
}

#[test]
fn a_recipe_is_installed_and_removed_as_a_plugin() {
    let place = with_base("api", MINIMAL);
    let file = place.scene.file("again.kind.toml", MINIMAL);
    let directory = place.scene.path("plugins");
    let directory = directory.to_str().unwrap();
    let install = [
        "--plugins-dir",
        directory,
        "plugin",
        "install",
        file.to_str().unwrap(),
    ];
    let installed = said(&place, &install).succeeds();
    assert!(!installed.stderr.contains("note:"), "{installed:?}");
    assert_eq!(reason(&place, "again"), None);
    said(&place, &["--plugins-dir", directory, "plugin", "remove", "again"]).succeeds();
    assert!(!place.scene.path("plugins/again.kind.toml").exists());
    // One that can't be used here is installed, and said to be of no use as it is.
    let unfit = MINIMAL.replace("poll_status_path", "poll_status_pth");
    place.scene.file("again.kind.toml", unfit);
    let installed = said(&place, &install).succeeds();
    assert!(
        installed
            .stderr
            .contains("is not a key of http_async; did you mean"),
        "{installed:?}"
    );
    said(&place, &["--plugins-dir", directory, "plugin", "remove", "again"]).succeeds();
    // What others may write to is not used.
    let open_to_all = fs::Permissions::from_mode(0o666);
    fs::set_permissions(place.scene.path("plugins/api.kind.toml"), open_to_all).unwrap();
    let found = reason(&place, "api").unwrap();
    assert!(found.contains("other users can write to"), "{found}");
}
