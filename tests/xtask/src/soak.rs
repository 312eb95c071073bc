//! Tests whose promises are about many kills, runs and races, over and over.

use crate::{build_for_tests, cargo};
use anyhow::{Context, Result};
use std::time::Instant;

/// The test programs, a module of each, and what one round of that goes through.
const MODULES: [(&str, &str, &str); 9] = [
    (
        "usage",
        "serve_killed",
        "5 hosts killed that serve 32 runs of four kinds",
    ),
    (
        "subprocess",
        "host_killed",
        "120 hosts killed at moments over a run, and 3 others",
    ),
    ("plugins", "checkpoints", "hosts killed between checkpoints"),
    (
        "subprocess",
        "supervisor_attacks",
        "supervisors and spawners killed or stopped by what they watch",
    ),
    ("subprocess", "signals_to_the_host", "hosts told to stop"),
    (
        "subprocess",
        "descendants",
        "runs that leave processes, and 30 sequences of them",
    ),
    (
        "subprocess",
        "capture_directory",
        "captures deleted and replaced while a run is under way",
    ),
    (
        "plugins",
        "native_loading",
        "plugin files swapped while 100 runs load them",
    ),
    (
        "subprocess",
        "text_file_busy",
        "1,600 programs written and run at once by 8 threads",
    ),
];

/// Runs every module `rounds` times; stops at the first failure.
pub(crate) fn soak(rounds: u32) -> Result<()> {
    build_for_tests()?;
    for (program, module, what) in MODULES {
        println!("{module}: {rounds} rounds of {what}");
        let started = Instant::now();
        for round in 1..=rounds {
            test_module(program, module)
                .with_context(|| format!("{module} failed in round {round} of {rounds}"))?;
        }
        println!(
            "{module}: {rounds} rounds passed in {:.0} s",
            started.elapsed().as_secs_f64()
        );
    }
    Ok(())
}

fn test_module(program: &str, module: &str) -> Result<()> {
    let tests = format!("{module}::");
    cargo(&[
        "test",
        "--quiet",
        "--release",
        "--workspace",
        "--test",
        program,
        "--",
        &tests,
    ])
}
