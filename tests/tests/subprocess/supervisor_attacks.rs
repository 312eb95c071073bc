//! A run that attacks those who supervise it still leaves nothing behind, and hurts no other run.

use executor_runtime::{Host, protocol::Status};
use executor_runtime_tests::Scene;
use std::{
    thread,
    time::{Duration, Instant},
};

#[test]
fn a_run_that_kills_its_supervisor_fails_and_leaves_nothing() {
    let scene = Scene::new();
    let result = scene
        .run(&scene.nasty(&["signal-supervisor", "9", "ready"]).timeout(20, 0.5))
        .expect(Status::Failed);
    scene.assert_nothing_left();
    assert_eq!(result.metadata["error.kind"], "supervisor_lost");
    assert_eq!(
        result.error_summary.as_deref(),
        Some("the process that supervised this run was killed; every process of the run was ended")
    );
    assert_eq!(result.exit_code, None);
}

#[test]
fn signals_that_end_other_processes_do_nothing_to_a_supervisor() {
    for signal in ["1", "2", "3", "10", "13", "14", "15"] {
        let scene = Scene::new();
        let script = format!("kill -{signal} $PPID; echo survived");
        let finished = scene.run(&scene.script(&script));
        finished.expect(Status::Succeeded);
        assert_eq!(finished.captured(), "survived\n", "signal {signal}");
    }
}

#[test]
fn a_run_that_stops_its_supervisor_is_supervised_all_the_same() {
    let scene = Scene::new();
    let start = Instant::now();
    let finished = scene.run(&scene.nasty(&["signal-supervisor", "19", "ready"]).timeout(1, 0.2));
    finished.expect(Status::TimedOut);
    assert!(
        start.elapsed() < Duration::from_millis(1500),
        "{:?}",
        start.elapsed()
    );
    scene.assert_nothing_left();
}

#[test]
fn a_run_without_a_deadline_that_stops_its_supervisor_ends_when_the_program_does() {
    let scene = Scene::new();
    let finished = scene.run(&scene.script("kill -STOP $PPID; echo done"));
    finished.expect(Status::Succeeded);
    assert_eq!(finished.captured(), "done\n");
    scene.assert_nothing_left();
}

#[test]
fn a_host_that_dies_while_its_supervisor_is_stopped_leaves_nothing() {
    for start in [Scene::start, Scene::start_batch] {
        let scene = Scene::new();
        let mut host = start(&scene, &scene.nasty(&["signal-supervisor", "19", "ready"]));
        scene.await_file("ready");
        host.kill().unwrap();
        host.wait().unwrap();
        scene.assert_nothing_left_within(Duration::from_secs(1));
    }
}

#[test]
fn a_run_that_stops_its_supervisor_and_kills_its_host_is_ended() {
    // The host of a single run is the supervisor's parent.
    for attack in [
        "kill -STOP $PPID; kill -KILL $host",
        "kill -KILL $host; kill -STOP $PPID",
    ] {
        for _ in 0..10 {
            let scene = Scene::new();
            let script = format!(
                "host=$(cut -d' ' -f4 /proc/$PPID/stat); {attack}; setsid sleep 1000 & exec sleep 1000"
            );
            let mut host = scene.start(&scene.script(&script));
            host.wait().unwrap();
            scene.assert_nothing_left_within(Duration::from_secs(10));
        }
    }
}

#[test]
fn a_run_that_stops_its_supervisor_again_and_again_is_supervised_all_the_same() {
    let scene = Scene::new();
    let script = "(while :; do kill -STOP $PPID; done) & exec sleep 1000";
    let finished = scene.run(&scene.script(script).timeout(1, 0.2));
    finished.expect(Status::TimedOut);
    scene.assert_nothing_left();
}

#[test]
fn a_host_that_was_stopped_goes_on_where_it_was() {
    let scene = Scene::new();
    let script = "host=$(cut -d' ' -f4 /proc/$PPID/stat); kill -STOP $host; kill -STOP $PPID; echo > stopped";
    let host = scene.start(&scene.script(script));
    scene.await_file("stopped");
    // SAFETY: no memory is involved.
    unsafe { libc::kill(host.id() as i32, libc::SIGCONT) };
    scene.finish(host).expect(Status::Succeeded);
    scene.assert_nothing_left();
}

#[test]
fn a_run_that_stops_the_spawner_keeps_the_host_neither_from_ending_nor_from_other_runs() {
    let scene = Scene::new();
    let stop = scene.nasty(&["stop-spawner", "ready"]);
    let finished = scene.finish(scene.start_batch(&stop));
    assert_eq!(finished.code, Some(0), "{finished:?}");
    scene.assert_nothing_left();

    let runtime = Host::builder().build().unwrap();
    let run = |invocation: &executor_runtime_tests::Invocation| runtime.run_blocking(invocation.parsed());
    for _ in 0..3 {
        assert_eq!(run(&stop).status, Status::Succeeded);
        // Has the spawner end what is left, and make another supervisor.
        let lost = run(&scene.script("kill -KILL $PPID; sleep 1000"));
        assert!(
            lost.error_summary
                .unwrap()
                .ends_with("every process of the run was ended")
        );
        assert_eq!(run(&scene.script("true")).status, Status::Succeeded);
    }
    drop(runtime);
}

#[test]
fn a_host_that_dies_while_its_spawner_is_stopped_leaves_nothing() {
    let scene = Scene::new();
    let script = "kill -STOP $(cut -d' ' -f4 /proc/$PPID/stat); echo > stopped; exec sleep 1000";
    let mut host = scene.start_batch(&scene.script(script));
    scene.await_file("stopped");
    host.kill().unwrap();
    host.wait().unwrap();
    scene.assert_nothing_left_within(Duration::from_secs(1));
}

#[test]
fn other_runs_of_the_same_host_go_on_and_later_ones_work() {
    let scene = Scene::new();
    let runtime = Host::builder().build().unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let result = runtime.run_blocking(scene.script("kill -KILL $PPID; sleep 1000").parsed());
                    assert_eq!(result.metadata["error.kind"], "supervisor_lost", "{result:?}");
                    let result = runtime.run_blocking(scene.script("sleep 0.02; exit 0").parsed());
                    assert_eq!(result.status, Status::Succeeded, "{result:?}");
                }
            });
        }
    });
}

#[test]
fn a_host_whose_spawner_was_killed_makes_another() {
    let scene = Scene::new();
    let runtime = Host::builder().build().unwrap();
    let run = |script: &str| runtime.run_blocking(scene.script(script).parsed());
    for _ in 0..5 {
        let result = run("kill -KILL $(cut -d' ' -f4 /proc/$PPID/stat); echo alive");
        assert_eq!(result.status, Status::Succeeded, "{result:?}");
        // The supervisor is killed too, so that the next run needs a new one.
        run("kill -KILL $PPID; sleep 2");
        assert_eq!(run("true").status, Status::Succeeded);
    }
}
