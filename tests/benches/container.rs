//! What the kind `container` costs beside `podman run` of the same image.
//!
//! `cargo bench --workspace --bench container`

use executor_runtime_tests::{
    fixtures, host_binary,
    kind::package,
    podman::{BUSYBOX, Podman},
};
use serde_json::json;
use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const ROUNDS: usize = 25;

fn main() {
    // As an operator has it.
    let podman = Podman::with_driver("overlay");
    let place = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| place.path().join(name);
    fs::create_dir(path("plugins")).expect("it is new");
    fs::copy(
        fixtures::native(&package("container")),
        path("plugins/container.so"),
    )
    .expect("it was built");
    fs::write(path("config.toml"), podman.config("")).expect("it can be written");
    let document = json!({
        "invocation_id": "bench", "runtime_name": "bench", "runtime_kind": "container", "timeout_seconds": 60,
        "working_directory": place.path(), "command": ["/bin/true"], "metadata": {"container.image": BUSYBOX},
    });
    fs::write(path("invocation.json"), document.to_string()).expect("it can be written");
    let host = || {
        let mut command = Command::new(host_binary());
        command
            .args(["run", "--config"])
            .args([path("config.toml"), path("invocation.json")])
            .env("EXECUTOR_RUNTIME_PLUGINS_DIR", path("plugins"));
        command
    };
    let directory = place.path().display();
    let volume = format!("{directory}:{directory}");
    let workdir = directory.to_string();
    let peer = || podman.run(&["--volume", &volume, "--workdir", &workdir, BUSYBOX, "/bin/true"]);
    // The first of each finds nothing in memory.
    time(host());
    time(peer());
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(time(host()));
        theirs.push(time(peer()));
    }
    let (ours, theirs) = (median(ours), median(theirs));
    println!("one container, medians of {ROUNDS} alternating runs");
    println!("  executor-runtime run   {:8.1} ms", milliseconds(ours));
    println!("  podman run --rm        {:8.1} ms", milliseconds(theirs));
    println!("  {:.3} x", ours.as_secs_f64() / theirs.as_secs_f64());
}

fn time(mut command: Command) -> Duration {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let start = Instant::now();
    let status = command.status().expect("it starts");
    let time = start.elapsed();
    assert!(status.success(), "{command:?}");
    time
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
