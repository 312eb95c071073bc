//! No descendant survives a run, however it detaches itself and however the run ends; nor does a process of the host.

use executor_runtime_protocol::Status;
use executor_runtime_tests::{
    Invocation, Scene, fixtures, helper_binary, installed::Installed, namespace::with_mounts,
};
use std::{ffi::CString, fs, io, os::unix::ffi::OsStrExt, path::Path, time::Duration};

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

/// Runs `invocation` under a process that adopts what the host leaves, and expects it to have left nothing.
#[track_caller]
fn assert_no_orphans(runs: u32, place: &Installed, invocation: &Invocation) {
    assert_no_orphans_of("run", runs, place, invocation);
}

#[track_caller]
fn assert_no_orphans_of(command: &str, runs: u32, place: &Installed, invocation: &Invocation) {
    let file = place.scene.file("invocation.json", invocation.text());
    let host = executor_runtime_tests::host_binary();
    let (host, file) = (host.to_str().unwrap(), file.to_str().unwrap());
    let runs = runs.to_string();
    let arguments = ["adopt-orphans", &runs, host, command, file];
    let mut command = place.scene.host_from(&helper_binary("nasty"), &arguments);
    let finished = place.scene.run_command(place.equip(&mut command), b"");
    assert_eq!(finished.stdout, b"0\n", "{finished:?}");
}

#[test]
fn a_host_collects_its_own_processes_before_it_ends() {
    let greet = Installed::file("greet", &fixtures::native("fixture-greet"));
    let scene = &greet.scene;
    assert_no_orphans(20, &greet, &scene.script("true"));
    assert_no_orphans(5, &greet, &scene.nasty(&["leave", "in-a-family", "ready"]));
    assert_no_orphans(1, &greet, &scene.script("sleep 1000").timeout(1, 0.1));
    for attack in [
        "kill -STOP $PPID",
        "kill -KILL $PPID",
        "setsid sh -c '(sleep 1000 &) & sleep 1000' & kill -KILL $PPID; sleep 1000",
    ] {
        assert_no_orphans(5, &greet, &scene.script(attack));
        assert_no_orphans_of("batch", 5, &greet, &scene.script(attack));
    }
    assert_no_orphans_of("batch", 5, &greet, &scene.nasty(&["stop-spawner", "ready"]));
    assert_no_orphans(5, &greet, &scene.invocation(&["no-such-program"]));
    assert_no_orphans(
        5,
        &greet,
        &scene.script("true").with("runtime_kind", "no_such_kind"),
    );
    assert_no_orphans(
        5,
        &greet,
        &scene.script("true").with("timeout_seconds", "not a number"),
    );
    assert_no_orphans(5, &greet, &greet.invocation(&[("greet.name", "Ada")]));
}

#[test]
fn a_working_directory_can_be_unmounted_when_its_run_has_ended() {
    with_mounts(
        a_working_directory_can_be_unmounted_when_its_run_has_ended,
        || {
            let scene = Scene::new();
            let directory = scene.path("mounted");
            fs::create_dir(&directory).unwrap();
            for run in 0..30 {
                mount_memory(&directory).unwrap();
                let invocation = Invocation::new(&directory, &["true"]);
                let file = scene.file("invocation.json", invocation.text());
                let mut host = scene.host(&["run", file.to_str().unwrap()]);
                // The host's own directory, too.
                let finished = scene.run_command(host.current_dir(&directory), b"");
                let unmounted = unmount(&directory);
                finished.expect(Status::Succeeded);
                assert!(unmounted.is_ok(), "after run {run}: {unmounted:?}");
            }
        },
    );
}

fn path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

fn mount_memory(directory: &Path) -> io::Result<()> {
    let (kind, directory) = (c"tmpfs".as_ptr(), path(directory));
    // SAFETY: every string ends with NUL; no data is passed.
    match unsafe { libc::mount(kind, directory.as_ptr(), kind, 0, std::ptr::null()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn unmount(directory: &Path) -> io::Result<()> {
    // SAFETY: the path ends with NUL.
    match unsafe { libc::umount(path(directory).as_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[test]
fn the_hosts_helpers_keep_no_directory_in_use() {
    for (command, count) in [("run", 1), ("batch", 2)] {
        let scene = Scene::new();
        let invocation = scene.script("echo > ready; exec sleep 1000");
        let host = match command {
            "run" => scene.start(&invocation),
            _ => scene.start_batch(&invocation),
        };
        scene.await_file("ready");
        let own = executor_runtime_tests::host_binary().display().to_string();
        let mut helpers = scene.processes_with(&own);
        helpers.retain(|process| process.pid as u32 != host.id());
        // A supervisor; for many runs a spawner, too.
        assert!(helpers.len() >= count, "{command}: {helpers:?}");
        for helper in &helpers {
            let directory = fs::read_link(format!("/proc/{}/cwd", helper.pid)).unwrap();
            assert_eq!(directory, Path::new("/"), "{helper:?}");
        }
        // SAFETY: no memory is involved.
        unsafe { libc::kill(host.id() as i32, libc::SIGTERM) };
        let finished = scene.finish(host);
        assert_eq!(finished.code, Some(128 + libc::SIGTERM), "{finished:?}");
        scene.assert_nothing_left();
    }
}
