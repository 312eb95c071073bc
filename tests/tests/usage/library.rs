//! The library: one invocation in, exactly one result out, whatever happens.

use executor_runtime::{
    CancelToken, Event, Events, Host, ManualRunner, Run,
    protocol::{RuntimeInvocation, RuntimeKind, RuntimeResult, Status, Timestamp},
};
use executor_runtime_tests::{
    Invocation, Scene, eventually, in_own_process, namespace::with_mounts, not_tested,
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::{
    collections::BTreeMap,
    ffi::CString,
    fs,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, AsRawFd},
        unix::{ffi::OsStrExt, fs::FileExt, process::CommandExt},
    },
    path::Path,
    process::Command,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

fn kind(name: &str) -> RuntimeKind {
    RuntimeKind::new(name).expect("a kind")
}

fn answer(invocation: &RuntimeInvocation, status: Status) -> RuntimeResult {
    RuntimeResult {
        invocation_id: invocation.invocation_id.clone(),
        runtime_name: invocation.runtime_name.clone(),
        runtime_kind: invocation.runtime_kind.clone(),
        status,
        exit_code: Some(7),
        started_at: Timestamp::now(),
        finished_at: Timestamp::now(),
        stdout_path: None,
        stderr_path: None,
        artifacts: Vec::new(),
        error_summary: None,
        metadata: BTreeMap::from([("note".to_owned(), "kept".to_owned())]),
    }
}

/// A runtime whose `manual` is this closure, and an invocation of it.
fn manual(
    scene: &Scene,
    dispatch: impl Fn(RuntimeInvocation) -> RuntimeResult + Send + Sync + 'static,
) -> (Host, Invocation) {
    let runtime = Host::builder().build().unwrap();
    runtime.register(kind("manual"), Arc::new(ManualRunner::new(dispatch)));
    let invocation = scene
        .invocation(&["manual"])
        .with("runtime_kind", "manual")
        .path("output_result_path", &scene.path("result.json"));
    (runtime, invocation)
}

#[track_caller]
fn assert_written(scene: &Scene, result: &RuntimeResult) {
    let document = fs::read(scene.path("result.json")).expect("the result is written");
    assert_eq!(&RuntimeResult::from_json(&document).unwrap(), result);
}

#[test]
fn only_what_is_registered_is() {
    let runtime = Host::builder().build().unwrap();
    assert_eq!(runtime.kinds(), [kind("subprocess")]);
    assert!(runtime.kinds().contains(&kind("subprocess")));
    assert!(!runtime.kinds().contains(&kind("manual")));
    let runner = || {
        Arc::new(ManualRunner::new(|invocation| {
            answer(&invocation, Status::Succeeded)
        }))
    };
    assert!(runtime.register(kind("manual"), runner()).is_none());
    assert!(runtime.register(kind("manual"), runner()).is_some());
    assert!(runtime.kinds().contains(&kind("manual")));
    assert_eq!(runtime.kinds(), [kind("manual"), kind("subprocess")]);
}

#[test]
fn an_unknown_kind_is_a_rejection_that_is_written_too() {
    let scene = Scene::new();
    let runtime = Host::builder().build().unwrap();
    for name in [
        "http",
        "http_async",
        "container",
        "manual",
        "unknown",
        "x",
        "of_a_plugin",
    ] {
        let invocation = scene
            .script("touch ran")
            .with("runtime_kind", name)
            .path("output_result_path", &scene.path("result.json"));
        let result = runtime.run_blocking(invocation.parsed());
        assert_eq!(result.status, Status::Rejected);
        assert_eq!(result.metadata["error.kind"], "no_runner");
        let summary = result.error_summary.as_deref().unwrap();
        let expected = format!("no runner registered for runtime_kind='{name}'");
        assert!(summary.starts_with(&expected), "{summary}");
        assert!(summary.ends_with("the kinds here are subprocess"), "{summary}");
        assert_written(&scene, &result);
    }
    assert!(!scene.path("ran").exists());
}

