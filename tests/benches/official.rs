//! What the official kinds cost as a user meets them: through the host's command line, and a thousand at a time.
//!
//! `cargo bench --workspace --bench official -- [one_shot|installed|polling|in_flight]`
//!
//! The backend is this program in a process of its own, so that its memory and its work are not counted.

mod bare;

use bare::Bare;
use executor_runtime::{
    Host,
    protocol::{RuntimeInvocation, Status},
};
use executor_runtime_component::{Allocator, CodeCache, Components, Engine, Mode};
use executor_runtime_tests::{
    fixtures, helper_binary, host_binary, installed,
    memory::proportional_set_size,
    scripted::{Answer, Scripted},
};
use http_body_util::{BodyExt, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use nix::sys::resource::{UsageWho, getrusage};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader, Read},
    num::NonZeroU32,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// That of the host's executable, for many runs.
#[global_allocator]
static ALLOCATOR: Allocator = Allocator::for_many_runs();

/// Runs that poll at a time.
const RUNS: usize = 1000;
const INTERVAL: Duration = Duration::from_secs(1);
/// Polls of each run.
const POLLS: usize = 10;

/// Runs of `in_flight`, each of which polls that often.
const IN_FLIGHT: usize = 10_000;
const LONG_INTERVAL: Duration = Duration::from_secs(10);
const FEW_POLLS: usize = 4;
/// The argument that makes this program keep that many instances of the code in the next argument's file, and print how much
/// memory each takes.
const SLEEPERS: &str = "sleepers";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "serve") {
        return serve();
    }
    if let [what, code] = arguments.as_slice()
        && what == SLEEPERS
    {
        return sleepers(Path::new(code));
    }
    type Part = fn(&Backend);
    let parts: [(&str, Part); 4] = [
        ("one_shot", one_shot),
        ("installed", installed),
        ("polling", polling),
        ("in_flight", in_flight),
    ];
    let wanted = |name: &str| arguments.iter().any(|argument| argument == name);
    let all = !parts.iter().any(|(name, _)| wanted(name));
    for (name, part) in parts {
        if all || wanted(name) {
            part(&Backend::start());
        }
    }
}

/// What a piece of work takes.
struct Cost {
    time: Duration,
    /// Pages that the processes of it touched for the first time.
    page_faults: i64,
}

/// Runs all in turn, so that what else the machine does hits each; the medians.
fn alternate(rounds: usize, work: &mut [&mut dyn FnMut()]) -> Vec<Cost> {
    let mut costs: Vec<_> = work.iter().map(|_| (Vec::new(), Vec::new())).collect();
    for _ in 0..rounds {
        for ((times, faults), work) in costs.iter_mut().zip(work.iter_mut()) {
            let (before, start) = (page_faults(), Instant::now());
            work();
            times.push(start.elapsed());
            faults.push(page_faults() - before);
        }
    }
    let medians = |(times, faults)| Cost {
        time: median(times),
        page_faults: median(faults),
    };
    costs.into_iter().map(medians).collect()
}

fn median<T: Ord + Copy>(mut values: Vec<T>) -> T {
    values.sort();
    values[values.len() / 2]
}

/// Page faults of the processes that have ended, all together.
fn page_faults() -> i64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("it is always to be had");
    usage.minor_page_faults() + usage.major_page_faults()
}

fn milliseconds(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}

fn official(kind: &str) -> PathBuf {
    fixtures::component(&format!("executor-runtime-plugin-{kind}"))
}

/// A host on the command line, with a plugins directory and a cache of its own.
struct Installation {
    directory: tempfile::TempDir,
}

impl Installation {
    fn new(plugins: &[(String, PathBuf)]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let place = directory.path().join("plugins");
        fs::create_dir(&place).expect("it is new");
        for (name, file) in plugins {
            fs::copy(file, place.join(name)).expect("it was built");
        }
        Self { directory }
    }

    fn document(&self, kind: &str, metadata: &Value) -> PathBuf {
        let path = self.directory.path().join("invocation.json");
        let document = json!({
            "invocation_id": "bench", "runtime_name": "bench", "runtime_kind": kind, "timeout_seconds": 30,
            "working_directory": self.directory.path(), "command": ["/bin/true"], "metadata": metadata,
        });
        fs::write(&path, document.to_string()).expect("it can be written");
        path
    }

    /// The compiled code in its cache, which has to be one plugin's.
    fn compiled(&self) -> PathBuf {
        let cache = self.directory.path().join("cache/executor-runtime");
        let mut entries = fs::read_dir(cache).expect("a run has compiled it");
        entries.next().expect("an entry").expect("it can be read").path()
    }

