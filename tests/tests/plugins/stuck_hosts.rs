//! What could hold a host up past its deadline: ancestors of a plugin that were stopped, a template that only pretends
//! to be one, a stderr that nobody reads, files that take long to read.

use executor_runtime_protocol::{RuntimeResult, Status};
use executor_runtime_tests::{Invocation, Scene, eventually, fixtures, installed::Installed};
use std::{
    io::Read,
    process::ChildStderr,
    time::{Duration, Instant},
};

/// What a host may take over its timeout: the grace, and for the processes that it gives up on in turn.
const GRACE: Duration = Duration::from_secs(2);
const GIVING_UP: Duration = Duration::from_secs(5);

/// The result, whose host has to end within `most`, and what nobody has read of its stderr.
#[track_caller]
fn run_within(most: Duration, place: &Installed, invocation: &Invocation) -> (RuntimeResult, ChildStderr) {
    let begun = Instant::now();
    let mut host = place.start(invocation);
    let unread = host.stderr.take().unwrap();
    let mut stdout = Vec::new();
    host.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
    host.wait().unwrap();
    assert!(begun.elapsed() < most, "{:?}", begun.elapsed());
    place.scene.assert_nothing_left_within(Duration::from_secs(1));
    (RuntimeResult::from_json(&stdout).unwrap(), unread)
}

#[test]
fn a_plugin_that_stops_what_supervises_it_is_ended() {
    let place = Installed::file("hostile", &fixtures::native("fixture-hostile"));
    let invocation = place
        .invocation(&[])
        .with("timeout_seconds", 1)
        .metadata("hostile.do", "stop_its_ancestors");
    let (result, _) = run_within(Duration::from_secs(1) + GRACE + GIVING_UP, &place, &invocation);
    assert_eq!(result.status, Status::TimedOut, "{result:#?}");
}

#[test]
fn a_library_that_pretends_to_be_loaded_is_ended() {
    let place = Installed::file("constructor", &fixtures::native("fixture-constructor"));
    place.scene.file("plugins/constructor.txt", "pretend");
    let invocation = place.invocation(&[]).with("timeout_seconds", 1);
    let (result, _) = run_within(Duration::from_secs(1) + GRACE + GIVING_UP, &place, &invocation);
    assert_eq!(result.status, Status::TimedOut, "{result:#?}");
}

#[test]
fn a_log_that_nobody_reads_holds_up_nobody() {
    let place = Installed::file("behaviours", &fixtures::component("fixture-behaviours"));
    let invocation = place
        .invocation(&[])
        .metadata("fixture.behaviour", "log_flood")
        .metadata("fixture.count", 1000);
    let (result, mut unread) = run_within(Duration::from_secs(10), &place, &invocation);
    assert_eq!(result.status, Status::Succeeded, "{result:#?}");
    // What there was room for are whole lines.
    let mut said = String::new();
    unread.read_to_string(&mut said).unwrap();
    assert!(said.len() > 30_000 && said.ends_with('\n'), "{}", said.len());
}

#[test]
fn files_that_take_long_to_read_are_listed_without_their_digest() {
    let scene = Scene::new();
    let script = "echo small > $RXP_ARTIFACTS_DIR/a; truncate -s 300G $RXP_ARTIFACTS_DIR/b";
    let finished = scene.run(&scene.script(script).with("timeout_seconds", 2));
    assert!(finished.wall < Duration::from_secs(3), "{:?}", finished.wall);
    let result = finished.expect(Status::Succeeded);
    assert_eq!(result.metadata["artifacts_undigested"], "1");
    let [.., small, large] = &result.artifacts[..] else {
        panic!("two files were left: {result:#?}");
    };
    assert_eq!(small.metadata["sha256"].len(), 64);
    assert_eq!(large.metadata["size_bytes"], (300_u64 << 30).to_string());
    assert!(!large.metadata.contains_key("sha256"));
}

#[test]
fn a_host_that_reads_files_for_long_can_be_told_to_stop() {
    let scene = Scene::new();
    let host = scene.start(&scene.script("truncate -s 300G $RXP_ARTIFACTS_DIR/b; echo > done"));
    scene.await_file("done");
    let child = |text| scene.processes_with(text).is_empty().then_some(());
    eventually("the run being over", || child("truncate"));
    let begun = Instant::now();
    // SAFETY: no memory is involved.
    unsafe { libc::kill(host.id() as i32, libc::SIGTERM) };
    let finished = scene.finish(host);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(finished.result().metadata["artifacts_undigested"], "1");
}
