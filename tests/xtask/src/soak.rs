//! Tests whose promises are about many kills, runs and races: in full, or over and over.

use crate::{authors::authors, build_for_tests, cargo, run};
use anyhow::{Context, Result};
use std::time::Instant;

/// Asks the tests for all that is promised.
const FULL_VARIABLE: &str = "EXECUTOR_RUNTIME_TEST_IN_FULL";

/// The test programs, a module of each, and what one round of that goes through.
const MODULES: [(&str, &str, &str); 8] = [
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

/// Tests that do as much as is promised where they are asked to, and what that is.
const IN_FULL: [(&str, &str, &str); 10] = [
    (
        "usage",
        "serve_killed",
        "300 hosts killed that serve 32 runs of four kinds",
    ),
    (
        "usage",
        "serve_follow::a_growing_output",
        "1 GiB of output, ten followers",
    ),
    ("usage", "serve_many", "1,000,000 runs in one host"),
    (
        "plugins",
        "resumable_artifacts::a_download",
        "1 GB that is downloaded while its host is killed 20 times",
    ),
    (
        "official_kinds",
        "official_http_sse::hosts_that_are_killed",
        "an event stream whose host is killed 100 times",
    ),
    (
        "official_kinds",
        "long_event_streams::a_long_stream",
        "1 GiB of events",
    ),
    (
        "official_kinds",
        "container::kills",
        "200 hosts, plugins and supervisors killed while a container runs",
    ),
    (
        "official_kinds",
        "recipes::real_ray",
        "jobs of a Ray cluster from PyPI, which is installed for it",
    ),
    (
        "official_kinds",
        "recipes::real_slurm",
        "jobs of Slurm from Debian, which is installed for it",
    ),
    (
        "official_kinds",
        "recipes::real_langgraph",
        "runs on LangGraph's server from PyPI, which is installed for it",
    ),
];

/// Goes the way of an author in each language, runs what is promised in full once, and every module `rounds` times; stops at the first failure.
pub(crate) fn soak(rounds: u32) -> Result<()> {
    build_for_tests()?;
    authors(&[], false)?;
    for (program, test, what) in IN_FULL {
        println!("{test}: {what}");
        let started = Instant::now();
        let mut command = guest_build::cargo_command();
        command
            .args(arguments(program, test))
            .args(["--nocapture"])
            .env(FULL_VARIABLE, "1");
        run(command).with_context(|| format!("{test} failed"))?;
        println!("{test}: passed in {:.0} s", started.elapsed().as_secs_f64());
    }
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
    cargo(&arguments(program, &format!("{module}::")))
}

fn arguments<'a>(program: &'a str, tests: &'a str) -> [&'a str; 8] {
    [
        "test",
        "--quiet",
        "--release",
        "--workspace",
        "--test",
        program,
        "--",
        tests,
    ]
}