#[test]
fn a_dispatchers_answer_is_the_result() {
    let scene = Scene::new();
    for status in [
        Status::Succeeded,
        Status::Failed,
        Status::Rejected,
        Status::TimedOut,
        Status::Cancelled,
    ] {
        let (runtime, invocation) = manual(&scene, move |invocation| answer(&invocation, status));
        let result = runtime.run_blocking(invocation.parsed());
        assert_eq!((result.status, result.exit_code), (status, Some(7)));
        assert_eq!(result.metadata["note"], "kept");
        let kind = result.metadata.get("error.kind").map(String::as_str);
        assert_eq!(
            kind,
            (status != Status::Succeeded).then_some("dispatcher_reported")
        );
        assert_written(&scene, &result);
    }
}

#[test]
fn an_answer_to_another_invocation_or_none_that_is_final_is_a_failure() {
    let scene = Scene::new();
    type Spoil = fn(&mut RuntimeResult);
    let spoilers: [(Spoil, &str); 6] = [
        (
            |result| result.invocation_id = "other".into(),
            "has invocation_id='other' instead of ",
        ),
        (
            |result| result.runtime_name = "other".into(),
            "has runtime_name='other' instead of 'e2e'",
        ),
        (
            |result| result.runtime_kind = kind("other"),
            "has runtime_kind='other' instead of 'manual'",
        ),
        (
            |result| result.status = Status::Pending,
            "has the status 'pending', which is not final",
        ),
        (
            |result| result.status = Status::Running,
            "has the status 'running', which is not final",
        ),
        (
            |result| result.finished_at = Timestamp::parse("2026-01-01T00:00:00Z").unwrap(),
            "has the finished_at '2026-01-01T00:00:00Z', which is before its started_at '",
        ),
    ];
    for (spoil, expected) in spoilers {
        let (runtime, invocation) = manual(&scene, move |invocation| {
            let mut result = answer(&invocation, Status::Succeeded);
            spoil(&mut result);
            result
        });
        let result = runtime.run_blocking(invocation.parsed());
        assert_eq!(result.status, Status::Failed);
        assert_eq!(result.metadata["error.kind"], "dispatcher_protocol");
        let summary = result.error_summary.clone().unwrap();
        assert!(
            summary.starts_with(&format!("the dispatcher's answer {expected}")),
            "{summary}"
        );
        assert_written(&scene, &result);
    }
}

#[test]
fn a_dispatcher_that_panics_fails_its_run_and_no_other() {
    let scene = Scene::new();
    let (runtime, invocation) = manual(&scene, |_| panic!("out of cheese"));
    for _ in 0..3 {
        let result = runtime.run_blocking(invocation.parsed());
        assert_eq!(result.status, Status::Failed);
        assert_eq!(result.metadata["error.kind"], "runner_panicked");
        assert_eq!(
            result.error_summary.as_deref(),
            Some("the runner panicked: out of cheese")
        );
        assert_written(&scene, &result);
    }
    let result = runtime.run_blocking(scene.script("true").parsed());
    assert_eq!(result.status, Status::Succeeded);
}

#[test]
fn a_dispatcher_that_does_not_answer_keeps_neither_the_run_nor_its_thread() {
    let scene = Scene::new();
    let (release, held) = mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let (runtime, invocation) = manual(&scene, move |invocation| {
        // Until the test is over.
        let _ = held.lock().unwrap().recv();
        answer(&invocation, Status::Succeeded)
    });
    let start = Instant::now();
    let timed_out = invocation.clone().with("timeout_seconds", 1).parsed();
    // The thread ends too: what it ran on does not wait for the dispatcher.
    let (ended, end) = mpsc::channel();
    thread::scope(|scope| {
        let thread = scope.spawn(|| runtime.run_blocking(timed_out));
        scope.spawn(move || ended.send(thread.join().unwrap()).is_ok());
        let result = end.recv_timeout(Duration::from_secs(10));
        let took = start.elapsed();
        if result.is_err() {
            release.send(()).unwrap();
        }
        let result = result.expect("the thread ends though the dispatcher does not");
        assert_eq!(result.status, Status::TimedOut);
        assert_eq!(result.metadata["error.kind"], "timeout");
        assert!(
            took >= Duration::from_secs(1) && took < Duration::from_millis(1300),
            "{took:?}"
        );
        assert_written(&scene, &result);
    });
    release.send(()).unwrap();
}

