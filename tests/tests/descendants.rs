//! No descendant survives a run, however it detaches itself and however the run ends.

use executor_runtime_protocol::Status;
use executor_runtime_tests::Scene;
use std::time::Duration;

#[test]
fn what_a_run_that_succeeded_leaves_behind_is_ended_and_counted() {
    for (how, count) in [
        ("in-background", "1"),
        ("in-its-own-session", "1"),
        ("forked-twice", "1"),
        ("stopped", "1"),
        ("in-a-family", "14"),
    ] {
        let scene = Scene::new();
        let finished = scene.run(&scene.nasty(&["leave", how, "ready"]));
        let result = finished.expect(Status::Succeeded);
        assert!(scene.path("ready").exists(), "{how}");
        scene.assert_nothing_left();
        assert_eq!(result.metadata["leaked_descendants"], count, "{how}");
        assert_eq!(result.exit_code, Some(0), "{how}");
    }
}

#[test]
fn what_a_run_that_failed_or_died_leaves_behind_is_ended_too() {
    for (end, status, code) in [
        ("exit 3", Status::Failed, 3),
        ("kill -SEGV $$", Status::Failed, -11),
        ("kill -KILL $$", Status::Failed, -9),
    ] {
        let scene = Scene::new();
        let script = format!("setsid sleep 1000 & (trap '' TERM HUP; sleep 1000) & sleep 1000 & {end}");
        let result = scene.run(&scene.script(&script)).expect(status);
        scene.assert_nothing_left();
        assert_eq!(result.exit_code, Some(code));
        assert!(result.metadata.contains_key("leaked_descendants"), "{result:?}");
    }
}

#[test]
fn a_run_that_leaves_nothing_says_nothing_of_it() {
    let scene = Scene::new();
    let result = scene
        .run(&scene.script("sleep 0 & (exit 3) & wait"))
        .expect(Status::Succeeded);
    assert!(!result.metadata.contains_key("leaked_descendants"), "{result:?}");
    scene.assert_nothing_left();
}

#[test]
fn a_run_that_times_out_takes_everything_that_detached_itself_along() {
    for how in ["in-its-own-session", "forked-twice", "in-a-family", "stopped"] {
        let scene = Scene::new();
        let script = format!(
            "{} leave {how} ready; exec sleep 1000",
            executor_runtime_tests::nasty()
        );
        let finished = scene.run(&scene.script(&script).timeout(1, 0.2));
        finished.expect(Status::TimedOut);
        scene.assert_nothing_left();
    }
}

#[test]
fn a_run_with_an_inherited_pipe_in_other_hands_returns_within_half_a_second() {
    for arguments in [
        // Holds stdout and stderr open, and never writes.
        &["leave", "in-its-own-session", "ready"][..],
        // Writes for ever.
        &["leave-writing"],
    ] {
        let scene = Scene::new();
        let finished = scene.run(&scene.nasty(arguments));
        let result = finished.expect(Status::Succeeded);
        assert!(
            finished.wall < Duration::from_millis(500),
            "{arguments:?}: {:?}",
            finished.wall
        );
        scene.assert_nothing_left();
        assert_eq!(result.metadata["leaked_descendants"], "1");
    }
}

#[test]
fn a_plain_fork_bomb_ends_with_the_run() {
    let scene = Scene::new();
    let finished = scene.run(&scene.nasty(&["bomb", "plain", "1500"]).timeout(1, 0.0));
    finished.expect(Status::TimedOut);
    scene.assert_nothing_left();
}

#[test]
fn a_fork_bomb_whose_every_process_leads_a_session_ends_with_the_run() {
    let scene = Scene::new();
    let finished = scene.run(&scene.nasty(&["bomb", "with-sessions", "1500"]).timeout(1, 0.0));
    finished.expect(Status::TimedOut);
    scene.assert_nothing_left();
}

#[test]
fn a_fork_bomb_that_respawns_what_is_killed_ends_with_the_run() {
    // Each process replaces itself by two, briefly living ones: at any time something is being made.
    let scene = Scene::new();
    let program = scene.program("respawn", "#!/bin/sh\nsetsid \"$0\" &\nexec sleep 0.05\n");
    let finished = scene.run(&scene.invocation(&[program.to_str().unwrap()]).timeout(2, 0.0));
    finished.result();
    scene.assert_nothing_left();
}
