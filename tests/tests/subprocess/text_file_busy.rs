//! A program that was written a moment ago can be run, whatever other threads fork meanwhile.

use executor_runtime::{Host, protocol::Status};
use executor_runtime_tests::Scene;
use std::thread;

#[test]
fn eight_threads_write_and_run_two_hundred_programs_each() {
    let scene = Scene::new();
    let runtime = Host::builder().build().unwrap();
    thread::scope(|scope| {
        for thread in 0..8 {
            let (scene, runtime) = (&scene, &runtime);
            scope.spawn(move || {
                for number in 0..200 {
                    let name = format!("program-{thread}-{number}");
                    let program = scene.program(&name, "#!/bin/sh\nexit 0\n");
                    let invocation = scene.invocation(&[program.to_str().unwrap()]);
                    let result = runtime.run_blocking(invocation.parsed());
                    assert_eq!(result.status, Status::Succeeded, "{result:?}");
                    if number % 8 == 0 {
                        // A stranger's fork, which inherits whatever is open for writing at the moment.
                        std::process::Command::new("true").status().unwrap();
                    }
                }
            });
        }
    });
}

#[test]
fn a_program_that_stays_open_for_writing_is_rejected_with_the_reason() {
    let scene = Scene::new();
    let program = scene.program("busy", "#!/bin/sh\nexit 0\n");
    let _writer = std::fs::OpenOptions::new().append(true).open(&program).unwrap();
    let result = scene
        .run(&scene.invocation(&["./busy"]))
        .expect_rejected("exec_permission");
    assert_eq!(
        result.error_summary.as_deref(),
        Some("'./busy' is still open for writing by another process")
    );
}