#[test]
fn a_dispatcher_does_not_keep_a_cancelled_run() {
    let scene = Scene::new();
    let (release, held) = mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let (entered, enters) = mpsc::channel();
    let (runtime, invocation) = manual(&scene, move |invocation| {
        entered.send(()).unwrap();
        let _ = held.lock().unwrap().recv();
        answer(&invocation, Status::Succeeded)
    });
    let token = CancelToken::new();
    thread::scope(|scope| {
        let canceller = token.clone();
        scope.spawn(move || {
            enters.recv().unwrap();
            canceller.cancel();
        });
        let result = runtime.run_blocking_until(invocation.parsed(), &token);
        assert_eq!(result.status, Status::Cancelled);
        assert_written(&scene, &result);
        release.send(()).unwrap();
    });
}

#[test]
fn a_run_is_cancelled_from_another_thread_by_its_token_only() {
    let scene = Scene::new();
    let runtime = Host::builder().build().unwrap();
    let token = CancelToken::new();
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            let script = "echo > other; until [ -e go ]; do sleep 0.01; done";
            runtime.run_blocking(scene_script(&scene, script))
        });
        let cancelled = scope.spawn(|| {
            let script = "echo > ready; exec sleep 1000";
            runtime.run_blocking_until(scene_script(&scene, script), &token)
        });
        scene.await_file("ready");
        scene.await_file("other");
        token.cancel();
        assert_eq!(cancelled.join().unwrap().status, Status::Cancelled);
        scene.file("go", "");
        assert_eq!(other.join().unwrap().status, Status::Succeeded);
    });
}

/// A script with this scene's mark on it: the host is the test itself here.
fn scene_script(scene: &Scene, script: &str) -> RuntimeInvocation {
    let mark = scene.mark();
    let (name, value) = mark.split_once('=').unwrap();
    scene.script(script).env(name, value).parsed()
}

#[test]
fn a_token_that_was_raised_before_the_run_ends_it() {
    let scene = Scene::new();
    let runtime = Host::builder().build().unwrap();
    for raise in [CancelToken::cancel, CancelToken::kill] {
        let token = CancelToken::new();
        raise(&token);
        let result = runtime.run_blocking_until(scene_script(&scene, "exec sleep 1000"), &token);
        assert_eq!(result.status, Status::Cancelled);
        assert!(scene.processes().is_empty());
    }
}

#[test]
fn a_caller_follows_a_run_by_its_events() {
    let scene = Scene::new();
    let runtime = Host::builder().build().unwrap();
    let script = "trap 'echo ended; exit 0' TERM; echo begun; while :; do sleep 0.01; done";
    let (tell, told) = mpsc::channel();
    let mut run = Run::new(scene_script(&scene, script));
    run.events = Events::to(move |event| tell.send(event).expect("the test listens"));
    let token = run.cancel.clone();
    thread::scope(|scope| {
        let running = scope.spawn(|| {
            let executor = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            executor.block_on(runtime.execute(&run))
        });
        let Ok(Event::Output(feed)) = told.recv() else {
            panic!("the output comes first");
        };
        // Each time that there is more, it has been said.
        let read = |expected: &str| {
            eventually(expected, || {
                let mut ready = [PollFd::new(feed.grown.as_fd(), PollFlags::POLLIN)];
                poll(&mut ready, PollTimeout::from(10_u16)).ok()?;
                feed.grown.clear();
                let mut buffer = [0; 100];
                let length = feed.files[0].read_at(&mut buffer, 0).ok()?;
                (&buffer[..length] == expected.as_bytes()).then_some(())
            });
        };
        read("begun\n");
        token.cancel();
        match told.recv() {
            Ok(Event::Stopping { grace }) => assert_eq!(grace, Duration::from_secs(2)),
            other => panic!("{other:?}"),
        }
        read("begun\nended\n");
        assert_eq!(running.join().unwrap().status, Status::Cancelled);
        drop(feed);
        assert!(told.try_recv().is_err(), "nothing else is told");
    });
}

