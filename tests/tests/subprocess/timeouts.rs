//! A run that does not end in time is ended: TERM to its group, the grace, then KILL to every descendant.
//!
//! The promise is about time: over within timeout + grace + 0.3 s. It is held against the host's own
//! timestamps, which leave out the start of the host process and nothing else.

use executor_runtime_protocol::{RuntimeResult, Status};
use executor_runtime_tests::{Finished, Scene};
use std::time::Duration;

const SLACK: Duration = Duration::from_millis(300);

/// The time from start to end, as the result has it.
fn duration(result: &RuntimeResult) -> Duration {
    let seconds = result.metadata["usage.wall_seconds"]
        .parse()
        .expect("a number of seconds");
    Duration::from_secs_f64(seconds)
}

#[track_caller]
fn assert_timed_out(finished: &Finished, least: f64, most: f64) -> RuntimeResult {
    let result = finished.expect(Status::TimedOut);
    assert_eq!(finished.code, Some(124));
    assert_eq!(result.metadata["error.kind"], "timeout");
    let took = duration(&result);
    assert!(took >= Duration::from_secs_f64(least), "ended early: {took:?}");
    assert!(
        took <= Duration::from_secs_f64(most) + SLACK,
        "ended late: {took:?}"
    );
    result
}

#[test]
fn a_program_that_heeds_term_is_over_when_the_timeout_is() {
    let scene = Scene::new();
    let finished = scene.run(&scene.script("exec sleep 1000").timeout(1, 5.0));
    let result = assert_timed_out(&finished, 1.0, 1.0);
    assert_eq!(result.exit_code, Some(-15));
    assert_eq!(
        result.error_summary.as_deref(),
        Some("process exceeded timeout of 1 second")
    );
    scene.assert_nothing_left();
}

#[test]
fn a_program_that_uses_its_grace_well_ends_in_its_own_way() {
    let scene = Scene::new();
    let finished = scene.run(
        &scene
            .script("trap 'echo cleaned up; exit 7' TERM; while :; do sleep 0.01; done")
            .timeout(1, 5.0),
    );
    let result = assert_timed_out(&finished, 1.0, 1.0);
    assert_eq!(result.exit_code, Some(7));
    assert_eq!(finished.captured(), "cleaned up\n");
    scene.assert_nothing_left();
}

#[test]
fn a_program_that_ignores_term_is_killed_when_the_grace_is_over() {
    let scene = Scene::new();
    let finished = scene.run(&scene.nasty(&["ignore-term", "ready"]).timeout(1, 0.5));
    let result = assert_timed_out(&finished, 1.5, 1.5);
    assert_eq!(result.exit_code, Some(-9));
    scene.assert_nothing_left();
}

#[test]
fn a_grandchild_that_ignores_term_is_killed_though_its_parent_heeded_it() {
    let scene = Scene::new();
    let finished = scene.run(
        &scene
            .nasty(&["leave-a-child-that-ignores-term", "ready"])
            .timeout(1, 0.5),
    );
    let result = assert_timed_out(&finished, 1.0, 1.5);
    assert_eq!(result.exit_code, Some(-15));
    assert_eq!(result.metadata["leaked_descendants"], "1");
    scene.assert_nothing_left();
}

#[test]
fn a_stopped_program_hears_term_all_the_same() {
    let scene = Scene::new();
    let finished = scene.run(&scene.nasty(&["stop-yourself", "ready"]).timeout(1, 5.0));
    let result = assert_timed_out(&finished, 1.0, 1.0);
    assert_eq!(result.exit_code, Some(-15));
    scene.assert_nothing_left();
}

#[test]
fn without_a_grace_the_timeout_kills() {
    let scene = Scene::new();
    let finished = scene.run(&scene.script("trap '' TERM; sleep 1000").timeout(1, 0.0));
    assert_timed_out(&finished, 1.0, 1.0);
    scene.assert_nothing_left();
}

#[test]
fn output_from_before_the_timeout_is_kept() {
    let scene = Scene::new();
    let finished = scene.run(&scene.script("echo early; exec sleep 1000").timeout(1, 0.5));
    assert_timed_out(&finished, 1.0, 1.5);
    assert_eq!(finished.captured(), "early\n");
}

#[test]
fn a_program_that_writes_without_end_does_not_keep_the_deadline_from_being_met() {
    let scene = Scene::new();
    let finished = scene.run(
        &scene
            .invocation(&["sh", "-c", "trap '' TERM; yes & yes >&2"])
            .metadata("subprocess.max_output_bytes", 1 << 20)
            .timeout(1, 0.5),
    );
    let result = assert_timed_out(&finished, 1.5, 1.5);
    assert_eq!(result.metadata["stdout_truncated"], "true");
    scene.assert_nothing_left();
}
