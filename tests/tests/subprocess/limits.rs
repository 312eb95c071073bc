//! Limits that an invocation sets on itself hold.

use executor_runtime_protocol::Status;
use executor_runtime_tests::{Scene, nasty};

#[test]
fn memory_over_the_limit_is_refused_to_the_program() {
    let scene = Scene::new();
    let limited = |bytes: &str| {
        scene.run(
            &scene
                .nasty(&["allocate", bytes])
                .metadata("limits.memory_bytes", 64 << 20),
        )
    };
    let finished = limited("16777216");
    finished.expect(Status::Succeeded);
    assert_eq!(finished.captured(), "allocated 16777216\n");
    let result = limited("134217728").expect(Status::Failed);
    assert_eq!(result.exit_code, Some(75));
    let error = std::fs::read_to_string(result.stderr_path.unwrap()).unwrap();
    assert!(error.contains("Cannot allocate memory"), "{error}");
}

#[test]
fn a_program_over_its_cpu_time_is_ended() {
    let scene = Scene::new();
    let result = scene
        .run(&scene.nasty(&["burn", "60000"]).metadata("limits.cpu_seconds", 1))
        .expect(Status::Failed);
    assert_eq!(result.exit_code, Some(i64::from(-libc::SIGXCPU)));
    // The limit is on both together; on a busy machine the kernel's part is larger.
    let seconds = |key: &str| result.metadata[key].parse::<f64>().unwrap();
    let used = seconds("usage.user_seconds") + seconds("usage.system_seconds");
    assert!((0.9..1.3).contains(&used), "{used}");
}

#[test]
fn a_program_that_ignores_the_warning_about_its_cpu_time_is_killed_a_second_later() {
    let scene = Scene::new();
    let script = format!("trap '' XCPU; exec {} burn 60000", nasty());
    let result = scene
        .run(&scene.script(&script).metadata("limits.cpu_seconds", 1))
        .expect(Status::Failed);
    assert_eq!(result.exit_code, Some(-9));
}

#[test]
fn descriptors_over_the_limit_are_refused_to_the_program() {
    let scene = Scene::new();
    let finished = scene.run(&scene.nasty(&["open-files"]).metadata("limits.open_files", 20));
    finished.expect(Status::Succeeded);
    assert_eq!(finished.captured(), "20\n");
}

#[test]
fn limits_hold_for_every_process_of_the_run() {
    let scene = Scene::new();
    let script = format!("setsid -w {} open-files", nasty());
    let finished = scene.run(&scene.script(&script).metadata("limits.open_files", 20));
    assert_eq!(finished.captured(), "20\n");
}

#[test]
fn a_run_with_more_processes_than_allowed_is_ended() {
    for how in ["plain", "with-sessions"] {
        let scene = Scene::new();
        let result = scene
            .run(
                &scene
                    .nasty(&["bomb", how, "500"])
                    .metadata("limits.processes", 10)
                    .timeout(20, 1.0),
            )
            .expect(Status::Failed);
        scene.assert_nothing_left();
        assert_eq!(result.metadata["error.kind"], "process_limit", "{result:?}");
        assert!(result.error_summary.unwrap().contains("limits.processes"));
    }
}

#[test]
fn a_run_with_just_as_many_processes_as_allowed_goes_on() {
    let scene = Scene::new();
    // A shell and nine more, for longer than it takes to count them.
    let script = "for i in 1 2 3 4 5 6 7 8 9; do sleep 0.15 & done; wait";
    scene
        .run(&scene.script(script).metadata("limits.processes", 10))
        .expect(Status::Succeeded);
    scene
        .run(&scene.script(script).metadata("limits.processes", 9))
        .expect(Status::Failed);
}
