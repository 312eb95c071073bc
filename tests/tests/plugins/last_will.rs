//! A plugin's last will is carried out however the run ends, unless the plugin has withdrawn it: real processes, which are
//! killed one by one.

use executor_runtime_protocol::{RuntimeResult, Status};
use executor_runtime_tests::{Invocation, eventually, fixtures, installed::Installed, status_field};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    os::{fd::AsRawFd, unix::process::CommandExt},
    path::PathBuf,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

fn installed() -> Installed {
    let file = fixtures::native("fixture-last-will");
    Installed::file("last_will", &file).configured("plugins.last-will.limits = { grace_seconds = 0.3 }")
}

/// A will that writes a line to `carried-out`.
fn will(installed: &Installed) -> Vec<String> {
    let file = installed.scene.path("carried-out");
    let script = format!("echo carried out >> {}", file.display());
    ["sh", "-c", &script].map(str::to_owned).to_vec()
}

fn invocation(installed: &Installed, what: &str, command: &[String]) -> Invocation {
    let command = serde_json::to_string(command).unwrap();
    let told = installed.scene.path("told");
    installed.invocation(&[
        ("will.do", what),
        ("will.command", &command),
        ("will.told", told.to_str().unwrap()),
    ])
}

/// What the will has written.
fn carried_out(installed: &Installed) -> String {
    fs::read_to_string(installed.scene.path("carried-out")).unwrap_or_default()
}

const ONCE: &str = "carried out\n";

#[test]
fn it_is_carried_out_before_the_result_is_there_unless_it_was_withdrawn() {
    for (what, status, expected) in [
        ("leave_none", Status::Succeeded, ""),
        ("withdraw", Status::Succeeded, ""),
        ("return", Status::Succeeded, ONCE),
        ("leave_two", Status::Succeeded, ONCE),
        ("withdraw_and_leave_again", Status::Succeeded, ONCE),
        ("leave_one_that_is_refused_after", Status::Succeeded, ONCE),
        ("leave_a_process", Status::Succeeded, ONCE),
        ("fail", Status::Failed, ONCE),
        ("panic", Status::Failed, ONCE),
        ("abort", Status::Failed, ONCE),
        ("exit", Status::Failed, ONCE),
        ("close_all_descriptors", Status::Failed, ONCE),
        ("hang", Status::TimedOut, ONCE),
    ] {
        let installed = installed();
        let seconds = if what == "hang" { 1 } else { 60 };
        let invocation = invocation(&installed, what, &will(&installed)).with("timeout_seconds", seconds);
        let finished = installed.run(&invocation);
        assert_eq!(carried_out(&installed), expected, "{what}: {finished:?}");
        finished.expect(status);
        installed.scene.assert_nothing_left();
    }
}

#[test]
fn it_starts_as_a_program_should_and_is_the_one_that_was_there_when_it_was_left() {
    let installed = installed();
    let program = installed.scene.program(
        "cleanup",
        "#!/bin/sh\n{ pwd; echo \"$@\"; cat; grep -e SigBlk -e SigIgn /proc/self/status; } > \"$1\"\n",
    );
    let seen = installed.scene.path("seen");
    let command = [&program, &seen].map(|path| path.to_str().unwrap().to_owned());
    let command = [&command[..], &["a b".to_owned(), "'\"$x".to_owned()]].concat();
    let mut host = installed.start(&invocation(&installed, "hang", &command).with("timeout_seconds", 60));
    let plugin = plugin(&installed).plugin;
    fs::rename(&program, installed.scene.path("old")).unwrap();
    installed.scene.program("cleanup", "#!/bin/sh\nexit 1\n");
    kill(plugin, Signal::SIGKILL).unwrap();
    host.wait().unwrap();
    let seen = fs::read_to_string(&seen).unwrap();
    let none = "0000000000000000";
    assert_eq!(
        seen,
        format!(
            "/\n{} a b '\"$x\nSigBlk:\t{none}\nSigIgn:\t{none}\n",
            installed.scene.path("seen").display()
        )
    );
}

