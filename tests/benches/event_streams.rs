//! What `http_sse` costs beside the least that reads the same stream, and how late its followers hear of an event.
//!
//! `cargo bench --workspace --bench event_streams -- [reading|followed]`
//!
//! The server of `reading` is this program in a process of its own, so that its work is not counted.

use executor_runtime::{
    Host,
    protocol::{RuntimeInvocation, Status},
};
use executor_runtime_component::{CodeCache, Components, Mode};
use executor_runtime_tests::{
    Scene, fixtures,
    scripted::{Answer, Scripted},
    serving::{Connection, Serving},
};
use http_body_util::{BodyExt, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    num::NonZeroU32,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

/// Events of a stream that is read as fast as that goes.
const EVENTS: usize = 100_000;
const ROUNDS: usize = 21;

/// Events of a stream that is followed, and the time between two.
const FOLLOWED: usize = 1000;
const PAUSE: Duration = Duration::from_millis(10);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |name: &str| arguments.iter().any(|argument| argument == name);
    if wanted("serve") {
        return serve();
    }
    let parts: [(&str, fn()); 2] = [("reading", reading), ("followed", followed)];
    let all = !parts.iter().any(|(name, _)| wanted(name));
    for (name, part) in parts {
        if all || wanted(name) {
            part();
        }
    }
}

fn plugin() -> PathBuf {
    fixtures::component("executor-runtime-plugin-http-sse")
}

/// Answers every request with the same events, until its stdin ends.
fn serve() {
    let event = |n: usize| {
        format!(
            "id: {n}\nevent: delta\ndata: {{\"sequence_number\":{n},\"delta\":\"some words of a model\"}}\n\n"
        )
    };
    let mut events: String = (1..EVENTS).map(event).collect();
    events += "event: end\ndata: {}\n\n";
    let answer = Answer::events(&events);
    let server = Scripted::start(move |_, _| answer.clone());
    println!("{}", server.url("/events"));
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn reading() {
    let mut server = Command::new(std::env::current_exe().expect("a program has a path"))
        .arg("serve")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut url = String::new();
    BufReader::new(server.stdout.take().expect("it is piped"))
        .read_line(&mut url)
        .expect("it tells its URL");
    let url = url.trim().to_owned();

    let directory = tempfile::tempdir().expect("a temporary directory");
    let plugins = directory.path().join("plugins");
    fs::create_dir(&plugins).expect("it is new");
    fs::copy(plugin(), plugins.join("http-sse.wasm")).expect("it was built");
    let cache = CodeCache::new(directory.path().join("cache"));
    let mode = Mode::LongLived {
        concurrency: NonZeroU32::new(4).expect("not 0"),
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
    let client: Client<_, Empty<bytes::Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let (mut ours, mut theirs, mut keeping) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let document = json!({
            "invocation_id": format!("stream-{round}"), "runtime_name": "bench", "runtime_kind": "http_sse",
            "working_directory": directory.path(), "command": ["-"],
            "metadata": {"http.url": url, "http.method": "GET", "sse.success_events": "end"},
        });
        let invocation = RuntimeInvocation::from_json(document.to_string().as_bytes()).expect("it is valid");
        let start = Instant::now();
        let result = runtime.block_on(host.run(invocation));
        let our = start.elapsed().as_secs_f64();
        assert_eq!(result.status, Status::Succeeded, "{result:?}");
        assert_eq!(result.metadata["sse.events"], EVENTS.to_string());
        let start = Instant::now();
        let events = runtime.block_on(read(&client, &url));
        let their = start.elapsed().as_secs_f64();
        assert_eq!(events, EVENTS);
        let start = Instant::now();
        let length = runtime.block_on(keep(&client, &url, &directory.path().join("kept")));
        let kept = start.elapsed().as_secs_f64();
        assert_eq!(length.to_string(), result.artifacts[0].metadata["size_bytes"]);
        // The first one compiles the component.
        if round > 0 {
            ours.push(our);
            theirs.push(their);
            keeping.push(kept);
        }
    }
    drop(server.stdin.take());
    let _ = server.wait();
    let [ours, theirs, keeping] = [ours, theirs, keeping].map(|times| median(times) * 1e3);
    println!(
        "{EVENTS} events: http_sse {ours:.1} ms; a hyper client that counts them {theirs:.1} ms, ratio {:.2} (required 1.5); one \
         that keeps them as http_sse does {keeping:.1} ms, ratio {:.2}",
        ours / theirs,
        ours / keeping
    );
}

/// Reads a stream with hyper, and tells its events apart; how many there are.
async fn read(
    client: &Client<hyper_util::client::legacy::connect::HttpConnector, Empty<bytes::Bytes>>,
    url: &str,
) -> usize {
    let answer = client.get(url.parse().expect("a URL")).await;
    let mut body = answer.expect("it answers").into_body();
    let (mut events, mut line_is_empty) = (0, true);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.expect("it is whole").into_data() else {
            continue;
        };
        for byte in data {
            if byte == b'\n' {
                events += usize::from(line_is_empty);
                line_is_empty = true;
            } else {
                line_is_empty = false;
            }
        }
    }
    events
}

