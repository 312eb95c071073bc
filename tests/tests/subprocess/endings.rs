//! How a run ended, and what it used, is what the kernel says of it.

use executor_runtime_protocol::{RuntimeResult, Status};
use executor_runtime_tests::{Scene, helper_binary};
use std::process::{Command, Stdio};

fn number(result: &RuntimeResult, key: &str) -> f64 {
    result.metadata[key].parse().expect("a number")
}

#[test]
fn every_exit_code_is_reported() {
    let scene = Scene::new();
    for code in [0, 1, 2, 42, 126, 127, 128, 255] {
        let finished = scene.run(&scene.script(&format!("exit {code}")));
        let result = finished.result();
        assert_eq!(result.exit_code, Some(code));
        if code == 0 {
            assert_eq!((result.status, finished.code), (Status::Succeeded, Some(0)));
            assert_eq!(result.error_summary, None);
            assert!(!result.metadata.contains_key("error.kind"));
        } else {
            assert_eq!((result.status, finished.code), (Status::Failed, Some(1)));
            assert_eq!(
                result.error_summary,
                Some(format!("process exited with code {code}"))
            );
            assert_eq!(result.metadata["error.kind"], "exit_status");
        }
    }
}

#[test]
fn death_by_a_signal_is_its_number_below_zero() {
    let scene = Scene::new();
    for (signal, name) in [
        (1, "SIGHUP"),
        (9, "SIGKILL"),
        (11, "SIGSEGV"),
        (13, "SIGPIPE"),
        (15, "SIGTERM"),
    ] {
        let result = scene
            .run(&scene.script(&format!("kill -{signal} $$")))
            .expect(Status::Failed);
        assert_eq!(result.exit_code, Some(-signal));
        assert_eq!(result.metadata["error.kind"], "signal");
        assert_eq!(
            result.error_summary,
            Some(format!("process was ended by {name} (signal {signal})"))
        );
        assert!(!result.metadata.contains_key("core_dumped"));
    }
    let result = scene.run(&scene.script("kill -40 $$")).expect(Status::Failed);
    assert_eq!(result.exit_code, Some(-40));
}

#[test]
fn a_core_dump_is_flagged() {
    let scene = Scene::new();
    let result = scene.run(&scene.nasty(&["dump-core"])).expect(Status::Failed);
    assert_eq!(result.exit_code, Some(-6));
    // Whether there is a core is up to the system's hard limit and core_pattern; the kernel's word for it is
    // what a plain parent sees too.
    use std::os::unix::process::ExitStatusExt;
    let plain = Command::new(helper_binary("nasty"))
        .arg("dump-core")
        .current_dir(scene.root())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(
        result.metadata.contains_key("core_dumped"),
        plain.core_dumped(),
        "{result:?}"
    );
    let core = if plain.core_dumped() { ", core dumped" } else { "" };
    assert_eq!(
        result.error_summary,
        Some(format!("process was ended by SIGABRT (signal 6){core}"))
    );
}

#[test]
fn usage_agrees_with_what_the_program_measures_itself() {
    let scene = Scene::new();
    let finished = scene.run(&scene.nasty(&["burn", "400"]));
    let result = finished.expect(Status::Succeeded);
    let own: f64 = finished.captured().trim().parse().unwrap();
    let user = number(&result, "usage.user_seconds");
    assert!(
        (own - 0.002..own + 0.1).contains(&user),
        "{user} instead of {own}"
    );
    assert!(number(&result, "usage.wall_seconds") >= own);
    assert!(number(&result, "usage.system_seconds") < 0.2);
}

#[test]
fn usage_covers_children_that_were_waited_for_and_those_that_leaked() {
    let scene = Scene::new();
    let nasty = executor_runtime_tests::nasty();
    for script in [
        format!("{nasty} burn 300"),
        // Burns 300 ms, announces it, and is still there when the program ends.
        format!(
            "({nasty} burn 300; echo > burnt; exec sleep 1000) & until [ -s burnt ]; do sleep 0.01; done"
        ),
    ] {
        let result = scene.run(&scene.script(&script)).expect(Status::Succeeded);
        let user = number(&result, "usage.user_seconds");
        assert!((0.298..0.6).contains(&user), "{user}: {script}");
    }
}

#[test]
fn peak_memory_is_that_of_the_largest_process() {
    let scene = Scene::new();
    let result = scene
        .run(&scene.nasty(&["allocate", "104857600"]))
        .expect(Status::Succeeded);
    let peak = number(&result, "usage.max_rss_bytes") / f64::from(1 << 20);
    assert!((100.0..110.0).contains(&peak), "{peak} MiB");
}

#[test]
fn a_small_program_is_small_however_large_the_host() {
    // Each way to start: before and after the host has filled a gigabyte; each prints the peak in bytes.
    for when in ["runtime-first", "memory-first"] {
        let scene = Scene::new();
        let mut command = Command::new(helper_binary("large-host"));
        let output = scene
            .marked(&mut command)
            .args([when, scene.root().to_str().unwrap()])
            .output()
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        let peak: u64 = printed
            .trim()
            .parse()
            .unwrap_or_else(|_| panic!("{printed} {}", String::from_utf8_lossy(&output.stderr)));
        assert!((500_000..8_000_000).contains(&peak), "{when}: {peak}");
    }
}

#[test]
fn times_and_identity_are_those_of_the_run() {
    let scene = Scene::new();
    let result = scene
        .run(&scene.script("sleep 0.05").id("who"))
        .expect(Status::Succeeded);
    assert_eq!(result.invocation_id, "who");
    assert_eq!(result.runtime_name, "e2e");
    assert_eq!(result.runtime_kind.as_str(), "subprocess");
    assert!(result.started_at.as_str() < result.finished_at.as_str());
    assert!(number(&result, "usage.wall_seconds") >= 0.05);
}