#[test]
fn what_goes_wrong_with_it_is_a_log_line_and_changes_no_result() {
    for (command, expected) in [
        (
            &["sh", "-c", "echo no such thing >&2; exit 3"][..],
            "the last will was not carried out: its command exited with code 3: no such thing",
        ),
        (
            &["sh", "-c", "kill -SEGV $$"],
            "the last will was not carried out: its command was ended by SIGSEGV",
        ),
        (
            &["sh", "-c", "sleep 3600 & sleep 3600"],
            "the last will was not carried out: its command took longer than 10 s",
        ),
    ] {
        let installed = installed();
        let command: Vec<_> = command.iter().map(|&part| part.to_owned()).collect();
        let finished = installed.run(&invocation(&installed, "return", &command));
        finished.expect(Status::Succeeded);
        assert!(finished.stderr.contains(expected), "{finished:?}");
        installed.scene.assert_nothing_left();
    }
}

#[test]
fn one_that_can_not_be_carried_out_is_refused_when_it_is_left() {
    let installed = installed();
    let file = installed.scene.file("no-program", "");
    for (command, expected) in [
        (
            "/nowhere/program",
            "the program of the last will, '/nowhere/program', can't be used: No such file or directory (os error 2)",
        ),
        (
            "no-such-program",
            "the program of the last will, 'no-such-program', can't be used: No such file or directory (os error 2)",
        ),
        (
            file.to_str().unwrap(),
            "can't be used: Permission denied (os error 13)",
        ),
        ("/tmp", "can't be used: Is a directory (os error 21)"),
        (
            "./program",
            "the program of the last will, './program', is no absolute path",
        ),
        ("", "the last will has no program"),
    ] {
        let finished = installed.run(&invocation(&installed, "return", &[command.to_owned()]));
        let result = finished.expect(Status::Failed);
        let summary = result.error_summary.unwrap();
        assert!(summary.ends_with(expected), "{command}: {summary}");
    }
}

/// The processes of a run, once its will is left.
#[derive(Clone, Copy)]
struct Processes {
    plugin: Pid,
    supervisor: Pid,
    /// What supervisors of the plugin's runs are forked from.
    template: Pid,
    /// What watches the template.
    outer_supervisor: Pid,
    executor: Pid,
}

fn plugin(installed: &Installed) -> Processes {
    let told = installed.scene.await_file("told");
    let (plugin, supervisor) = told.split_once(' ').unwrap();
    let [plugin, supervisor] = [plugin, supervisor].map(|pid| pid.parse().unwrap());
    let parent = |pid| status_field(pid, "PPid").unwrap().parse().unwrap();
    let template = parent(supervisor);
    let executor = installed.scene.processes_with("__last-will");
    assert_eq!(executor.len(), 1, "{executor:?}");
    Processes {
        plugin: Pid::from_raw(plugin),
        supervisor: Pid::from_raw(supervisor),
        template: Pid::from_raw(template),
        outer_supervisor: Pid::from_raw(parent(template)),
        executor: Pid::from_raw(executor[0].pid),
    }
}

/// A host that has one run, and one that may have many.
const WAYS: [&str; 2] = ["run", "batch"];

