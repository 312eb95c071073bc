//! What many runs cost as a user meets them: `batch` beside xargs and GNU parallel, and a host that serves.
//!
//! `cargo bench --workspace --bench many_runs -- [batch|serve|component|events|start]`

use executor_runtime::{
    Host,
    protocol::{RuntimeInvocation, Status},
};
use executor_runtime_component::{CodeCache, Components, Mode};
use executor_runtime_tests::{
    Scene, fixtures,
    serving::{Connection, Serving},
};
use serde_json::{Value, json};
use std::{
    env,
    fs::{self, File},
    io::BufRead,
    num::NonZeroU32,
    os::unix::net::UnixListener,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant, SystemTime},
};

/// Jobs of the larger comparisons.
const JOBS: usize = 10_000;
/// Jobs that GNU parallel gets, which takes long for each.
const JOBS_OF_PARALLEL: usize = 1_000;
const WIDE: usize = 64;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let parts: [(&str, Part); 5] = [
        ("batch", batch),
        ("serve", serve),
        ("component", component),
        ("events", events),
        ("start", start),
    ];
    let wanted = |name: &str| arguments.iter().any(|argument| argument == name);
    let all = !parts.iter().any(|(name, _)| wanted(name));
    let mut kept = Kept::new();
    for (name, part) in parts {
        if all || wanted(name) {
            part(&mut kept);
        }
    }
}

fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn at(times: &mut [f64], share: f64) -> f64 {
    times.sort_by(f64::total_cmp);
    times[((times.len() - 1) as f64 * share) as usize]
}

fn document(scene: &Scene, id: &str, kind: &str, command: &[&str], metadata: &Value) -> String {
    json!({
        "invocation_id": id, "runtime_name": "bench", "runtime_kind": kind,
        "working_directory": scene.root(), "command": command, "metadata": metadata,
    })
    .to_string()
}

/// Runs `command` with its streams on files of the scene, and expects that it succeeds.
fn finish(scene: &Scene, command: &mut Command) {
    let output = File::create(scene.path("output")).expect("it can be made");
    let status = command.stdout(output).stderr(Stdio::inherit()).status();
    assert!(status.expect("it starts").success());
}

fn numbers(scene: &Scene, count: usize) -> File {
    let lines: String = (0..count).map(|n| format!("{n}\n")).collect();
    File::open(scene.file(&format!("numbers-{count}"), lines)).expect("it was written")
}

/// The places of earlier rounds. They are removed when all is measured: ext4 without a journal looks for seconds at each inode
/// that was deleted before it gives one to a new file, which would be measured instead.
type Kept = Vec<Scene>;

/// What is measured under a name.
type Part = fn(&mut Kept);

/// The time of a `batch` of `JOBS` times `/bin/true`, as invocations.
fn batch_of_true(round: usize, kept: &mut Kept) -> f64 {
    let scene = Scene::new();
    let jobs: String = (0..JOBS)
        .map(|n| {
            document(
                &scene,
                &format!("{round}-{n}"),
                "subprocess",
                &["/bin/true"],
                &json!({}),
            ) + "\n"
        })
        .collect();
    let file = scene.file("jobs", jobs);
    let wide = WIDE.to_string();
    let mut host = scene.host(&["batch", "-j", &wide, file.to_str().expect("UTF-8")]);
    let time = seconds(|| finish(&scene, host.env("XDG_STATE_HOME", scene.path("state"))));
    kept.push(scene);
    time
}

