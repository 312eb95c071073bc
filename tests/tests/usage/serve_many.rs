//! A host that has had many runs is as large as it was after a few.

use executor_runtime_tests::{
    Scene, amount, fixtures,
    installed::cache,
    kind::package,
    scripted::{Answer, Scripted},
    serving::{self, Serving},
    status_field,
};
use std::{
    fs,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Instant,
};

/// Runs at a time.
const WIDE: usize = 16;
/// How often it is measured.
const PARTS: usize = 5;

/// What a host takes.
#[derive(Clone, Copy, Debug)]
struct Size {
    resident: usize,
    descriptors: usize,
    threads: usize,
    journal: u64,
}

fn measure(serving: &Serving, scene: &Scene) -> Size {
    let threads = status_field(serving.pid(), "Threads").expect("it is running");
    Size {
        resident: serving.resident(),
        descriptors: fs::read_dir(format!("/proc/{}/fd", serving.pid()))
            .unwrap()
            .count(),
        threads: threads.parse().expect("a number"),
        journal: fs::metadata(scene.path("state/journal.sqlite")).unwrap().len(),
    }
}

/// Most runs are of a component; one in 20 is a process, whose files are removed with it.
#[test]
fn a_host_that_has_had_many_runs_is_as_large_as_before() {
    let runs = amount(2_000, 1_000_000);
    let scene = Scene::new();
    let backend = Scripted::start(|_, _| Answer::new(200, "a page"));
    fs::create_dir(scene.path("plugins")).unwrap();
    let file = fixtures::component(&package("http"));
    fs::copy(&file, scene.path("plugins/http.wasm")).unwrap();
    let mut command = serving::command(&scene, &["--jobs", "16"]);
    command.env("EXECUTOR_RUNTIME_PLUGINS_DIR", scene.path("plugins"));
    command.env("XDG_CACHE_HOME", cache());
    let serving = Serving::started(&scene, &mut command);
    let next = AtomicUsize::new(0);
    let started = Instant::now();
    let mut sizes = Vec::new();
    for part in 1..=PARTS {
        let end = runs / PARTS * part;
        thread::scope(|scope| {
            for _ in 0..WIDE {
                scope.spawn(|| run_until(end, &next, &serving, &scene, &backend));
            }
        });
        next.store(end, Ordering::SeqCst);
        let forgotten = serving.post("/v1/prune", r#"{"older_than_seconds": 0, "captures": true}"#);
        assert_eq!(forgotten.status(), 200, "{forgotten:?}");
        let size = measure(&serving, &scene);
        println!("{end} runs, {:.0} s: {size:?}", started.elapsed().as_secs_f64());
        sizes.push(size);
    }
    let (first, last) = (sizes[0], sizes[PARTS - 1]);
    assert!(last.resident < first.resident + (8 << 20), "{sizes:?}");
    // Connections and threads are kept for the next run, as many as runs have been under way at once so far.
    assert!(last.descriptors <= first.descriptors + WIDE, "{sizes:?}");
    assert!(last.threads <= first.threads + WIDE, "{sizes:?}");
    // What is pruned is used again; how much of that is in the file depends on when it was written back.
    assert!(last.journal <= 2 * first.journal, "{sizes:?}");
}

/// Submits runs and waits for each, until there were so many.
fn run_until(end: usize, next: &AtomicUsize, serving: &Serving, scene: &Scene, backend: &Scripted) {
    let mut connection = serving.connect();
    loop {
        let number = next.fetch_add(1, Ordering::SeqCst);
        if number >= end {
            return;
        }
        let id = format!("run-{number}");
        let invocation = match number % 20 {
            0 => scene.invocation(&["/bin/true"]),
            _ => scene
                .invocation(&["-"])
                .with("runtime_kind", "http")
                .metadata("http.url", backend.url("/page"))
                .metadata("http.method", "GET"),
        };
        let document = invocation.id(&id).with("timeout_seconds", 60).text();
        connection.send("POST", "/v1/runs", &[], document.as_bytes());
        assert_eq!(connection.answer().status(), 202);
        let path = format!("/v1/runs/{id}/result?wait=60");
        connection.send("GET", &path, &[], b"");
        let result = connection.answer().expect(200).json();
        assert_eq!(result["status"], "succeeded", "{result}");
    }
}
