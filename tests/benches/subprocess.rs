//! What supervision costs: each figure beside its baseline, measured in the same run.
//!
//! `cargo bench --workspace --bench subprocess`

use executor_runtime::{
    Host,
    protocol::{RuntimeInvocation, Status},
};
use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

fn main() {
    // Before threads and before memory is in use, as the documentation asks.
    let runtime = Host::builder()
        .build()
        .expect("this system can supervise processes");
    let directory = tempfile::tempdir().expect("a temporary directory");
    println!(
        "{:<52} {:>12} {:>12} {:>8} {:>6}",
        "", "ours", "baseline", "ratio", "goal"
    );
    one_shot(directory.path());
    sequential(&runtime, directory.path());
    concurrent(&runtime, directory.path());
    batch(directory.path());
    growth(&runtime, directory.path());
}

fn row(what: &str, ours: Duration, baseline: Duration, goal: &str) {
    println!(
        "{what:<52} {:>9.3} ms {:>9.3} ms {:>8.2} {goal:>6}",
        ours.as_secs_f64() * 1e3,
        baseline.as_secs_f64() * 1e3,
        ours.as_secs_f64() / baseline.as_secs_f64(),
    );
}

/// Runs both in turn, so that what else the machine does hits both; the medians.
fn alternate(rounds: usize, mut ours: impl FnMut(), mut baseline: impl FnMut()) -> (Duration, Duration) {
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (times, run) in times
            .iter_mut()
            .zip([&mut ours as &mut dyn FnMut(), &mut baseline])
        {
            let start = Instant::now();
            run();
            times.push(start.elapsed());
        }
    }
    let [ours, baseline] = times.map(median);
    (ours, baseline)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn invocation(directory: &Path) -> RuntimeInvocation {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let document = serde_json::json!({
        "invocation_id": format!("bench-{}", NEXT.fetch_add(1, Ordering::Relaxed)),
        "runtime_name": "bench",
        "runtime_kind": "subprocess",
        "working_directory": directory,
        "command": ["/bin/true"],
        "timeout_seconds": 30,
    });
    RuntimeInvocation::from_json(document.to_string().as_bytes()).expect("a valid invocation")
}

fn run(runtime: &Host, directory: &Path) {
    let result = runtime.run_blocking(invocation(directory));
    assert_eq!(result.status, Status::Succeeded, "{result:?}");
}

/// What is done by hand in place of a run: a directory, a file for each output, spawn and wait.
fn by_hand(directory: &Path) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let capture = directory.join(format!("by-hand-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
    fs::create_dir(&capture).expect("makes a directory");
    let file = |name| fs::File::create(capture.join(name)).expect("makes a file");
    let status = Command::new("/bin/true")
        .stdin(Stdio::null())
        .stdout(file("stdout.txt"))
        .stderr(file("stderr.txt"))
        .status();
    assert!(status.expect("true runs").success());
}

fn raw() {
    assert!(
        Command::new("/bin/true")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .expect("true runs")
            .success()
    );
}

fn one_shot(directory: &Path) {
    let host = executor_runtime_tests::host_binary();
    let document = directory.join("invocation.json");
    fs::write(
        &document,
        serde_json::to_vec(&invocation(directory)).expect("serialises"),
    )
    .expect("writes");
    let quiet = |program: &Path, arguments: &[&str]| {
        let status = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status();
        assert!(status.expect("starts").success());
    };
    let (ours, baseline) = alternate(
        500,
        || quiet(&host, &["run", document.to_str().expect("UTF-8")]),
        || quiet(Path::new("timeout"), &["30", "/bin/true"]),
    );
    row("one-shot run / timeout 30 /bin/true", ours, baseline, "1.5");
    let (ours, baseline) = alternate(
        200,
        || quiet(&host, &["--version"]),
        || quiet(Path::new("/bin/true"), &[]),
    );
    row("host --version / /bin/true", ours, baseline, "1.8");
}

fn sequential(runtime: &Host, directory: &Path) {
    let (ours, baseline) = alternate(1000, || run(runtime, directory), || by_hand(directory));
    row("sequential run / by hand, with its files", ours, baseline, "1.4");
    let (ours, baseline) = alternate(1000, || run(runtime, directory), raw);
    row("sequential run / spawn + wait alone", ours, baseline, "");
}

fn concurrent(runtime: &Host, directory: &Path) {
    const RUNS: usize = 1024;
    const ROUNDS: usize = 7;
    for threads in [2, 8, 64] {
        let time = |run: &(dyn Fn() + Sync)| {
            let start = Instant::now();
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| (0..RUNS / threads).for_each(|_| run()));
                }
            });
            start.elapsed() / RUNS as u32
        };
        let (mut ours, mut baseline) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(time(&|| run(runtime, directory)));
            baseline.push(time(&|| by_hand(directory)));
        }
        row(
            &format!("{threads} concurrent, per run / by hand, with its files"),
            median(ours),
            median(baseline),
            if threads == 64 { "1.4" } else { "" },
        );
    }
}