/// Reads a stream with hyper, and keeps its events as lines of JSON, with their digest; how many bytes that is.
async fn keep(
    client: &Client<hyper_util::client::legacy::connect::HttpConnector, Empty<bytes::Bytes>>,
    url: &str,
    path: &Path,
) -> usize {
    let answer = client.get(url.parse().expect("a URL")).await;
    let mut body = answer.expect("it answers").into_body();
    let mut file = fs::File::create(path).expect("it can be written");
    let (mut digest, mut length) = (Sha256::new(), 0);
    let mut rest = Vec::new();
    let (mut name, mut id, mut data) = (String::new(), String::new(), String::new());
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame.expect("it is whole").into_data() else {
            continue;
        };
        rest.extend_from_slice(&piece);
        let (mut begin, mut lines) = (0, Vec::new());
        while let Some(end) = rest[begin..].iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&rest[begin..begin + end]);
            match line.split_once(": ") {
                Some(("event", value)) => value.clone_into(&mut name),
                Some(("id", value)) => value.clone_into(&mut id),
                Some(("data", value)) => value.clone_into(&mut data),
                _ => {
                    let line = Line {
                        event: &name,
                        id: &id,
                        data: &data,
                    };
                    serde_json::to_writer(&mut lines, &line).expect("text is JSON");
                    lines.push(b'\n');
                }
            }
            begin += end + 1;
        }
        rest.drain(..begin);
        file.write_all(&lines).expect("it can be written");
        digest.update(&lines);
        length += lines.len();
    }
    assert_eq!(digest.finalize().len(), 32);
    length
}

#[derive(Serialize)]
struct Line<'e> {
    event: &'e str,
    id: &'e str,
    data: &'e str,
}

fn since_1970() -> f64 {
    let time = SystemTime::UNIX_EPOCH.elapsed();
    time.expect("it is later").as_secs_f64()
}

/// A server whose events say when each was sent.
fn clock() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                stream.set_nodelay(true).expect("it is a socket");
                let lines = BufReader::new(&stream).lines();
                let _ = lines.map_while(Result::ok).find(String::is_empty);
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
                let write = |text: String| (&stream).write_all(text.as_bytes());
                let mut sent = write(head.to_owned());
                for n in 1..=FOLLOWED {
                    thread::sleep(PAUSE);
                    sent = sent.and_then(|()| write(format!("id: {n}\ndata: {}\n\n", since_1970())));
                }
                let _ = sent.and_then(|()| write("event: end\ndata\n\n".to_owned()));
            });
        }
    });
    address
}

fn followed() {
    let address = clock();
    let scene = Scene::new();
    fs::create_dir(scene.path("plugins")).expect("it is new");
    fs::copy(plugin(), scene.path("plugins/http-sse.wasm")).expect("it was built");
    let plugins = scene.path("plugins");
    let serving = Serving::start(&scene, &["--plugins-dir", plugins.to_str().expect("UTF-8")]);
    let document = json!({
        "invocation_id": "clock", "runtime_name": "bench", "runtime_kind": "http_sse",
        "working_directory": scene.root(), "command": ["-"],
        "metadata": {"http.url": format!("http://{address}/"), "http.method": "GET", "sse.success_events": "end"},
    });
    serving.post("/v1/runs", &document.to_string()).expect(202);
    // The baseline reads the same events at the same time, without a host between.
    let direct = thread::spawn(move || {
        let mut connection = Connection::tcp(address);
        connection.send("GET", "/", &[], b"");
        let head = connection.head();
        assert_eq!(head.status, 200);
        lateness(&mut connection, |line| line.strip_prefix("data: ")?.parse().ok())
    });
    let mut follower = loop {
        let mut connection = serving.connect();
        connection.send("GET", "/v1/runs/clock/artifacts/events?follow=true", &[], b"");
        match connection.head().status {
            200 => break connection,
            404 => thread::sleep(Duration::from_millis(5)),
            other => panic!("status {other}"),
        }
    };
    let through = lateness(&mut follower, |line| {
        let line: Value = serde_json::from_str(line).ok()?;
        line["data"].as_str()?.parse().ok()
    });
    let direct = direct.join().expect("it does not panic");
    println!(
        "an event from the server to a follower of the host: {}; to a client of the server: {} (required: p99 10 ms)",
        shares(through),
        shares(direct)
    );
}

/// How much later than it was sent each line came that has a time.
fn lateness(connection: &mut Connection, time: impl Fn(&str) -> Option<f64>) -> Vec<f64> {
    let mut late = Vec::new();
    let mut text = Vec::new();
    while let Ok(Some(piece)) = connection.piece() {
        let now = since_1970();
        text.extend(piece);
        while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = text.drain(..=end).collect();
            let sent = std::str::from_utf8(&line)
                .ok()
                .and_then(|line| time(line.trim_end()));
            late.extend(sent.map(|sent| (now - sent) * 1e3));
        }
    }
    late
}

fn shares(mut late: Vec<f64>) -> String {
    // What was there before the follower came is not late.
    let most = FOLLOWED.saturating_sub(FOLLOWED / 5);
    assert!(late.len() >= most, "{} events", late.len());
    late.drain(..late.len() - most);
    late.sort_by(f64::total_cmp);
    let at = |share: f64| late[((late.len() - 1) as f64 * share) as usize];
    format!(
        "median {:.2} ms, p99 {:.2} ms, at most {:.2} ms",
        at(0.5),
        at(0.99),
        at(1.0)
    )
}
