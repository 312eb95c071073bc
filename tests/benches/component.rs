//! What a component costs: loading, a run of it, requests through it, and runs that wait.
//!
//! `cargo bench --workspace --bench component -- [loading|runs|requests|waiting]`

use executor_runtime::protocol::Status;
use executor_runtime_component::{Allocator, CodeCache, Component, Engine, Mode};
use executor_runtime_tests::{
    component::{Harness, Settings},
    fixtures,
    memory::proportional_set_size,
    server::{Reply, Server},
};
use http_body_util::{BodyExt, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use std::{
    collections::BTreeMap,
    hint::black_box,
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

/// That of the host's executable, for many runs.
#[global_allocator]
static ALLOCATOR: Allocator = Allocator::for_many_runs();

const FIXTURE: &str = "fixture-behaviours";
/// Imports little more than the `host` interface.
const SMALL: &str = "fixture-first-interface";

fn main() {
    println!("{:<52} {:>12} {:>14} {:>8}", "", "ours", "baseline", "goal");
    let parts: [(&str, fn()); 4] = [
        ("loading", loading),
        ("runs", runs),
        ("requests", requests),
        ("waiting", waiting),
    ];
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    for (name, part) in parts {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            part();
        }
    }
}

fn row(what: &str, ours: Duration, baseline: Option<Duration>, goal: &str) {
    let baseline = baseline.map_or(String::new(), |b| format!("{:.1} us", b.as_secs_f64() * 1e6));
    println!(
        "{what:<52} {:>9.1} us {baseline:>14} {goal:>8}",
        ours.as_secs_f64() * 1e6
    );
}

/// The median time of `work`.
fn median(rounds: usize, mut work: impl FnMut()) -> Duration {
    let mut times: Vec<_> = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        })
        .collect();
    times.sort();
    times[rounds / 2]
}

fn loading() {
    let wasm = std::fs::read(fixtures::component(SMALL)).expect("it was built");
    println!("component of {} KB", wasm.len() / 1024);
    let pool = Mode::LongLived {
        concurrency: NonZeroU32::new(1000).expect("not 0"),
    };
    row(
        "engine for one shot",
        median(20, || drop(Engine::new(Mode::OneShot))),
        None,
        "",
    );
    row(
        "engine with a pool of 1000",
        median(20, || drop(Engine::new(pool))),
        None,
        "",
    );
    let engine = Engine::new(Mode::OneShot).expect("an engine");
    let load = |cache: &CodeCache| {
        let config = BTreeMap::new();
        drop(black_box(Component::load(&engine, cache, &wasm, "f", "1", &config)).expect("it loads"));
    };
    let compile = median(3, || load(&CodeCache::disabled()));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let cache = CodeCache::new(directory.path().join("cache"));
    load(&cache);
    row(
        "load from the cache, against compiling",
        median(400, || load(&cache)),
        Some(compile),
        "250 us",
    );
}

fn runs() {
    let single = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let pool = Mode::LongLived {
        concurrency: NonZeroU32::new(64).expect("not 0"),
    };
    for (fixture, name, mode) in [
        (SMALL, "small guest, mapped memory", Mode::OneShot),
        (SMALL, "small guest, pooled memory", pool),
        (FIXTURE, "guest that imports all of WASI, pooled", pool),
    ] {
        let harness = Harness::with_mode(fixture, Settings::default(), mode);
        let time = median(2000, || {
            assert_eq!(single.block_on(harness.run("reject")).status(), Status::Rejected);
        });
        row(&format!("rejects at once: {name}"), time, None, "40 us");
    }
}

fn requests() {
    const COUNT: u32 = 2000;
    /// Requests that a run makes one after the other, where it makes many.
    const MANY: u32 = 100;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let server = Server::start(|_| Reply::ok("hello")).await;
        let pool = Mode::LongLived {
            concurrency: NonZeroU32::new(64).expect("not 0"),
        };
        let harness = Arc::new(Harness::with_mode(FIXTURE, Settings::default(), pool));
        let client: Client<_, Empty<bytes::Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let url: http::Uri = server.url("/").parse().expect("a URL");
        for concurrency in [1, 64] {
            let ours = |requests: u32| {
                concurrent(concurrency, COUNT.max(MANY * concurrency) / requests, {
                    let (harness, url) = (Arc::clone(&harness), url.to_string());
                    move || {
                        let (harness, url) = (Arc::clone(&harness), url.clone());
                        async move {
                            let run = harness.scenario("get").with("fixture.url", url);
                            let outcome = run.with("fixture.count", requests).run().await;
                            assert_eq!(outcome.status(), Status::Succeeded);
                        }
                    }
                })
            };
            let one = ours(1).await;
            let of_many = ours(MANY).await / MANY;
            let baseline = concurrent(concurrency, COUNT, || {
                let (client, url) = (client.clone(), url.clone());
                async move {
                    let response = client.get(url).await.expect("an answer");
                    response.into_body().collect().await.expect("a body");
                }
            })
            .await;
            row(
                &format!("a run with one request, {concurrency} at a time"),
                one,
                Some(baseline),
                "1.5 x",
            );
            row(
                &format!("a request of a run of {MANY}, {concurrency} at a time"),
                of_many,
                Some(baseline),
                "1.5 x",
            );
        }
    });
}

/// The time for one of `count` pieces of work, `concurrency` at a time.
async fn concurrent<F: Future<Output = ()> + Send + 'static>(
    concurrency: u32,
    count: u32,
    work: impl Fn() -> F,
) -> Duration {
    let start = Instant::now();
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..count {
        if running.len() == concurrency as usize {
            running
                .join_next()
                .await
                .expect("one is running")
                .expect("it does not panic");
        }
        running.spawn(work());
    }
    while running.join_next().await.is_some() {}
    start.elapsed() / count
}

fn waiting() {
    const RUNS: usize = 1000;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let pool = Mode::LongLived {
            concurrency: NonZeroU32::new(RUNS as u32).expect("not 0"),
        };
        let harness = Arc::new(Harness::with_mode(FIXTURE, Settings::default(), pool));
        harness.run("ok").await;
        let before = proportional_set_size();
        let mut running = tokio::task::JoinSet::new();
        for _ in 0..RUNS {
            let harness = Arc::clone(&harness);
            running.spawn(async move { harness.scenario("sleep").with("fixture.count", 2000).run().await });
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let each = (proportional_set_size() - before) / RUNS;
        println!(
            "{:<52} {:>9} KB {:>23}",
            "memory of each of 1000 waiting runs",
            each / 1024,
            "83 KB"
        );
        while running.join_next().await.is_some() {}
    });
}