#[test]
fn a_run_that_is_dropped_ends_with_everything_it_started() {
    let scene = Scene::new();
    let runtime = Host::builder().build().unwrap();
    let executor = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    for _ in 0..3 {
        let _ = fs::remove_file(scene.path("ready"));
        let invocation = scene_script(
            &scene,
            "trap '' TERM; setsid sleep 1000 & echo > ready; sleep 1000",
        );
        executor.block_on(async {
            let run = runtime.run(invocation);
            tokio::select! {
                result = run => panic!("{result:?}"),
                () = async {
                    while !scene.path("ready").exists() {
                        tokio::task::yield_now().await;
                    }
                } => {}
            }
        });
        eventually("the end of the run", || {
            scene.processes().is_empty().then_some(())
        });
    }
    assert_eq!(
        runtime.run_blocking(scene_script(&scene, "true")).status,
        Status::Succeeded
    );
}

#[test]
fn a_runtime_that_is_dropped_ends_its_idle_supervisors() {
    let scene = Scene::new();
    let children = || fs::read_to_string("/proc/thread-self/children").unwrap();
    // The spawner is this thread's child.
    let before = children();
    let runtime = Host::builder().build().unwrap();
    runtime.run_blocking(scene.script("true").parsed());
    assert_ne!(children(), before);
    drop(runtime);
    assert_eq!(children(), before);
}

#[test]
fn many_threads_share_a_runtime_and_each_gets_its_own_result() {
    let scene = Scene::new();
    let runtime = Host::builder().build().unwrap();
    thread::scope(|scope| {
        for thread in 0..16 {
            let (scene, runtime) = (&scene, &runtime);
            scope.spawn(move || {
                for number in 0..25 {
                    let code = (thread * 25 + number) % 200;
                    let id = format!("{thread}-{number}");
                    let invocation = scene.script(&format!("echo {id}; exit {code}")).id(&id);
                    let result = runtime.run_blocking(invocation.parsed());
                    assert_eq!(result.exit_code, Some(code));
                    assert_eq!(result.invocation_id, id);
                    assert_eq!(
                        fs::read_to_string(result.stdout_path.unwrap()).unwrap(),
                        format!("{id}\n")
                    );
                }
            });
        }
    });
}

#[test]
fn the_next_run_of_an_id_begins_whatever_was_forked_during_the_one_before() {
    let scene = Scene::new();
    let runtime = Host::builder().build().unwrap();
    let run = |script: &str| {
        let invocation = scene.script(script).id("same").timeout(20, 0.5);
        runtime.run_blocking(invocation.parsed())
    };
    let (mut is_forked, forked) = io::pipe().unwrap();
    let (held, mut release) = io::pipe().unwrap();
    let mut stranger = Command::new("true");
    // SAFETY: both calls may be made between `fork` and `exec`; the descriptors are open, and what the calls read and
    // write is valid.
    unsafe {
        stranger.pre_exec(move || {
            libc::write(forked.as_raw_fd(), [1_u8].as_ptr().cast(), 1);
            let mut released = libc::pollfd {
                fd: held.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            };
            libc::poll(&raw mut released, 1, 60_000);
            Ok(())
        });
    }
    let [first, second] = thread::scope(|scope| {
        let first = scope.spawn(|| run("echo > ready; until [ -e go ]; do sleep 0.01; done"));
        scene.await_file("ready");
        // It has a copy of everything that this process has open, until it executes its program.
        scope.spawn(move || stranger.status().unwrap());
        is_forked.read_exact(&mut [0]).unwrap();
        scene.file("go", "");
        let results = [first.join().unwrap(), run("true")];
        release.write_all(&[1]).unwrap();
        results
    });
    assert_eq!(first.status, Status::Succeeded, "{first:?}");
    assert_eq!(second.status, Status::Succeeded, "{second:?}");
}