fn batch(kept: &mut Kept) {
    let scene = Scene::new();
    let (wide, mut ours, mut xargs, mut parallel) = (WIDE.to_string(), Vec::new(), Vec::new(), Vec::new());
    let is_installed = Command::new("parallel").arg("--version").output().is_ok();
    if !is_installed {
        println!("GNU parallel is not installed: apt-get install parallel");
    }
    for round in 0..3 {
        ours.push(batch_of_true(round, kept));
        let mut command = Command::new("xargs");
        command
            .args(["-P", &wide, "-n1", "/bin/true"])
            .stdin(numbers(&scene, JOBS));
        xargs.push(seconds(|| finish(&scene, &mut command)));
        let mut command = Command::new("parallel");
        command
            .args(["--will-cite", "-j", &wide, "--joblog"])
            .arg(scene.path(&format!("joblog-{round}")))
            .arg("--results")
            .arg(scene.path(&format!("results-{round}")))
            .args(["/bin/true"])
            .env("HOME", scene.root())
            .stdin(numbers(&scene, JOBS_OF_PARALLEL));
        if is_installed {
            let time = seconds(|| finish(&scene, &mut command));
            parallel.push(time * JOBS as f64 / JOBS_OF_PARALLEL as f64);
        }
    }
    let (ours, xargs) = (median(ours), median(xargs));
    println!(
        "batch of {JOBS} x /bin/true, {WIDE} wide, with results and journal: {ours:.2} s; xargs -P{WIDE} without results: \
         {xargs:.2} s, {:.2} of its speed (required 0.8, goal 1)",
        xargs / ours
    );
    if !parallel.is_empty() {
        let parallel = median(parallel);
        println!(
            "GNU parallel --joblog --results, {JOBS_OF_PARALLEL} jobs, made {JOBS}: {parallel:.2} s, batch is {:.1} times as fast \
             (required 10, goal 20)",
            parallel / ours
        );
    }
    kept.push(scene);
}

/// Submits a run and waits for its result.
fn submit_and_wait(connection: &mut Connection, id: &str, document: &str) {
    connection.send("POST", "/v1/runs", &[], document.as_bytes());
    connection.answer().expect(202);
    connection.send("GET", &format!("/v1/runs/{id}/result?wait=60"), &[], b"");
    let result = connection.answer().expect(200).json();
    assert_eq!(result["status"], "succeeded", "{result}");
}

fn serve(kept: &mut Kept) {
    let (mut served, mut batched) = (Vec::new(), Vec::new());
    for round in 0..3 {
        let scene = Scene::new();
        let serving = Serving::start(&scene, &["-j", &WIDE.to_string()]);
        let next = AtomicUsize::new(0);
        served.push(seconds(|| {
            thread::scope(|scope| {
                for _ in 0..WIDE {
                    scope.spawn(|| {
                        let mut connection = serving.connect();
                        loop {
                            let n = next.fetch_add(1, Ordering::Relaxed);
                            if n >= JOBS {
                                break;
                            }
                            let id = format!("run-{n}");
                            let document = document(&scene, &id, "subprocess", &["/bin/true"], &json!({}));
                            submit_and_wait(&mut connection, &id, &document);
                        }
                    });
                }
            });
        }));
        batched.push(batch_of_true(round, kept));
        drop(serving);
        kept.push(scene);
    }
    let (served, batched) = (median(served), median(batched));
    println!(
        "serve: submit and wait over the socket, {JOBS} x /bin/true, {WIDE} at a time: {served:.2} s; batch: {batched:.2} s, ratio \
         {:.2} (required 1.25)",
        served / batched
    );
}

/// Answers each request with its body, over a Unix socket.
fn echo(path: &Path) {
    let listener = UnixListener::bind(path).expect("it can be made");
    listener.set_nonblocking(true).expect("it can be set");
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let listener = tokio::net::UnixListener::from_std(listener).expect("a runtime");
            let router = axum::Router::new().fallback(|body: String| async { body });
            axum::serve(listener, router).await.expect("it serves");
        });
    });
}

