//! Hostile native plugins: each invocation ends in a result of its own, and the next one works.

use executor_runtime::protocol::Status;
use executor_runtime_tests::{
    fixtures, marked,
    plugins::{Plugins, summary},
};
use std::{
    sync::{LazyLock, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// One runtime and one template for all of it: what one invocation breaks, the next would notice.
static PLUGINS: LazyLock<Plugins> = LazyLock::new(|| {
    Plugins::new(
        &[fixtures::native("fixture-hostile")],
        "plugins.hostile.limits = { grace_seconds = 0.3 }",
    )
});

fn run(what: &str) -> executor_runtime::protocol::RuntimeResult {
    PLUGINS.run_for(20, "hostile", &[("hostile.do", what)])
}

#[track_caller]
fn still_works() {
    assert_eq!(summary(&run("nothing")), "succeeded");
}

#[test]
fn whatever_it_does_is_a_result_of_that_run_only() {
    for (what, expected) in [
        ("nothing", "succeeded"),
        (
            "panic",
            "failed plugin_crashed: plugin 'hostile' panicked: on purpose",
        ),
        (
            "panic_at_length",
            "failed plugin_crashed: plugin 'hostile' panicked: on purpose!!!",
        ),
        ("panic_on_a_thread", "succeeded"),
        (
            "abort",
            "failed plugin_crashed: plugin 'hostile' crashed: it was ended by SIGABRT (signal 6)",
        ),
        (
            "segfault",
            "failed plugin_crashed: plugin 'hostile' crashed: it was ended by SIGSEGV (signal 11)",
        ),
        (
            "overflow_the_stack",
            "failed plugin_crashed: plugin 'hostile' crashed: it was ended by SIGSEGV (signal 11)",
        ),
        (
            "exit_0",
            "failed plugin_crashed: plugin 'hostile' ended without a result: it exited with code 0",
        ),
        (
            "exit_now_0",
            "failed plugin_crashed: plugin 'hostile' ended without a result: it exited with code 0",
        ),
        (
            "close_all_descriptors",
            "failed plugin_crashed: plugin 'hostile' ended without a result",
        ),
        ("leave_threads", "succeeded"),
        ("leave_processes", "succeeded"),
        ("write_to_stdout", "succeeded"),
        (
            "write_gibberish_to_the_host",
            "failed plugin_crashed: plugin 'hostile' returned an invalid result",
        ),
        (
            "write_gibberish_and_stay",
            "failed plugin_crashed: plugin 'hostile' returned an invalid result",
        ),
        ("flood_the_log", "succeeded"),
        (
            "return_a_gigabyte",
            "failed plugin_limit: plugin 'hostile' returned a result of 1073741",
        ),
        ("return_much_receipt", "succeeded"),
        ("take_the_hosts_keys", "succeeded"),
        ("forge_the_hosts_counts", "succeeded"),
        ("claim_an_artifact_again", "succeeded"),
        ("escape_by_artifact", "succeeded"),
        ("leave_an_unfinished_artifact", "succeeded"),
        ("remove_its_artifacts", "succeeded"),
        ("move_its_artifacts", "succeeded"),
        ("link_its_artifact", "succeeded"),
    ] {
        let result = run(what);
        let found = summary(&result);
        assert!(found.starts_with(expected), "{what}: {found}");
        assert_eq!(result.metadata["plugin.name"], "hostile", "{what}");
        assert_eq!(result.metadata["plugin.carrier"], "native", "{what}");
        still_works();
    }
}

#[test]
fn no_state_is_left_for_the_next_run() {
    for _ in 0..3 {
        assert_eq!(run("count").metadata["hostile.count"], "1");
    }
}

#[test]
fn leaked_processes_are_gone_when_the_run_returns() {
    let result = run("leave_processes");
    let mark = format!(
        "HOSTILE_RUN={}/{}",
        PLUGINS.directory().display(),
        result.invocation_id
    );
    assert_eq!(marked(&mark), []);
    assert_eq!(summary(&result), "succeeded");
    assert!(result.metadata["leaked_descendants"].parse::<u32>().unwrap() >= 3);
}

#[test]
fn what_it_reports_is_bounded_and_its_own() {
    let much = run("return_much_receipt");
    assert!(much.metadata.len() < 300);
    let taken = run("take_the_hosts_keys");
    assert_eq!(taken.metadata["plugin.name"], "hostile");
    assert!(!taken.metadata.contains_key("error.kind"));
    let flood = run("flood_the_log");
    assert!(flood.metadata["plugin.log_dropped"].parse::<u32>().unwrap() > 10_000);
    assert_eq!(flood.metadata["plugin.progress"], "0.5 still flooding");
    assert!(
        run("write_to_stdout").metadata["plugin.log_dropped"]
            .parse::<u32>()
            .unwrap()
            > 90_000
    );
    let unfinished = run("leave_an_unfinished_artifact");
    assert!(unfinished.artifacts.is_empty());
    let left = PLUGINS
        .directory()
        .join(".executor_runtime")
        .join(&unfinished.invocation_id);
    assert!(!left.exists());
    assert_eq!(run("escape_by_artifact").metadata["hostile.made"], "0");
    let again = run("claim_an_artifact_again");
    let listed: Vec<_> = again
        .artifacts
        .iter()
        .map(|artifact| (&*artifact.artifact_id, &*artifact.kind))
        .collect();
    assert_eq!(listed, [("report", "k")]);
    assert!(!again.metadata.contains_key("artifacts_omitted"));
    for what in ["remove_its_artifacts", "move_its_artifacts", "link_its_artifact"] {
        let result = run(what);
        assert!(result.artifacts.is_empty(), "{what}");
        assert_eq!(result.metadata["artifacts_omitted"], "1", "{what}");
    }
    let forged = run("forge_the_hosts_counts");
    assert_ne!(forged.metadata["leaked_descendants"], "0");
    assert!(forged.started_at.as_str() > "2026");
    assert!(!forged.finished_at.is_before(&forged.started_at));
}

#[test]
fn a_timeout_ends_it_within_the_grace() {
    still_works();
    for what in ["hang", "spin", "ignore_the_stop"] {
        let started = Instant::now();
        let result = PLUGINS.run_for(1, "hostile", &[("hostile.do", what)]);
        let took = started.elapsed();
        assert_eq!(
            summary(&result),
            "timed_out timeout: plugin 'hostile' timed out after 1 s and was killed: it did not return within its \
             grace period"
        );
        assert!(took < Duration::from_millis(1600), "{what}: {took:?}");
    }
    let started = Instant::now();
    let result = PLUGINS.run_for(1, "hostile", &[("hostile.do", "sleep_until_stopped")]);
    assert_eq!(summary(&result), "timed_out timeout: timed out in its sleep");
    assert!(started.elapsed() < Duration::from_millis(1200));
}

#[test]
fn a_cancelled_run_ends_at_once_or_within_the_grace() {
    still_works();
    let time = Duration::from_millis(100);
    let (result, took) = PLUGINS.run_cancelled(time, "hostile", &[("hostile.do", "sleep_until_stopped")]);
    assert_eq!(summary(&result), "cancelled cancelled: cancelled in its sleep");
    assert!(took < Duration::from_millis(200), "{took:?}");
    let (result, took) = PLUGINS.run_cancelled(time, "hostile", &[("hostile.do", "hang")]);
    assert_eq!(result.status, Status::Cancelled);
    assert!(took < Duration::from_millis(600), "{took:?}");
}

#[test]
fn many_runs_at_a_time_do_not_disturb_each_other() {
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let wrong = &wrong;
            scope.spawn(move || {
                for turn in 0..12 {
                    let (what, expected) = match (thread + turn) % 4 {
                        0 => ("segfault", "failed"),
                        1 => ("exit_0", "failed"),
                        _ => ("count", "succeeded"),
                    };
                    let result = run(what);
                    if result.status.as_str() != expected {
                        let mut wrong = wrong.lock().unwrap_or_else(PoisonError::into_inner);
                        wrong.push(format!("{what}: {}", summary(&result)));
                    }
                }
            });
        }
    });
    assert_eq!(wrong.into_inner().unwrap(), Vec::<String>::new());
}

#[test]
fn a_supervisor_or_a_template_that_is_killed_costs_that_run_only() {
    // A runtime of its own: killing the template ends every run of it.
    let plugins = Plugins::new(&[fixtures::native("fixture-hostile")], "");
    for what in ["kill_the_supervisor", "kill_the_template"] {
        let result = plugins.run_for(5, "hostile", &[("hostile.do", what)]);
        assert_eq!(result.status, Status::Failed, "{what}: {}", summary(&result));
        let next = plugins.run_for(5, "hostile", &[("hostile.do", "count")]);
        assert_eq!(summary(&next), "succeeded", "after {what}");
    }
}

#[test]
fn metadata_is_checked_before_anything_runs() {
    let result = PLUGINS.run("hostile", &[]);
    assert_eq!(
        summary(&result),
        "rejected invalid_metadata: invalid metadata: hostile.do: found nothing, expected a string (What it does; see \
         its source)"
    );
}
