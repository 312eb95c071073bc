//! What a call of a plugin costs in each language, beside a program that has wasmtime and nothing else.
//!
//! `cargo bench --workspace --bench languages -- [calls|one_shot|LANGUAGE]...`
//!
//! Both run the same code of the same component, in turns, in the same run. The program beside ours links WASI as wasmtime
//! offers it, and functions of the `host` interface that do nothing; its engine has our settings.

mod bare;

use bare::Bare;
use executor_runtime::{
    Host, Outcome, Run,
    config::Config,
    plugin::Limits,
    protocol::{RuntimeInvocation, Status},
};
use executor_runtime_component::{Admitted, CodeCache, Component, Components, Engine, Mode};
use executor_runtime_egress::Grant;
use executor_runtime_tests::{
    examples, host_binary,
    installed::{self, Installed},
};
use std::{
    collections::BTreeMap,
    fs,
    hint::black_box,
    num::NonZeroU32,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::runtime::Runtime;

/// The examples in a language: their kind `greet` logs one line and waits for nothing.
struct Language {
    name: &'static str,
    /// None where this machine can't build them.
    examples: fn() -> Option<PathBuf>,
    /// Calls of which the median is told.
    calls: usize,
    /// Processes of which the median is told.
    processes: usize,
}

const KIND: &str = "greet";

const LANGUAGES: [Language; 4] = [
    Language {
        name: "rust",
        examples: || Some(examples::rust_component()),
        calls: 4000,
        processes: 300,
    },
    Language {
        name: "python",
        examples: examples::python,
        calls: 300,
        processes: 60,
    },
    Language {
        name: "javascript",
        examples: examples::javascript,
        calls: 300,
        processes: 60,
    },
    Language {
        name: "c",
        examples: examples::c,
        calls: 4000,
        processes: 300,
    },
];

/// What is measured of a language whose greeter is that file.
type Part = fn(&Language, &Path);

const PARTS: [(&str, Part); 2] = [("calls", calls), ("one_shot", one_shot)];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [what, code] = arguments.as_slice()
        && what == bare::ARGUMENT
    {
        return bare::one_shot(Path::new(code));
    }
    let chosen: Vec<_> = arguments.iter().filter(|one| !one.starts_with('-')).collect();
    let is_chosen = |name: &str, all: &[&str]| {
        chosen.iter().any(|one| *one == name) || !chosen.iter().any(|one| all.contains(&one.as_str()))
    };
    println!(
        "{:<40} {:>12} {:>14} {:>8} {:>8}",
        "", "ours", "bare wasmtime", "ratio", "goal"
    );
    for (part, work) in PARTS {
        if !is_chosen(part, &PARTS.map(|(name, _)| name)) {
            continue;
        }
        for language in &LANGUAGES {
            if is_chosen(language.name, &LANGUAGES.each_ref().map(|one| one.name))
                && let Some(greeter) = (language.examples)()
            {
                work(language, &greeter);
            }
        }
    }
}

fn row(what: &str, ours: Duration, bare: Duration, goal: &str) {
    let shown = |time: Duration| match time.as_secs_f64() {
        seconds if seconds < 0.001 => format!("{:.1} us", seconds * 1e6),
        seconds => format!("{:.2} ms", seconds * 1e3),
    };
    let ratio = ours.as_secs_f64() / bare.as_secs_f64();
    println!(
        "{what:<40} {:>12} {:>14} {ratio:>6.2} x {goal:>8}",
        shown(ours),
        shown(bare)
    );
}

/// The median time of each of two, taken in turns.
fn medians(rounds: usize, mut one: impl FnMut(), mut other: impl FnMut()) -> (Duration, Duration) {
    let timed = |work: &mut dyn FnMut()| {
        let begun = Instant::now();
        work();
        begun.elapsed()
    };
    for _ in 0..rounds / 10 + 1 {
        one();
        other();
    }
    let (mut ones, mut others): (Vec<_>, Vec<_>) =
        (0..rounds).map(|_| (timed(&mut one), timed(&mut other))).unzip();
    ones.sort();
    others.sort();
    (ones[rounds / 2], others[rounds / 2])
}

