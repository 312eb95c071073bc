//! `kill -9` of a host that serves, at any moment: no run is lost, none is begun twice, none stays under way, nothing is
//! left. A few kills; `cargo xtask soak` has 300 of them.

use executor_runtime_protocol::{RuntimeResult, Status};
use executor_runtime_tests::{
    Invocation, Scene, amount, fixtures,
    installed::Installed,
    kind::package,
    scripted::{Answer, Scripted},
    serving::{self, Connection, Serving},
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const RUNS: usize = 32;
/// Within which time after the start of a round its host is killed.
const MOMENTS: Duration = Duration::from_millis(1500);
/// In which time the processes of a killed host are gone.
const GONE: Duration = Duration::from_secs(5);

/// A backend that counts what it is asked for, by what its URL ends with.
struct Backend {
    server: Scripted,
    counts: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Backend {
    fn start() -> Self {
        let counts = Arc::<Mutex<BTreeMap<String, usize>>>::default();
        let counted = Arc::clone(&counts);
        let server = Scripted::start(move |request, _| {
            let line = request.line();
            let count = {
                let mut counts = counted.lock().unwrap();
                let count = counts.entry(line.clone()).or_default();
                *count += 1;
                *count
            };
            match line.rsplit_once('/') {
                Some(("POST /kickoff", id)) => Answer::new(202, format!(r#"{{"id": "{id}"}}"#)),
                Some(("GET /poll", _)) if count < 4 => Answer::new(200, r#"{"status": "running"}"#),
                Some(("GET /poll", _)) => Answer::new(200, r#"{"status": "completed"}"#),
                _ => Answer::new(200, "a page"),
            }
        });
        Self { server, counts }
    }

    fn count(&self, line: &str) -> usize {
        self.counts.lock().unwrap().get(line).copied().unwrap_or(0)
    }
}

/// Where all of it takes place: the plugins of each carrier are installed.
fn place() -> Scene {
    let place = Installed::component("http_async");
    for file in [
        fixtures::component(&package("http")),
        fixtures::native("fixture-greet"),
    ] {
        let name = file.file_name().unwrap();
        fs::copy(&file, place.scene.path("plugins").join(name)).unwrap();
    }
    place.scene
}

fn start(scene: &Scene) -> Serving {
    let mut command = serving::command(scene, &["--jobs", "16"]);
    command.env("EXECUTOR_RUNTIME_PLUGINS_DIR", scene.path("plugins"));
    command.env("XDG_CACHE_HOME", executor_runtime_tests::installed::cache());
    Serving::started(scene, &mut command)
}

/// A run of each kind in turn. Each tells outside when it begins.
fn invocation(scene: &Scene, backend: &Scripted, id: &str, number: usize) -> Invocation {
    let of_kind = |kind: &str, metadata: &[(&str, String)]| {
        let invocation = scene.invocation(&["run"]).with("runtime_kind", kind);
        metadata.iter().fold(invocation, |invocation, (key, value)| {
            invocation.metadata(key, value)
        })
    };
    let url = |path: &str| backend.url(&format!("{path}/{id}"));
    let invocation = match number % 4 {
        0 => scene.script(&format!(
            "echo {id} >> begun; sleep 0.{}; echo {id} >> ended",
            number % 5
        )),
        1 => of_kind(
            "http_async",
            &[
                ("http.url", url("/kickoff")),
                ("http.poll_url_template", backend.url("/poll/{run_id}")),
                ("http.poll_run_id_path", "id".to_owned()),
                ("http.poll_status_path", "status".to_owned()),
                ("http.poll_terminal_states", "completed".to_owned()),
                ("http.poll_interval_seconds", "0.1".to_owned()),
            ],
        ),
        2 => of_kind(
            "http",
            &[("http.url", url("/page")), ("http.method", "GET".to_owned())],
        ),
        _ => of_kind(
            "greet",
            &[("greet.name", id.to_owned()), ("greet.url", url("/greeted"))],
        ),
    };
    invocation.id(id).with("timeout_seconds", 60)
}

/// How often a run has told that it began.
fn beginnings(scene: &Scene, backend: &Backend, id: &str, number: usize) -> usize {
    match number % 4 {
        0 => lines(&scene.path("begun"))
            .iter()
            .filter(|line| *line == id)
            .count(),
        1 => backend.count(&format!("POST /kickoff/{id}")),
        2 => backend.count(&format!("GET /page/{id}")),
        _ => backend.count(&format!("GET /greeted/{id}")),
    }
}

fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Submits runs over a few connections until all are or the host is gone; returns which were accepted.
fn submit_all(serving: &Serving, documents: &[(String, String)], is_over: &AtomicBool) -> Vec<String> {
    let socket = serving.socket();
    thread::scope(|scope| {
        let parts = documents.chunks(documents.len().div_ceil(4)).map(|part| {
            let socket = socket.to_owned();
            scope.spawn(move || {
                let mut accepted = Vec::new();
                for (id, document) in part {
                    if is_over.load(Ordering::SeqCst) {
                        break;
                    }
                    let answer = Connection::try_unix(&socket).and_then(|mut connection| {
                        connection.try_send("POST", "/v1/runs", &[], document.as_bytes())?;
                        connection.try_answer()
                    });
                    match answer {
                        Ok(answer) if answer.status() == 202 => accepted.push(id.clone()),
                        Ok(answer) => panic!("{id}: {}", answer.status()),
                        Err(_) => break,
                    }
                }
                accepted
            })
        });
        let parts: Vec<_> = parts.collect();
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    })
}

/// How many runs there are.
fn count_runs(serving: &Serving) -> usize {
    let (mut count, mut cursor) = (0, String::new());
    loop {
        let page = serving
            .get(&format!("/v1/runs?limit=1000{cursor}"))
            .expect(200)
            .json();
        count += page["runs"].as_array().unwrap().len();
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return count,
        }
    }
}

#[test]
fn a_host_that_is_killed_loses_no_run_and_begins_none_twice() {
    let kills = amount(5, 300);
    let (scene, backend) = (place(), Backend::start());
    let mut numbers = BTreeMap::new();
    let mut ended = BTreeMap::<&str, usize>::new();
    for round in 0..kills {
        let documents: Vec<_> = (0..RUNS)
            .map(|number| {
                let id = format!("run-{round}-{number}");
                let text = invocation(&scene, &backend.server, &id, number).text();
                numbers.insert(id.clone(), number);
                (id, text)
            })
            .collect();
        let serving = start(&scene);
        let is_over = AtomicBool::new(false);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let moment = Duration::from_nanos(
            u64::from(now.subsec_nanos()).wrapping_mul(2_654_435_761) % MOMENTS.as_nanos() as u64,
        );
        let accepted = thread::scope(|scope| {
            let submitted = scope.spawn(|| submit_all(&serving, &documents, &is_over));
            thread::sleep(moment);
            serving.signal(libc::SIGKILL);
            is_over.store(true, Ordering::SeqCst);
            submitted.join().unwrap()
        });
        drop(serving);
        scene.assert_nothing_left_within(GONE);

        let serving = start(&scene);
        for id in &accepted {
            let known = serving.get(&format!("/v1/runs/{id}"));
            assert_eq!(
                known.status(),
                200,
                "{id} was accepted, round {round}, killed after {moment:?}"
            );
        }
        // Those that were refused, or whose answer was lost, are sent again.
        for (id, text) in &documents {
            let status = serving.post("/v1/runs", text).status();
            assert!(matches!(status, 200 | 202), "{id}: {status}");
        }
        for (id, number) in numbers
            .iter()
            .filter(|(id, _)| id.starts_with(&format!("run-{round}-")))
        {
            let answer = serving.get(&format!("/v1/runs/{id}/result?wait=60")).expect(200);
            let result = RuntimeResult::from_json(&answer.body).unwrap();
            let beginnings = beginnings(&scene, &backend, id, *number);
            let at = format!("{id}, killed after {moment:?}: {result:?}");
            assert!(beginnings <= 1, "begun {beginnings} times: {at}");
            match result.status {
                Status::Succeeded => assert_eq!(beginnings, 1, "{at}"),
                Status::Failed => {
                    assert_eq!(result.metadata["error.kind"], "host_lost", "{at}");
                    // Its checkpoint is kept before its first poll.
                    assert_eq!(backend.count(&format!("GET /poll/{id}")), 0, "{at}");
                }
                _ => panic!("{at}"),
            }
            if number % 4 == 0 {
                let ends = lines(&scene.path("ended"));
                let has_ended = ends.contains(id);
                assert!(has_ended || result.status == Status::Failed, "{at}");
            }
            *ended.entry(result.status.as_str()).or_default() += 1;
        }
        for status in ["running", "pending"] {
            let page: Value = serving
                .get(&format!("/v1/runs?status={status}"))
                .expect(200)
                .json();
            assert_eq!(page["runs"].as_array().unwrap().len(), 0, "{page}");
        }
        serving.signal(libc::SIGTERM);
        let finished = serving.finish();
        assert_eq!(finished.code, Some(0), "{finished:?}");
    }
    // An end stays what it was.
    let serving = start(&scene);
    assert_eq!(count_runs(&serving), kills * RUNS);
    drop(serving);
    scene.assert_nothing_left_within(GONE);
    println!("{kills} kills: {ended:?}");
}