#[test]
fn a_run_may_run_others_within_a_dispatcher() {
    let scene = Scene::new();
    let runtime = Arc::new(Host::builder().build().unwrap());
    let inner = Arc::downgrade(&runtime);
    let script = scene.script("exit 3");
    runtime.register(
        kind("manual"),
        Arc::new(ManualRunner::new(move |invocation| {
            let runtime = inner.upgrade().expect("it is running");
            let nested = runtime.run_blocking(script.parsed());
            let mut result = answer(&invocation, Status::Failed);
            result.exit_code = nested.exit_code;
            result
        })),
    );
    let invocation = scene.invocation(&["x"]).with("runtime_kind", "manual");
    assert_eq!(runtime.run_blocking(invocation.parsed()).exit_code, Some(3));
}

#[test]
fn descriptors_do_not_add_up() {
    in_own_process(descriptors_do_not_add_up, || {
        let scene = Scene::new();
        let runtime = Host::builder().build().unwrap();
        let run = || {
            for script in ["true", "exit 1", "kill -9 $$", "kill -9 $PPID; sleep 10"] {
                runtime.run_blocking(scene.script(script).parsed());
            }
            runtime.run_blocking(scene.invocation(&["./missing"]).parsed());
        };
        run();
        let before = executor_runtime_tests::descriptor_count();
        (0..100).for_each(|_| run());
        let after = executor_runtime_tests::descriptor_count();
        assert!(after < before + 10, "{before} -> {after}");
    });
}

/// The results of a run that is slow to begin, and of one beside it on the same thread; with what `seen` returns when
/// the other one is done.
fn with_a_run_beside<T>(
    host: &Host,
    slow: &Run,
    beside: RuntimeInvocation,
    seen: impl FnOnce() -> T,
) -> (RuntimeResult, T) {
    let executor = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let results = executor.block_on(async {
        tokio::join!(host.execute(slow), async {
            let result = host.run(beside).await;
            assert_eq!(result.status, Status::Succeeded, "{result:?}");
            seen()
        })
    });
    // A thread that is held up by a file system is not waited for.
    executor.shutdown_background();
    results
}

#[test]
fn removing_what_an_earlier_run_left_holds_up_no_other_run_and_no_deadline() {
    let scene = Scene::new();
    let beside = Scene::new();
    let host = Host::builder().build().unwrap();
    let earlier = scene.path(".executor_runtime/again/artifacts/earlier");
    fs::create_dir_all(&earlier).unwrap();
    for number in 0..100_000 {
        fs::File::create(earlier.join(number.to_string())).unwrap();
    }
    let left = || fs::read_dir(&earlier).is_ok_and(|mut entries| entries.next().is_some());
    let again = || {
        scene
            .script("echo new > \"$RXP_ARTIFACTS_DIR/new\"")
            .id("again")
            .parsed()
    };

    let mut late = Run::new(again());
    late.deadline = Some(Instant::now() + Duration::from_millis(50));
    let (result, left_then) = with_a_run_beside(&host, &late, scene_script(&beside, "true"), left);
    assert_eq!(result.status, Status::TimedOut, "{result:?}");
    assert!(left_then && left(), "the deadline came first");

    // The thread that removes them stops soon after the deadline, and holds the directory until then.
    let (result, left_then) = eventually("the directory is free", || {
        let (result, left_then) =
            with_a_run_beside(&host, &Run::new(again()), scene_script(&beside, "true"), left);
        (result.status != Status::Rejected).then_some((result, left_then))
    });
    assert_eq!(result.status, Status::Succeeded, "{result:?}");
    assert!(left_then, "the other run was over first");
    let ids: Vec<_> = result
        .artifacts
        .iter()
        .map(|found| found.artifact_id.as_str())
        .collect();
    assert_eq!(ids, ["stdout", "stderr", "artifacts/new"]);
}

