//! What a call of a native plugin costs, beside a subprocess run that does nothing: both are a process each.

use executor_runtime::protocol::Status;
use executor_runtime_tests::{fixtures, plugins::Plugins};
use std::{
    hint::black_box,
    time::{Duration, Instant},
};

const RUNS: u32 = 500;

fn main() {
    let plugins = Plugins::new(&[fixtures::native("fixture-hostile")], "");
    let nothing = || plugins.run("hostile", &[("hostile.do", "nothing")]);
    let started = Instant::now();
    assert_eq!(nothing().status, Status::Succeeded);
    println!(
        "first call, loading included   {:>9.1} us",
        microseconds(started.elapsed())
    );
    let program = || {
        let mut invocation = plugins.invocation("subprocess", &[]);
        invocation.command = vec!["/bin/true".to_owned()];
        plugins.runtime.run_blocking(invocation)
    };
    black_box(program());
    for (name, run) in [
        ("native plugin, sequential", &nothing as &dyn Fn() -> _),
        ("subprocess /bin/true", &program),
    ] {
        let started = Instant::now();
        for _ in 0..RUNS {
            assert_eq!(black_box(run()).status, Status::Succeeded);
        }
        println!(
            "{name:<30} {:>9.1} us a run",
            microseconds(started.elapsed() / RUNS)
        );
    }
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