fn component(kept: &mut Kept) {
    const COUNT: usize = 500;
    let scene = Scene::new();
    let file = fixtures::component("fixture-first-interface");
    fs::create_dir(scene.path("plugins")).expect("it is new");
    fs::copy(file, scene.path("plugins/first-interface.wasm")).expect("it can be copied");
    let metadata = json!({"first.word": "hello"});
    let plugins = scene.path("plugins");
    let serving = Serving::start(&scene, &["--plugins-dir", plugins.to_str().expect("UTF-8")]);
    echo(&scene.path("echo.sock"));

    let cache = CodeCache::new(scene.path("cache"));
    let mode = Mode::LongLived {
        concurrency: NonZeroU32::new(256).expect("not 0"),
    };
    let host = Host::builder()
        .plugins_in(vec![plugins])
        .carrier(move |_| Components::new(mode, cache))
        .build()
        .expect("this system can supervise processes");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let call = |id: &str| {
        let document = document(&scene, id, "first_interface", &["-"], &metadata);
        let invocation = RuntimeInvocation::from_json(document.as_bytes()).expect("a valid invocation");
        let result = runtime.block_on(host.run(invocation));
        assert_eq!(result.status, Status::Succeeded, "{result:?}");
    };

    let (mut ours, mut in_two, mut calls, mut echoes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut served = serving.connect();
    let mut echoed = Connection::unix(&scene.path("echo.sock"));
    for n in 0..COUNT {
        let id = format!("served-{n}");
        let document = document(&scene, &id, "first_interface", &["-"], &metadata);
        ours.push(seconds(|| {
            served.send("POST", "/v1/runs?wait=60", &[], document.as_bytes());
            let result = served.answer().expect(200).json();
            assert_eq!(result["status"], "succeeded", "{result}");
        }));
        let id = format!("waited-{n}");
        let document = self::document(&scene, &id, "first_interface", &["-"], &metadata);
        in_two.push(seconds(|| submit_and_wait(&mut served, &id, &document)));
        calls.push(seconds(|| call(&format!("called-{n}"))));
        echoes.push(seconds(|| {
            echoed.send("POST", "/", &[], document.as_bytes());
            echoed.answer().expect(200);
        }));
    }
    let [ours, in_two, call, echo] = [ours, in_two, calls, echoes].map(|times| median(times) * 1e6);
    println!(
        "a component call through serve, submitted and waited for in one request: {ours:.0} us; the call itself {call:.0} us and \
         an axum echo over a socket {echo:.0} us, ratio {:.2} (required 1.3); in two requests {in_two:.0} us, ratio {:.2} to the \
         call and two echoes",
        ours / (call + echo),
        in_two / (call + 2.0 * echo)
    );
    drop(serving);
    kept.push(scene);
}

/// Reads a stream of server-sent events to its end; `told` gets the data of each event.
fn follow(mut connection: Connection, path: &str, mut told: impl FnMut(&Value)) {
    connection.send("GET", path, &[], b"");
    assert_eq!(connection.head().status, 200);
    let mut text = Vec::new();
    while let Ok(Some(piece)) = connection.piece() {
        text.extend(piece);
        while let Some(end) = text.windows(2).position(|two| two == b"\n\n") {
            let event: Vec<u8> = text.drain(..end + 2).collect();
            for line in event.lines().map_while(Result::ok) {
                if let Some(data) = line.strip_prefix("data:") {
                    told(&serde_json::from_str(data).expect("JSON"));
                }
            }
        }
    }
}

fn since_1970() -> f64 {
    SystemTime::UNIX_EPOCH
        .elapsed()
        .expect("it is later")
        .as_secs_f64()
}

fn events(kept: &mut Kept) {
    /// Rarer than events of output are told at most.
    const PAUSE: &str = "0.1";
    const LINES: usize = 200;
    let scene = Scene::new();
    let serving = Serving::start(&scene, &[]);
    let script = format!("for n in $(seq {LINES}); do date +%s.%N; sleep {PAUSE}; done");
    let document = document(&scene, "clock", "subprocess", &["sh", "-c", &script], &json!({}));
    serving.post("/v1/runs", &document).expect(202);
    let mut seen: Vec<(f64, u64)> = Vec::new();
    follow(serving.connect(), "/v1/runs/clock/events", |event| {
        let length = event["stdout"].as_u64().unwrap_or_default();
        if event["type"] == "output" && seen.last().is_none_or(|(_, before)| *before < length) {
            seen.push((since_1970(), length));
        }
    });
    let output = fs::read(scene.capture("clock").join("stdout.txt")).expect("it was captured");
    let mut late: Vec<f64> = seen
        .iter()
        .filter_map(|(at, end)| {
            let before = output.get(..*end as usize)?;
            let line = String::from_utf8_lossy(before);
            let written: f64 = line.trim_end().rsplit('\n').next()?.parse().ok()?;
            Some((at - written) * 1e3)
        })
        .collect();
    assert!(late.len() > LINES / 2, "{} events", late.len());
    println!(
        "event of an output to a follower, {} of them, from before it was written: median {:.2} ms, p99 {:.2} ms (required 10)",
        late.len(),
        at(&mut late, 0.5),
        at(&mut late, 0.99)
    );
    drop(serving);
    kept.push(scene);
}

fn start(_: &mut Kept) {
    const RUNS: usize = 100_000;
    let scene = Scene::new();
    let serving = Serving::start(&scene, &[]);
    let ended = document(&scene, "first", "subprocess", &["/bin/true"], &json!({}));
    submit_and_wait(&mut serving.connect(), "first", &ended);
    serving.signal(libc::SIGTERM);
    serving.finish();
    fill(&scene, RUNS);

    let version = || {
        let mut command = scene.host(&["--version"]);
        seconds(|| {
            command.output().expect("it starts");
        })
    };
    let first_answer = || {
        let mut answered = 0.0;
        let time = Instant::now();
        let mut child = executor_runtime_tests::serving::command(&scene, &[])
            .spawn()
            .expect("it starts");
        while answered == 0.0 {
            let connection = Connection::try_unix(&executor_runtime_tests::serving::socket(&scene));
            if let Ok(mut connection) = connection {
                connection.send("GET", "/v1/runs/first", &[], b"");
                if connection.try_answer().is_ok_and(|answer| answer.status() == 200) {
                    answered = time.elapsed().as_secs_f64();
                }
            } else {
                thread::sleep(Duration::from_micros(200));
            }
        }
        child.kill().expect("it is running");
        child.wait().expect("it was started");
        answered
    };
    let (mut versions, mut answers) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        versions.push(version());
        answers.push(first_answer());
    }
    let (version, answer) = (median(versions) * 1e3, median(answers) * 1e3);
    println!(
        "start of serve to its first answer, {RUNS} runs in the journal: {answer:.1} ms; --version {version:.1} ms, difference \
         {:.1} ms (required 100)",
        answer - version
    );
}

/// Makes a journal with one run one with many, each with the events of the first.
fn fill(scene: &Scene, runs: usize) {
    let journal = fs::read_dir(scene.path("state"))
        .expect("it was made")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| {
            path.extension()
                .is_some_and(|name| name == "sqlite" || name == "db" || name == "sqlite3")
        })
        .expect("the journal is there");
    let columns = "name, kind, status, fingerprint, invocation, accepted_at, started_at, finished_at, result, capture_path, \
                   capture_marker";
    let script = format!(
        "BEGIN; WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < {runs}) \
         INSERT INTO runs (run, id, {columns}) SELECT i, 'run-' || i, {columns} FROM runs, n WHERE run = 1; \
         INSERT INTO events (run, sequence, at, type, body) SELECT r.run, e.sequence, e.at, e.type, e.body \
         FROM runs r, events e WHERE e.run = 1 AND r.run > 1; COMMIT;"
    );
    let connection = rusqlite::Connection::open(journal).expect("it can be opened");
    connection.execute_batch(&script).expect("it can be filled");
}