#[test]
fn a_file_system_that_does_not_answer_holds_up_no_other_run_and_no_deadline() {
    with_mounts(
        a_file_system_that_does_not_answer_holds_up_no_other_run_and_no_deadline,
        || {
            let scene = Scene::new();
            let silent = scene.path("silent");
            fs::create_dir(&silent).unwrap();
            leave_a_local_one_behind(&silent);
            let Some(server) = mount_silent(&silent) else {
                return not_tested(
                    "a file system that does not answer",
                    "there is no /dev/fuse".to_owned(),
                );
            };
            let (tell, told) = mpsc::channel();
            thread::spawn(move || {
                let host = Host::builder().build().unwrap();
                let silent = scene.path("silent");
                for invocation in [
                    scene.script("true").path("working_directory", &silent),
                    scene.script("true").path("artifact_directory", &silent),
                    scene
                        .script("true")
                        .path("artifact_directory", &silent.join("in/it")),
                    scene
                        .script("true")
                        .path("input_payload_path", &silent.join("input")),
                ] {
                    let mut run = Run::new(invocation.parsed());
                    run.deadline = Some(Instant::now() + Duration::from_millis(500));
                    let (result, ()) = with_a_run_beside(&host, &run, scene_script(&scene, "true"), || ());
                    tell.send(result.status).expect("the test listens");
                }
            });
            for _ in 0..4 {
                let status = told.recv_timeout(Duration::from_secs(20));
                assert_eq!(status, Ok(Status::TimedOut));
            }
            // What waits for the file system goes on when its server is gone.
            drop(server);
        },
    );
}

/// Lets a run see a local file system at `directory`, and takes it away: what is mounted next has its device number.
fn leave_a_local_one_behind(directory: &Path) {
    let target = CString::new(directory.as_os_str().as_bytes()).unwrap();
    let tmpfs = c"tmpfs".as_ptr();
    // SAFETY: every string is NUL-terminated.
    let mounted = unsafe { libc::mount(tmpfs, target.as_ptr(), tmpfs, 0, std::ptr::null()) };
    assert_eq!(mounted, 0, "{}", io::Error::last_os_error());
    let host = Host::builder().build().unwrap();
    let run = Invocation::new(directory, &["true"]).parsed();
    let executor = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let result = executor.block_on(host.run(run));
    assert_eq!(result.status, Status::Succeeded, "{result:?}");
    drop(executor);
    drop(host);
    eventually("it is not in use", || {
        // SAFETY: the string is NUL-terminated.
        (unsafe { libc::umount(target.as_ptr()) } == 0).then_some(())
    });
}

/// Mounts a file system whose server, which is returned, does not answer anything.
fn mount_silent(directory: &Path) -> Option<fs::File> {
    let server = fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/fuse")
        .ok()?;
    let target = CString::new(directory.as_os_str().as_bytes()).unwrap();
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", server.as_raw_fd());
    let options = CString::new(options).unwrap();
    // SAFETY: every string is NUL-terminated.
    let mounted = unsafe {
        libc::mount(
            c"silent".as_ptr(),
            target.as_ptr(),
            c"fuse".as_ptr(),
            0,
            options.as_ptr().cast(),
        )
    };
    (mounted == 0).then_some(server)
}
