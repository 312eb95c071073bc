//! A host that is killed at any moment leaves no process, and no half-written result.

use executor_runtime_protocol::RuntimeResult;
use executor_runtime_tests::Scene;
use std::{
    fs, thread,
    time::{Duration, Instant},
};

/// Kills a host `delay` after its start, and looks at what is left.
fn kill_after(delay: Duration, arguments: &[&str]) -> &'static str {
    let scene = Scene::new();
    let path = scene.path("results/result.json");
    let invocation = scene.nasty(arguments).path("output_result_path", &path);
    let start = Instant::now();
    let mut host = scene.start(&invocation);
    // The moment is what is being varied: nothing is waited for.
    thread::sleep(delay.saturating_sub(start.elapsed()));
    host.kill().unwrap();
    host.wait().unwrap();
    scene.assert_nothing_left_within(Duration::from_secs(1));
    match fs::read(&path) {
        Ok(document) => {
            RuntimeResult::from_json(&document).expect("the result file is whole");
            "written"
        }
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
            "absent"
        }
    }
}

#[test]
fn at_sixty_moments_while_a_run_that_detaches_processes_is_under_way() {
    let scenarios: [&[&str]; 3] = [
        &["ignore-term", "ready"],
        &["bomb", "with-sessions", "40"],
        &["leave-a-child-that-ignores-term", "ready"],
    ];
    for moment in 0..60 {
        // 0 to 40 ms in steps of less than a millisecond, and a few later ones.
        let delay = match moment {
            0..54 => Duration::from_micros(750 * moment),
            _ => Duration::from_millis(40 * (moment - 52)),
        };
        kill_after(delay, scenarios[moment as usize % scenarios.len()]);
    }
}

#[test]
fn at_sixty_moments_while_a_run_ends_and_its_result_is_written() {
    let mut seen = std::collections::BTreeMap::new();
    // How long a run takes depends on what else the machine does.
    let scene = Scene::new();
    let whole = scene.run(&scene.nasty(&["leave", "in-a-family", "ready"])).wall;
    for moment in 0..60_u32 {
        let how = ["in-a-family", "forked-twice"][moment as usize % 2];
        let left = kill_after(whole * moment / 30, &["leave", how, "ready"]);
        *seen.entry(left).or_insert(0) += 1;
    }
    // Both sides of the end of the run were hit.
    assert!(seen.len() == 2, "{seen:?}");
}

#[test]
fn with_a_program_that_was_stopped() {
    let scene = Scene::new();
    let mut host = scene.start(&scene.nasty(&["stop-yourself", "ready"]));
    scene.await_file("ready");
    host.kill().unwrap();
    host.wait().unwrap();
    scene.assert_nothing_left_within(Duration::from_secs(1));
}

#[test]
fn with_many_runs_in_one_process() {
    let scene = Scene::new();
    let mut command = std::process::Command::new(executor_runtime_tests::helper_binary("many-runs"));
    let mut host = scene
        .marked(&mut command)
        .args(["8", scene.root().to_str().unwrap()])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    for run in 0..8 {
        scene.await_file(&format!("ready-{run}"));
    }
    host.kill().unwrap();
    host.wait().unwrap();
    scene.assert_nothing_left_within(Duration::from_secs(1));
}

#[test]
fn the_directory_is_free_for_the_next_run_of_the_same_id() {
    let scene = Scene::new();
    let invocation = scene.nasty(&["ignore-term", "ready"]);
    let mut host = scene.start(&invocation);
    scene.await_file("ready");
    host.kill().unwrap();
    host.wait().unwrap();
    scene.assert_nothing_left_within(Duration::from_secs(1));
    let again = scene
        .script("echo again")
        .id(invocation.0["invocation_id"].as_str().unwrap());
    let finished = scene.run(&again);
    assert_eq!(finished.captured(), "again\n");
}