/// A cache in which is the code of this component, in an engine of this kind, and nothing else; it is kept from one bench
/// to the next. Returns the file with the code, too.
fn cache(
    language: &Language,
    purpose: &str,
    greeter: &Path,
    fill: impl FnOnce(&CodeCache),
) -> (CodeCache, PathBuf) {
    let folder = guest_build::target_directory()
        .join("bench")
        .join(format!("{}-{purpose}", language.name));
    let modified = |path: &Path| path.metadata().and_then(|found| found.modified()).ok();
    let code = || {
        let mut files = fs::read_dir(folder.join("executor-runtime"))
            .ok()?
            .flatten()
            .map(|entry| entry.path());
        let code = files.find(|path| path.extension().is_some_and(|extension| extension == "code"))?;
        (files.next().is_none() && modified(&code) > modified(greeter)).then_some(code)
    };
    let cache = CodeCache::new(folder.join("executor-runtime"));
    if code().is_none() {
        let _ = fs::remove_dir_all(&folder);
    }
    fill(&cache);
    (cache, code().expect("what was compiled is cached"))
}

const POOL: Mode = Mode::LongLived {
    concurrency: NonZeroU32::new(64).expect("not 0"),
};

fn invocation(directory: &Path) -> RuntimeInvocation {
    let document = serde_json::json!({
        "invocation_id": "bench", "runtime_name": "bench", "runtime_kind": KIND,
        "working_directory": directory, "command": ["run"], "metadata": {"greet.name": "Ada"},
    });
    RuntimeInvocation::from_json(document.to_string().as_bytes()).expect("it is an invocation")
}

fn executor() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// A call in a fresh instance, where everything is loaded.
fn calls(language: &Language, greeter: &Path) {
    let executor = executor();
    let engine = Engine::new(POOL).expect("an engine");
    let wasm = fs::read(greeter).expect("it was built");
    let load = |cache: &CodeCache| {
        Component::load(&engine, cache, &wasm, "greet", "0.1.0", &BTreeMap::new()).expect("it loads")
    };
    let (cache, code) = cache(language, "pooled", greeter, |cache| drop(load(cache)));
    let component = load(&cache);
    let bare = Bare::new(engine.wasmtime(), &code);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let invocation = invocation(directory.path());

    let admitted = Admitted {
        metadata: invocation.metadata.clone(),
        grant: Arc::new(Grant::new(None, [])),
        limits: Limits::default(),
    };
    let run_bare = || executor.block_on(bare.call(black_box("Ada")));
    let (carrier, beside) = medians(
        language.calls,
        || {
            let run = Run::new(invocation.clone());
            let outcome: Outcome = executor.block_on(component.run(&run, &admitted));
            assert_eq!(outcome.status(), Status::Succeeded);
        },
        run_bare,
    );
    row(
        &format!("a call, {}: the carrier", language.name),
        carrier,
        beside,
        "",
    );

    let plugins = directory.path().join("plugins");
    fs::create_dir(&plugins).expect("the directory is new");
    fs::copy(greeter, plugins.join("greet.wasm")).expect("there is room");
    let host = Host::builder()
        .config(Config::default())
        .plugins_in(vec![plugins])
        .carrier(|_| Components::new(POOL, cache))
        .build()
        .expect("a host");
    let (whole, beside) = medians(
        language.calls,
        || {
            let result = executor.block_on(host.run(invocation.clone()));
            assert_eq!(result.status, Status::Succeeded, "{result:?}");
        },
        run_bare,
    );
    row(
        &format!("a call, {}: the host", language.name),
        whole,
        beside,
        "1.3 x",
    );
}

/// A process that runs one invocation, whose component is compiled.
fn one_shot(language: &Language, greeter: &Path) {
    let place = Installed::file(KIND, greeter);
    let ours = |cache: &Path| {
        let mut command = Command::new(host_binary());
        command.args(["run", "--kind", KIND, "-m", "greet.name=Ada"]);
        place
            .equip(&mut command)
            .current_dir(place.scene.path("."))
            .env("XDG_CACHE_HOME", cache);
        command
    };
    let folder = guest_build::target_directory()
        .join("bench")
        .join(format!("{}-one-shot", language.name));
    let (_, code) = cache(language, "one-shot", greeter, |_| succeed(ours(&folder)));
    installed::await_settled();
    let program = std::env::current_exe().expect("a program has a path");
    let (ours, beside) = medians(
        language.processes,
        || succeed(ours(&folder)),
        || {
            let mut command = Command::new(&program);
            command.arg(bare::ARGUMENT).arg(&code);
            succeed(command);
        },
    );
    row(
        &format!("one run of a process, {}", language.name),
        ours,
        beside,
        "1.5 x",
    );
}

fn succeed(mut command: Command) {
    let ended = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(ended.is_ok_and(|status| status.success()), "{command:?}");
}
