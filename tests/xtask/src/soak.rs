//! Tests whose promises are about many kills, runs and races, over and over.

use crate::{build_for_tests, cargo};
use anyhow::{Context, Result};
use std::time::Instant;

/// The test programs, and what one round of each goes through.
const PROGRAMS: [(&str, &str); 8] = [
    (
        "host_killed",
        "120 hosts killed at moments over a run, and 3 others",
    ),
    ("checkpoints", "hosts killed between checkpoints"),
    (
        "supervisor_attacks",
        "supervisors and spawners killed or stopped by what they watch",
    ),
    ("signals_to_the_host", "hosts told to stop"),
    (
        "descendants",
        "runs that leave processes, and 30 sequences of them",
    ),
    (
        "capture_directory",
        "captures deleted and replaced while a run is under way",
    ),
    ("native_loading", "plugin files swapped while 100 runs load them"),
    (
        "text_file_busy",
        "1,600 programs written and run at once by 8 threads",
    ),
];

/// Runs every program `rounds` times; stops at the first failure.
pub(crate) fn soak(rounds: u32) -> Result<()> {
    build_for_tests()?;
    for (program, what) in PROGRAMS {
        println!("{program}: {rounds} rounds of {what}");
        let started = Instant::now();
        for round in 1..=rounds {
            cargo(&["test", "--quiet", "--release", "--workspace", "--test", program])
                .with_context(|| format!("{program} failed in round {round} of {rounds}"))?;
        }
        println!(
            "{program}: {rounds} rounds passed in {:.0} s",
            started.elapsed().as_secs_f64()
        );
    }
    Ok(())
}