    fn host(&self, arguments: &[&Path]) {
        let status = Command::new(host_binary())
            .args(arguments)
            .env(
                "EXECUTOR_RUNTIME_PLUGINS_DIR",
                self.directory.path().join("plugins"),
            )
            .env("XDG_CACHE_HOME", self.directory.path().join("cache"))
            .env("XDG_DATA_HOME", self.directory.path().join("data"))
            .env("XDG_CONFIG_HOME", self.directory.path().join("config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status();
        assert!(status.expect("the host starts").success());
    }
}

fn one_shot(backend: &Backend) {
    let place = Installation::new(&[("http.wasm".to_owned(), official("http"))]);
    let document = place.document("http", &json!({"http.url": backend.url("/hello")}));
    let run = Path::new("run");
    // Compiles it.
    place.host(&[run, &document]);
    installed::await_settled();
    let request = || {
        use std::io::Write;
        let authority = backend.url.trim_start_matches("http://");
        let mut stream = std::net::TcpStream::connect(authority).expect("the backend listens");
        let head = format!("POST /hello HTTP/1.1\r\nhost: {authority}\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("it reads");
        let mut answer = [0; 64];
        assert!(stream.read(&mut answer).expect("it answers") > 0);
    };
    let least = || {
        let status = Command::new(helper_binary("one-request"))
            .arg(place.compiled())
            .arg(backend.url("/hello"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status();
        assert!(status.expect("it starts").success());
    };
    let costs = alternate(
        300,
        &mut [
            &mut || place.host(&[run, &document]),
            &mut || least(),
            &mut || place.host(&[Path::new("--version")]),
            &mut || request(),
        ],
    );
    let words = |cost: &Cost| format!("{}, {} page faults", milliseconds(cost.time), cost.page_faults);
    println!(
        "one-shot run of http, compiled before: {}; the least program in wasmtime with the same code and request: {}; \
         ratio {:.2} (goal: 1.5)",
        words(&costs[0]),
        words(&costs[1]),
        costs[0].time.as_secs_f64() / costs[1].time.as_secs_f64(),
    );
    println!(
        "host --version {}; connection and answer alone {}",
        words(&costs[2]),
        milliseconds(costs[3].time)
    );
}

fn installed(_: &Backend) {
    let none = Installation::new(&[]);
    let http = official("http");
    let many: Vec<_> = (0..50)
        .map(|n| (format!("plugin-{n}.wasm"), http.clone()))
        .collect();
    let fifty = Installation::new(&many);
    let documents = [&none, &fifty].map(|place| place.document("subprocess", &json!({})));
    let costs = alternate(
        500,
        &mut [&mut || none.host(&[Path::new("run"), &documents[0]]), &mut || {
            fifty.host(&[Path::new("run"), &documents[1]])
        }],
    );
    println!(
        "one-shot run of a subprocess: {} with 50 plugins installed, {} with none (goal: no difference)",
        milliseconds(costs[1].time),
        milliseconds(costs[0].time)
    );
}

fn two_workers() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

fn polling(backend: &Backend) {
    let place = Installation::new(&[("http-async.wasm".to_owned(), official("http-async"))]);
    let tokio = two_workers();
    let mode = Mode::LongLived {
        concurrency: NonZeroU32::new(RUNS as u32).expect("not 0"),
    };
    let cache = CodeCache::new(place.directory.path().join("cache"));
    let host = Host::builder()
        .plugins_in(vec![place.directory.path().join("plugins")])
        .carrier(move |_| Components::new(mode, cache))
        .build()
        .expect("this system can supervise processes");
    let runtime = Arc::new(host);
    tokio.block_on(async {
        warm_up(&runtime, backend).await;
        let before = proportional_set_size();
        let mut running = JoinSet::new();
        for (how, pause) in [
            ("one after the other", INTERVAL / RUNS as u32),
            ("at once", Duration::ZERO),
        ] {
            for n in 0..RUNS {
                let runtime = Arc::clone(&runtime);
                let id = format!("started {how}-{n}").replace(' ', "-");
                let invocation = polling_invocation(backend, &id, POLLS, INTERVAL);
                running.spawn(async move {
                    let result = runtime.run(invocation).await;
                    assert_eq!(result.status, Status::Succeeded, "{result:?}");
                });
                tokio::time::sleep(pause).await;
            }
            tokio::time::sleep(INTERVAL * POLLS as u32 / 2).await;
            let each = (proportional_set_size() - before) / RUNS;
            while let Some(run) = running.join_next().await {
                run.expect("it does not panic");
            }
            println!(
                "{RUNS} http_async runs in flight, started {how}: {} KB each (goal: 83 KB)",
                each / 1024
            );
        }

        let client: Client<_, Empty<bytes::Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        for n in 0..RUNS {
            running.spawn(hyper_poller(
                client.clone(),
                backend.url(&format!("/runs/hyper-{n}/{POLLS}")),
            ));
        }
        while let Some(run) = running.join_next().await {
            run.expect("it does not panic");
        }
        for (who, prefix) in [
            ("http_async, started one after the other", "started-one-"),
            ("http_async, started at once", "started-at-"),
            ("tokio and hyper, started at once", "hyper-"),
        ] {
            let report = report(&client, &backend.url(&format!("/lateness/{prefix}/1"))).await;
            println!("lateness of {RUNS} pollers each {INTERVAL:?}, {who}: {report} (goal: p99 50 ms)");
        }
    });
}

async fn report(
    client: &Client<hyper_util::client::legacy::connect::HttpConnector, Empty<bytes::Bytes>>,
    url: &str,
) -> String {
    let report = client.get(url.parse().expect("a URL")).await.expect("an answer");
    let report = report.into_body().collect().await.expect("a body").to_bytes();
    String::from_utf8_lossy(&report).into_owned()
}

/// Ten thousand runs in one host, beside as many instances in a program that has wasmtime and nothing else.
fn in_flight(backend: &Backend) {
    let place = Installation::new(&[("http-async.wasm".to_owned(), official("http-async"))]);
    let tokio = two_workers();
    let cache = place.directory.path().join("cache");
    let code_cache = CodeCache::new(cache.clone());
    let host = Host::builder()
        .plugins_in(vec![place.directory.path().join("plugins")])
        .carrier(move |_| Components::new(POOL, code_cache))
        .build()
        .expect("this system can supervise processes");
    let host = Arc::new(host);
    let (ours, lateness) = tokio.block_on(async {
        warm_up(&host, backend).await;
        let before = proportional_set_size();
        let mut running = JoinSet::new();
        for n in 0..IN_FLIGHT {
            let host = Arc::clone(&host);
            let invocation = polling_invocation(backend, &format!("long-{n}"), FEW_POLLS, LONG_INTERVAL);
            running.spawn(async move {
                let result = host.run(invocation).await;
                assert_eq!(result.status, Status::Succeeded, "{result:?}");
            });
            tokio::time::sleep(LONG_INTERVAL / 2 / IN_FLIGHT as u32).await;
        }
        assert_eq!(running.len(), IN_FLIGHT, "all are in flight");
        let each = (proportional_set_size() - before) / IN_FLIGHT;
        while let Some(run) = running.join_next().await {
            run.expect("it does not panic");
        }
        let client: Client<_, Empty<bytes::Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let url = format!("/lateness/long-/{}", LONG_INTERVAL.as_secs());
        (each, report(&client, &backend.url(&url)).await)
    });
    let files = fs::read_dir(&cache)
        .expect("what was compiled is cached")
        .flatten();
    let code = files
        .map(|file| file.path())
        .find(|path| path.extension().is_some_and(|end| end == "code"));
    let bare = Command::new(std::env::current_exe().expect("a program has a path"))
        .arg(SLEEPERS)
        .arg(code.expect("what was compiled is cached"))
        .output()
        .expect("it starts");
    let bare = String::from_utf8_lossy(&bare.stdout);
    let bare: usize = bare.trim().parse().expect("it tells a number");
    println!(
        "{IN_FLIGHT} http_async runs in flight: {} KB each; as many bare wasmtime instances that sleep: {} KB each, ratio \
         {:.2} (required 1.3)",
        ours / 1024,
        bare / 1024,
        ours as f64 / bare as f64
    );
    println!("lateness of their polls, each {LONG_INTERVAL:?}: {lateness} (required: p99 50 ms)");
}

/// Room for all that are in flight.
const POOL: Mode = Mode::LongLived {
    concurrency: NonZeroU32::new(IN_FLIGHT as u32).expect("not 0"),
};

/// Prints how many bytes an instance takes that has made its first requests and sleeps until the next.
fn sleepers(code: &Path) {
    let tokio = two_workers();
    let engine = Engine::new(POOL).expect("an engine");
    let bare = Arc::new(Bare::new(engine.wasmtime(), code));
    tokio.block_on(async {
        let sleep = |bare: Arc<Bare>| async move {
            let invocation = bare::invocation(
                "http_async",
                &[
                    ("http.url", "http://localhost/runs"),
                    ("http.poll_url_template", "http://localhost/runs/1"),
                    ("http.poll_status_path", "status"),
                    ("http.poll_terminal_states", "completed"),
                    ("http.poll_interval_seconds", "3600"),
                ],
            );
            bare.run(&invocation).await
        };
        let mut running = JoinSet::new();
        running.spawn(sleep(Arc::clone(&bare)));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let before = proportional_set_size();
        for _ in 0..IN_FLIGHT - 1 {
            running.spawn(sleep(Arc::clone(&bare)));
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        let each = (proportional_set_size() - before) / (IN_FLIGHT - 1);
        assert!(running.try_join_next().is_none(), "all sleep");
        println!("{each}");
    });
    // The instances would sleep for an hour.
    std::process::exit(0);
}

async fn warm_up(runtime: &Host, backend: &Backend) {
    let result = runtime
        .run(polling_invocation(backend, "warm-up", 1, INTERVAL))
        .await;
    assert_eq!(result.status, Status::Succeeded, "{result:?}");
}

fn polling_invocation(backend: &Backend, id: &str, polls: usize, interval: Duration) -> RuntimeInvocation {
    let document = json!({
        "invocation_id": id, "runtime_name": "bench", "runtime_kind": "http_async",
        "working_directory": "/tmp", "command": ["-"], "timeout_seconds": 120,
        "metadata": {
            "http.url": backend.url("/runs"),
            "http.poll_url_template": backend.url(&format!("/runs/{id}/{polls}")),
            "http.poll_status_path": "status",
            "http.poll_terminal_states": "completed",
            "http.poll_interval_seconds": interval.as_secs_f64().to_string(),
        },
    });
    RuntimeInvocation::from_json(document.to_string().as_bytes()).expect("a valid invocation")
}

/// The same polls by the least that can make them.
async fn hyper_poller(
    client: Client<hyper_util::client::legacy::connect::HttpConnector, Empty<bytes::Bytes>>,
    url: String,
) {
    let url: http::Uri = url.parse().expect("a URL");
    let mut due = tokio::time::Instant::now();
    for _ in 0..POLLS {
        tokio::time::sleep_until(due).await;
        let response = client.get(url.clone()).await.expect("an answer");
        response.into_body().collect().await.expect("a body");
        due += INTERVAL;
    }
}

/// The backend's process; it ends with this one's interest in it.
struct Backend {
    child: Child,
    url: String,
}

impl Backend {
    fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().expect("a program has a path"))
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut url = String::new();
        BufReader::new(child.stdout.take().expect("it is piped"))
            .read_line(&mut url)
            .expect("it tells its URL");
        Self {
            child,
            url: url.trim().to_owned(),
        }
    }

    fn url(&self, target: &str) -> String {
        format!("{}{target}", self.url)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        // It ends when its stdin does.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// `/runs/ID/N` is `running` until it was asked N times, then `completed`; `/lateness/PREFIX/SECONDS` tells how much later
/// than its interval each run with such an id was polled, counted from its first poll.
fn serve() {
    let polls: Mutex<HashMap<String, Vec<Instant>>> = Mutex::default();
    let server = Scripted::start(move |request, _| {
        let mut polls = polls.lock().expect("nobody panics with it");
        let parts: Vec<&str> = request.target.split('/').skip(1).collect();
        match parts[..] {
            ["runs"] => Answer::new(202, "{}"),
            ["runs", id, count] => {
                let times = polls.entry(id.to_owned()).or_default();
                times.push(request.at);
                let over = times.len() >= count.parse().expect("a number");
                let status = if over { "completed" } else { "running" };
                Answer::new(200, json!({"status": status}).to_string())
            }
            ["lateness", prefix, seconds] => {
                let interval = Duration::from_secs(seconds.parse().expect("a number"));
                Answer::new(200, lateness(&polls, prefix, interval))
            }
            _ => Answer::new(200, "hello"),
        }
    });
    println!("{}", server.url(""));
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

fn lateness(polls: &HashMap<String, Vec<Instant>>, prefix: &str, interval: Duration) -> String {
    let mut late: Vec<f64> = polls
        .iter()
        .filter(|(id, _)| id.starts_with(prefix))
        .flat_map(|(_, times)| {
            let due = (0u32..).map(|n| times[0] + interval * n);
            times
                .iter()
                .zip(due)
                .skip(1)
                .map(|(at, due)| at.saturating_duration_since(due).as_secs_f64() * 1e3)
        })
        .collect();
    late.sort_by(f64::total_cmp);
    let at = |share: f64| late[((late.len() - 1) as f64 * share) as usize];
    format!(
        "p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
        at(0.5),
        at(0.99),
        at(1.0)
    )
}