/// Commands out of one input, with results, beside `xargs` without any and, where it is installed, GNU parallel with its own.
fn batch(directory: &Path) {
    const JOBS: usize = 1000;
    const ROUNDS: usize = 5;
    let directory = directory.join("batch");
    fs::create_dir(&directory).expect("makes a directory");
    let host = executor_runtime_tests::host_binary();
    let input: String = (0..JOBS).map(|number| format!("{number}\n")).collect();
    let rounds = AtomicU64::new(0);
    // Each time in a new directory, and none is removed in between: ext4 without a journal looks for seconds at each inode that
    // was deleted before it gives one to a new file, which would be measured instead.
    let shell = |script: &str| {
        let place = directory.join(rounds.fetch_add(1, Ordering::Relaxed).to_string());
        fs::create_dir(&place).expect("the name is new");
        let mut child = Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(&host)
            .current_dir(place)
            .stdin(Stdio::piped())
            .spawn()
            .expect("sh starts");
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(input.as_bytes()).expect("it reads");
        drop(stdin);
        assert!(child.wait().expect("it ends").success());
    };
    let ours = || {
        shell("exec \"$1\" batch -j64 --joblog log -- /bin/true > results.ndjson");
    };
    let (time, baseline) = alternate(ROUNDS, ours, || shell("exec xargs -P64 -n1 /bin/true"));
    row(
        "1000 commands, 64 at a time / xargs without results",
        time,
        baseline,
        "1.25",
    );
    let has_parallel = Command::new("parallel").arg("--version").output().is_ok();
    if has_parallel {
        let (time, baseline) = alternate(2, ours, || {
            shell("exec parallel -j64 --joblog log --results results /bin/true > /dev/null");
        });
        row(
            "the same / GNU parallel --joblog --results",
            time,
            baseline,
            "0.1",
        );
    } else {
        println!("GNU parallel is not installed, so it was not measured");
    }
}

/// What this process holds: resident memory, descriptors, threads.
fn held() -> (u64, usize, usize) {
    let status = fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let field = |name: &str| {
        let line = status
            .lines()
            .find(|line| line.starts_with(name))
            .expect("the field is there");
        line.split_whitespace()
            .nth(1)
            .and_then(|number| number.parse::<u64>().ok())
            .expect("a number")
    };
    let descriptors = fs::read_dir("/proc/self/fd").expect("/proc is mounted").count();
    (field("VmRSS:"), descriptors, field("Threads:") as usize)
}

fn growth(runtime: &Host, directory: &Path) {
    (0..1000).for_each(|_| run(runtime, directory));
    let (memory, descriptors, threads) = held();
    (1000..20_000).for_each(|_| run(runtime, directory));
    let after = held();
    println!("\nfrom run 1,000 to run 20,000:");
    println!("  memory      {memory} KiB -> {} KiB", after.0);
    println!("  descriptors {descriptors} -> {}", after.1);
    println!("  threads     {threads} -> {}", after.2);
}