fn start(installed: &Installed, way: &str, invocation: &Invocation) -> Child {
    let file = installed.scene.file("invocation.json", invocation.text() + "\n");
    let mut command = installed.scene.host(&[way, file.to_str().unwrap()]);
    installed
        .equip(&mut command)
        .env("XDG_STATE_HOME", installed.scene.path("state"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Which processes are killed, one after the other at once.
type Killed = fn(Pid, Processes) -> Vec<Pid>;

#[test]
fn it_is_carried_out_whichever_process_is_killed() {
    let cases: [(&str, Killed); 8] = [
        ("plugin", |_, run| vec![run.plugin]),
        ("supervisor", |_, run| vec![run.supervisor]),
        ("template", |_, run| vec![run.template]),
        ("the template's supervisor", |_, run| vec![run.outer_supervisor]),
        ("host", |host, _| vec![host]),
        ("host and supervisor", |host, run| vec![host, run.supervisor]),
        ("supervisor and template", |_, run| {
            vec![run.supervisor, run.template]
        }),
        ("executor and plugin", |_, run| vec![run.executor, run.plugin]),
    ];
    for way in WAYS {
        for (what, killed) in cases {
            let installed = installed();
            let invocation = invocation(&installed, "hang", &will(&installed)).with("timeout_seconds", 120);
            let mut host = start(&installed, way, &invocation);
            let run = plugin(&installed);
            let host_pid = Pid::from_raw(host.id().cast_signed());
            for pid in killed(host_pid, run) {
                kill(pid, Signal::SIGKILL).unwrap();
            }
            let mut document = String::new();
            host.stdout.take().unwrap().read_to_string(&mut document).unwrap();
            let status = host.wait().unwrap();
            if status.code().is_some() {
                let result = RuntimeResult::from_json(document.as_bytes()).unwrap();
                assert_ne!(result.status, Status::Succeeded, "{way}, {what}");
                assert_eq!(carried_out(&installed), ONCE, "{way}, {what}: {result:#?}");
            }
            eventually("the last will", || {
                (carried_out(&installed) == ONCE).then_some(())
            });
            installed
                .scene
                .assert_nothing_left_within(Duration::from_secs(10));
            assert_eq!(carried_out(&installed), ONCE, "{way}, {what}");
        }
    }
}

#[test]
fn an_executor_that_is_killed_is_replaced_when_the_plugin_has_to_do_with_it() {
    let installed = installed();
    let invocation = invocation(&installed, "hang", &will(&installed)).with("timeout_seconds", 120);
    let mut host = start(&installed, "run", &invocation);
    let run = plugin(&installed);
    kill(run.executor, Signal::SIGKILL).unwrap();
    kill(Pid::from_raw(host.id().cast_signed()), Signal::SIGTERM).unwrap();
    let started = Instant::now();
    host.wait().unwrap();
    assert_eq!(carried_out(&installed), ONCE, "{:?}", started.elapsed());
    installed.scene.assert_nothing_left();
}

#[test]
fn a_signal_to_everything_of_a_service_does_not_lose_it() {
    let installed = installed();
    let invocation = invocation(&installed, "hang", &will(&installed)).with("timeout_seconds", 60);
    let mut host = start(&installed, "run", &invocation);
    let run = plugin(&installed);
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
        kill(run.executor, signal).unwrap();
    }
    kill(Pid::from_raw(host.id().cast_signed()), Signal::SIGTERM).unwrap();
    host.wait().unwrap();
    assert_eq!(carried_out(&installed), ONCE);
    installed.scene.assert_nothing_left();
}

/// Lets a process go on that was stopped. It may be gone.
fn go_on(pid: Pid) {
    let _ = kill(pid, Signal::SIGCONT);
}

#[test]
fn an_executor_that_was_stopped_carries_out_no_will_that_is_withdrawn() {
    for way in WAYS {
        let installed = installed();
        let invocation = invocation(
            &installed,
            "leave_again_when_asked_and_withdraw",
            &will(&installed),
        );
        let mut host = start(&installed, way, &invocation.with("timeout_seconds", 120));
        let run = plugin(&installed);
        kill(run.executor, Signal::SIGSTOP).unwrap();
        installed.scene.file("told-go-on", "");
        let mut document = String::new();
        host.stdout.take().unwrap().read_to_string(&mut document).unwrap();
        host.wait().unwrap();
        let left = installed.scene.processes_with("__last-will");
        go_on(run.executor);
        assert_eq!(left, [], "{way}");
        installed
            .scene
            .assert_nothing_left_within(Duration::from_secs(10));
        let result = RuntimeResult::from_json(document.as_bytes()).unwrap();
        assert_eq!(result.status, Status::Succeeded, "{way}: {result:#?}");
        assert_eq!(carried_out(&installed), "", "{way}");
    }
}

#[test]
fn an_executor_that_is_stopped_at_the_end_is_replaced_and_does_not_come_after_it() {
    let installed = installed();
    let invocation = invocation(&installed, "hang", &will(&installed)).with("timeout_seconds", 120);
    let mut host = start(&installed, "run", &invocation);
    let run = plugin(&installed);
    kill(run.executor, Signal::SIGSTOP).unwrap();
    kill(run.plugin, Signal::SIGKILL).unwrap();
    host.wait().unwrap();
    let done = carried_out(&installed);
    go_on(run.executor);
    installed
        .scene
        .assert_nothing_left_within(Duration::from_secs(10));
    assert_eq!(done, ONCE);
    assert_eq!(carried_out(&installed), ONCE);
}

#[test]
fn an_executor_that_is_stopped_while_it_is_given_a_will_carries_out_none_after_another_has() {
    for way in WAYS {
        let installed = installed();
        let invocation = invocation(&installed, "leave_again_when_asked", &will(&installed));
        let mut host = start(&installed, way, &invocation.with("timeout_seconds", 120));
        let run = plugin(&installed);
        kill(run.executor, Signal::SIGSTOP).unwrap();
        installed.scene.file("told-go-on", "");
        installed.scene.await_file("told-goes-on");
        kill(run.plugin, Signal::SIGKILL).unwrap();
        host.wait().unwrap();
        let done = carried_out(&installed);
        go_on(run.executor);
        installed
            .scene
            .assert_nothing_left_within(Duration::from_secs(10));
        assert_eq!(done, ONCE, "{way}");
        assert_eq!(carried_out(&installed), ONCE, "{way}");
    }
}

#[test]
fn another_executor_runs_the_program_that_was_there_when_it_was_left() {
    let installed = installed();
    let file = installed.scene.path("carried-out");
    let script = format!("#!/bin/sh\necho carried out >> {}\n", file.display());
    let program = installed.scene.program("cleanup", script);
    let command = [program.to_str().unwrap().to_owned()];
    let invocation = invocation(&installed, "hang", &command).with("timeout_seconds", 120);
    let mut host = start(&installed, "run", &invocation);
    let run = plugin(&installed);
    fs::remove_file(&program).unwrap();
    for pid in [run.executor, run.plugin] {
        kill(pid, Signal::SIGKILL).unwrap();
    }
    host.wait().unwrap();
    assert_eq!(carried_out(&installed), ONCE);
    installed.scene.assert_nothing_left();
}

/// A will that asks to be run again until there is a file `may-be-done`.
fn will_that_waits(installed: &Installed) -> Vec<String> {
    let script = format!(
        "echo tried >> {}; test -e {} || {{ echo not yet >&2; exit 75; }}; {}",
        installed.scene.path("tries").display(),
        installed.scene.path("may-be-done").display(),
        will(installed)[2],
    );
    ["sh", "-c", &script].map(str::to_owned).to_vec()
}

/// How often that was run.
fn tries(installed: &Installed) -> usize {
    let tries = fs::read_to_string(installed.scene.path("tries"));
    tries.unwrap_or_default().lines().count()
}

#[test]
fn one_that_can_not_be_carried_out_yet_is_run_again_after_the_result() {
    let installed = installed();
    let finished = installed.run(&invocation(&installed, "return", &will_that_waits(&installed)));
    finished.expect(Status::Succeeded);
    let expected = "the last will is not carried out yet, and is tried again for 120 s: its command exited with code 75: not yet";
    assert!(finished.stderr.contains(expected), "{finished:?}");
    assert_eq!(carried_out(&installed), "");
    eventually("more tries", || (tries(&installed) > 2).then_some(()));
    installed.scene.file("may-be-done", "");
    eventually("the last will", || {
        (carried_out(&installed) == ONCE).then_some(())
    });
    installed
        .scene
        .assert_nothing_left_within(Duration::from_secs(10));
    assert_eq!(carried_out(&installed), ONCE);
}

/// The one executor that there is. What is about to become a command looks like another one for a moment.
fn executor(installed: &Installed) -> Pid {
    eventually("one executor", || {
        match &installed.scene.processes_with("__last-will")[..] {
            [executor] => Some(Pid::from_raw(executor.pid)),
            _ => None,
        }
    })
}

/// Stops an executor that waits before it runs its command again.
fn stop_between_tries(executor: Pid) {
    eventually("a moment without a command", || {
        kill(executor, Signal::SIGSTOP).unwrap();
        let children = fs::read_to_string(format!("/proc/{executor}/task/{executor}/children")).unwrap();
        let waits = status_field(executor.as_raw(), "State").unwrap().starts_with('T') && children.is_empty();
        if !waits {
            go_on(executor);
        }
        waits.then_some(())
    });
}

#[test]
fn an_executor_that_is_asked_to_end_does_not_try_again() {
    let installed = installed();
    let finished = installed.run(&invocation(&installed, "return", &will_that_waits(&installed)));
    finished.expect(Status::Succeeded);
    let executor = executor(&installed);
    stop_between_tries(executor);
    let before = tries(&installed);
    kill(executor, Signal::SIGTERM).unwrap();
    go_on(executor);
    installed
        .scene
        .assert_nothing_left_within(Duration::from_secs(20));
    assert_eq!(tries(&installed), before);
    assert_eq!(carried_out(&installed), "");
}

#[test]
fn an_executor_that_tries_again_keeps_nothing_that_the_host_was_given() {
    let installed = installed();
    let (mut end, given) = io::pipe().unwrap();
    let inherited = given.as_raw_fd();
    let text = invocation(&installed, "return", &will_that_waits(&installed)).text();
    let mut command = installed.host();
    // SAFETY: `dup2` may be called between `fork` and `exec`. The copy is not closed by that.
    unsafe {
        command.pre_exec(move || match libc::dup2(inherited, 99) {
            99 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
    let finished = installed.scene.run_command(&mut command, text.as_bytes());
    finished.expect(Status::Succeeded);
    drop(given);
    assert_eq!(end.read(&mut [0]).unwrap(), 0);
    kill(executor(&installed), Signal::SIGTERM).unwrap();
    installed
        .scene
        .assert_nothing_left_within(Duration::from_secs(20));
}

#[test]
fn an_executor_that_tries_again_is_collected_by_a_host_that_inherits_orphans() {
    let installed = installed();
    let mut command = installed.scene.host(&["batch", "-"]);
    installed
        .equip(&mut command)
        .env("XDG_STATE_HOME", installed.scene.path("state"))
        .stdin(Stdio::piped());
    // As the first process of a container does.
    // SAFETY: no memory is involved.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
    let mut host = command.spawn().unwrap();
    let mut stdin = host.stdin.take().unwrap();
    let invocation = invocation(&installed, "return", &will_that_waits(&installed));
    writeln!(stdin, "{}", invocation.text()).unwrap();
    let mut result = String::new();
    let mut stdout = BufReader::new(host.stdout.take().unwrap());
    stdout.read_line(&mut result).unwrap();
    let executor = executor(&installed);
    let parent = status_field(executor.as_raw(), "PPid").unwrap();
    assert_eq!(parent, host.id().to_string());
    installed.scene.file("may-be-done", "");
    let process = PathBuf::from(format!("/proc/{executor}"));
    eventually("the end of the executor", || (!process.exists()).then_some(()));
    assert_eq!(carried_out(&installed), ONCE);
    drop(stdin);
    host.wait().unwrap();
    installed.scene.assert_nothing_left();
}
