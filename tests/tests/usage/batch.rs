//! `batch`: many invocations out of one input.

use executor_runtime_protocol::{RuntimeResult, Status};
use executor_runtime_tests::{
    Finished, Scene, Setup, eventually,
    installed::Installed,
    scripted::{Answer, Scripted},
    status_field,
};
use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Read, Write},
    process::{Command, Stdio},
    time::Duration,
};

/// The results on stdout, one a line.
#[track_caller]
pub(crate) fn results(finished: &Finished) -> Vec<RuntimeResult> {
    let lines = finished.stdout.split(|byte| *byte == b'\n');
    lines
        .filter(|line| !line.is_empty())
        .map(|line| RuntimeResult::from_json(line).unwrap_or_else(|error| panic!("{error}\n{finished:?}")))
        .collect()
}

/// A batch of a command, with these options and lines of stdin.
fn command(scene: &Scene, options: &[&str], words: &[&str], stdin: &str) -> Finished {
    let mut arguments = vec!["batch"];
    arguments.extend(options);
    arguments.push("--");
    arguments.extend(words);
    scene.run_with(&arguments, stdin.as_bytes())
}

/// The same, as a person sees it: what the commands print.
#[track_caller]
fn printed(scene: &Scene, options: &[&str], words: &[&str], stdin: &str) -> Vec<String> {
    let options = [&["--format", "human", "--keep-order"], options].concat();
    let finished = command(scene, &options, words, stdin);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let text = String::from_utf8(finished.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

pub(crate) fn numbers(count: u32) -> String {
    (1..=count).map(|number| format!("{number}\n")).collect()
}

#[test]
fn every_line_has_its_result_and_a_line_that_is_no_invocation_says_which_it_is() {
    let scene = Scene::new();
    let valid = scene.script("echo $RXP_INVOCATION_ID").id("a").text();
    let failing = scene.script("exit 7").id("b").text();
    let too_long = format!("\"{}\"", "x".repeat(17 << 20));
    let input = format!(
        "{valid}\n\n{{\"invocation_id\": \"c\"}}\n{failing}\nnonsense\n{too_long}\n{}",
        valid.replace("\"a\"", "\"d\"")
    );
    let finished = scene.run_with(&["batch", "--keep-order", "-j2"], input.as_bytes());
    assert_eq!(finished.code, Some(1), "{finished:?}");
    let told: Vec<_> = results(&finished)
        .iter()
        .map(|result| {
            (
                result.invocation_id.clone(),
                result.metadata["batch.line"].clone(),
                result.status,
                result.metadata.get("error.kind").cloned().unwrap_or_default(),
            )
        })
        .collect();
    let expected = [
        ("a", "1", Status::Succeeded, ""),
        ("c", "3", Status::Rejected, "invalid_invocation"),
        ("b", "4", Status::Failed, "exit_status"),
        ("line-5", "5", Status::Rejected, "invalid_invocation"),
        ("line-6", "6", Status::Rejected, "invalid_invocation"),
        ("d", "7", Status::Succeeded, ""),
    ]
    .map(|(id, line, status, kind)| (id.to_owned(), line.to_owned(), status, kind.to_owned()));
    assert_eq!(told, expected);
    let reasons: Vec<_> = results(&finished)
        .into_iter()
        .filter_map(|result| result.error_summary)
        .collect();
    assert!(
        reasons[0].starts_with("line 3 is not a valid RuntimeInvocation"),
        "{reasons:?}"
    );
    assert!(
        reasons[3].starts_with("line 6 has more than 16777216 bytes"),
        "{reasons:?}"
    );
    let captured = fs::read_to_string(scene.capture("d").join("stdout.txt")).unwrap();
    assert_eq!(captured, "d\n");
}

#[test]
fn kinds_of_plugins_and_commands_share_an_input() {
    let server = Scripted::start(|_, _| Answer::new(200, "hello"));
    let http = Installed::component("http");
    let url = server.url("/");
    let mut input = String::new();
    for id in 0..40 {
        let invocation = if id % 2 == 0 {
            http.invocation(&[("http.url", &url)])
        } else {
            http.scene.script("exit 0")
        };
        input += &(invocation.id(&format!("i{id}")).text() + "\n");
    }
    let file = http.scene.file("input", input);
    let mut host = http.scene.host(&["batch", file.to_str().unwrap(), "-j8"]);
    let finished = http.scene.run_command(http.equip(&mut host), b"");
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let results = results(&finished);
    let ids: BTreeSet<_> = results.iter().map(|result| &result.invocation_id).collect();
    assert_eq!(ids.len(), 40);
    let answered = results.iter().filter(|result| {
        result
            .metadata
            .get("http.status")
            .is_some_and(|code| code == "200")
    });
    assert_eq!(answered.count(), 20, "{finished:?}");
}

#[test]
fn arguments_go_where_they_are_wanted() {
    let scene = Scene::new();
    assert_eq!(
        printed(&scene, &[], &["echo", "a"], "x\ny z\n\n"),
        ["a x", "a y z"]
    );
    assert_eq!(
        printed(&scene, &[], &["echo", "<{}>", "{#}", "{}", "{"], "{#}\nit's\n"),
        ["<{#}> 1 {#} {", "<it's> 2 it's {"]
    );
    assert_eq!(
        printed(&scene, &["-n", "2"], &["echo", "{}", "end"], "1\n2\n3\n"),
        ["1 2 end", "3 end"]
    );
    assert_eq!(
        printed(&scene, &["-0"], &["printf", "%s|\\n"], "a\nb\0c"),
        ["a", "b|", "c|"]
    );
    assert_eq!(
        printed(
            &scene,
            &["--env", "WHO=me"],
            &["sh", "-c", "echo $WHO $1", "sh"],
            "x"
        ),
        ["me x"]
    );
    assert!(printed(&scene, &[], &["echo"], "").is_empty());
    let finished = command(&scene, &["-n", "2"], &["echo", "<{}>"], "1\n");
    assert_eq!(finished.code, Some(2));
    assert!(
        finished.stderr.contains("`{}` within a word takes one argument"),
        "{finished:?}"
    );
    let finished = scene.run_with(&["batch", "--", "echo"], b"ok\n\xff\xfe\nok\n");
    let statuses: BTreeSet<_> = results(&finished)
        .iter()
        .map(|result| (result.metadata["batch.line"].clone(), result.status.as_str()))
        .collect();
    let expected = [("1", "succeeded"), ("2", "rejected"), ("3", "succeeded")];
    assert_eq!(
        statuses,
        expected.map(|(line, status)| (line.to_owned(), status)).into()
    );
}

#[test]
fn no_more_run_at_a_time_than_asked_for() {
    let scene = Scene::new();
    // Each tells how many there are, itself included, and stays a moment.
    let script = "mkdir run.$1; ls -d run.* | wc -l; sleep 0.03; rmdir run.$1";
    let counts = printed(&scene, &["-j3"], &["sh", "-c", script, "sh"], &numbers(40));
    assert_eq!(counts.len(), 40);
    let most = counts
        .iter()
        .map(|count| count.trim().parse::<u32>().unwrap())
        .max();
    assert_eq!(most, Some(3), "{counts:?}");
}

#[test]
fn results_keep_the_order_of_the_input_when_asked() {
    let scene = Scene::new();
    let script = "sleep 0.0$((($1 * 7) % 10)); echo $1";
    let shown = printed(&scene, &["-j8"], &["sh", "-c", script, "sh"], &numbers(60));
    assert_eq!(shown, numbers(60).lines().collect::<Vec<_>>());
}

#[test]
fn what_may_end_otherwise_is_tried_again_and_nothing_else() {
    let scene = Scene::new();
    let script = "echo x >> tries.$1; [ $(wc -l < tries.$1) -gt $1 ]";
    let finished = command(
        &scene,
        &["--retries", "2", "--keep-order"],
        &["sh", "-c", script, "sh"],
        "0\n1\n2\n3\n",
    );
    assert_eq!(finished.code, Some(1), "{finished:?}");
    let ends: Vec<_> = results(&finished)
        .iter()
        .map(|result| {
            (
                result.status.as_str(),
                result.metadata.get("batch.attempts").cloned().unwrap_or_default(),
            )
        })
        .collect();
    let expected = [
        ("succeeded", ""),
        ("succeeded", "2"),
        ("succeeded", "3"),
        ("failed", "3"),
    ];
    assert_eq!(
        ends,
        expected.map(|(status, attempts)| (status, attempts.to_owned()))
    );
    let finished = command(&scene, &["--retries", "5"], &["no-such-program"], "x\n");
    let result = &results(&finished)[0];
    assert_eq!(result.metadata["error.transient"], "false");
    assert!(!result.metadata.contains_key("batch.attempts"), "{result:?}");
}

#[test]
fn a_batch_goes_on_where_its_job_log_ends() {
    let scene = Scene::new();
    let log = scene.path("log");
    let log = log.to_str().unwrap();
    let script = "echo $1 >> done; [ $1 != 5 ] || [ -e mended ]";
    let words = ["sh", "-c", script, "sh"];
    let done = || fs::read_to_string(scene.path("done")).unwrap().lines().count();

    let finished = command(&scene, &["--joblog", log], &words, &numbers(8));
    assert_eq!((finished.code, done()), (Some(1), 8), "{finished:?}");
    let text = fs::read_to_string(log).unwrap();
    assert_eq!(text.lines().count(), 9);
    assert!(
        text.starts_with("seq\tstatus\texit_code\tattempts\tstarted_at\twall_seconds\tjob\n"),
        "{text}"
    );

    // It is not overwritten by mistake.
    let finished = command(&scene, &["--joblog", log], &words, &numbers(8));
    assert_eq!(finished.code, Some(2));
    assert!(
        finished
            .stderr
            .contains("exists; give --resume or --retry-failed"),
        "{finished:?}"
    );

    // One more line of input, and a last line of the log that a killed host has left.
    fs::OpenOptions::new()
        .append(true)
        .open(log)
        .unwrap()
        .write_all(b"9\tsucc")
        .unwrap();
    let finished = command(&scene, &["--joblog", log, "--resume"], &words, &numbers(9));
    assert_eq!(
        (finished.code, results(&finished).len(), done()),
        (Some(1), 1, 9),
        "{finished:?}"
    );

    scene.file("mended", "");
    let finished = command(&scene, &["--joblog", log, "--retry-failed"], &words, &numbers(9));
    assert_eq!(
        (finished.code, results(&finished).len(), done()),
        (Some(0), 1, 10),
        "{finished:?}"
    );
    let again = ["--joblog", log, "--resume"];
    let finished = command(&scene, &again, &words, &numbers(9));
    assert_eq!(
        (finished.code, results(&finished).len(), done()),
        (Some(0), 0, 10),
        "{finished:?}"
    );
    let nothing_left = "note: nothing was left to do: 9 jobs were done before\n";
    assert_eq!(finished.stderr, nothing_left);
    let finished = command(&scene, &[&again[..], &["--quiet"]].concat(), &words, &numbers(9));
    assert_eq!(finished.stderr, "");

    // Another input under the same numbers.
    let finished = command(&scene, &["--joblog", log, "--resume"], &words, "7\n");
    assert_eq!(finished.code, Some(2));
    assert!(finished.stderr.contains("the input has changed"), "{finished:?}");
    let other = scene.file("other", "no log\n");
    let finished = command(
        &scene,
        &["--joblog", other.to_str().unwrap(), "--resume"],
        &words,
        "7\n",
    );
    assert!(finished.stderr.contains("is not a job log"), "{finished:?}");
    assert_eq!(fs::read_to_string(other).unwrap(), "no log\n");
}

#[test]
fn a_batch_that_is_killed_loses_no_job_and_repeats_only_those_that_were_under_way() {
    const JOBS: u32 = 200;
    const AT_A_TIME: usize = 4;
    let scene = Scene::new();
    let log = scene.path("log");
    let input = scene.file("input", numbers(JOBS));
    let batch = || {
        let mut host = scene.host(&[
            "batch",
            input.to_str().unwrap(),
            "-j4",
            "--resume",
            "--joblog",
            log.to_str().unwrap(),
        ]);
        host.args(["--", "sh", "-c", "sleep 0.01; echo $1 >> done", "sh"])
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        host
    };
    let mut kills = 0;
    for lines in [20, 60, 110, 150] {
        let mut host = batch().spawn().unwrap();
        eventually("some jobs", || {
            let text = fs::read_to_string(&log).unwrap_or_default();
            (text.lines().count() > lines).then_some(())
        });
        host.kill().unwrap();
        host.wait().unwrap();
        kills += 1;
        scene.assert_nothing_left_within(Duration::from_secs(5));
    }
    let finished = scene.run_command(&mut batch(), b"");
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let done = fs::read_to_string(scene.path("done")).unwrap();
    let distinct: BTreeSet<_> = done.lines().collect();
    assert_eq!(distinct.len(), JOBS as usize);
    assert!(
        done.lines().count() <= JOBS as usize + kills * AT_A_TIME,
        "{}",
        done.lines().count()
    );
    assert_eq!(
        fs::read_to_string(&log).unwrap().lines().count(),
        JOBS as usize + 1
    );
}

#[test]
fn no_more_runs_start_once_enough_have_failed() {
    let scene = Scene::new();
    let script = "echo x >> started; [ $1 -le 5 ]";
    let finished = command(
        &scene,
        &["-j1", "--halt", "fail=2"],
        &["sh", "-c", script, "sh"],
        &numbers(1000),
    );
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert_eq!(results(&finished).len(), 7);
    assert!(
        finished.stderr.contains("note: stopped by --halt: 2 of 7 runs"),
        "{finished:?}"
    );
    assert_eq!(
        fs::read_to_string(scene.path("started")).unwrap().lines().count(),
        7
    );
    let finished = command(
        &scene,
        &["-j1", "--halt", "fail=50%"],
        &["sh", "-c", script, "sh"],
        &numbers(1000),
    );
    assert_eq!(results(&finished).len(), 10, "{finished:?}");
}

#[test]
fn a_signal_ends_what_is_under_way_with_a_result_each() {
    let scene = Scene::new();
    let mut host = scene.host(&[
        "batch",
        "-j5",
        "--",
        "sh",
        "-c",
        "echo x >> started; sleep 600",
        "sh",
    ]);
    let mut host = host
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It stays open: the batch waits for more.
    let mut stdin = host.stdin.take().unwrap();
    stdin.write_all(numbers(3).as_bytes()).unwrap();
    eventually("three runs", || {
        let started = fs::read_to_string(scene.path("started")).unwrap_or_default();
        (started.lines().count() == 3).then_some(())
    });
    // SAFETY: no memory is involved.
    unsafe { libc::kill(host.id() as i32, libc::SIGTERM) };
    let finished = scene.finish(host);
    drop(stdin);
    assert_eq!(finished.code, Some(128 + libc::SIGTERM), "{finished:?}");
    let statuses: Vec<_> = results(&finished).iter().map(|result| result.status).collect();
    assert_eq!(statuses, [Status::Cancelled; 3]);
    scene.assert_nothing_left();
}

#[test]
fn an_input_without_end_takes_no_more_memory_than_a_short_one() {
    let scene = Scene::new();
    let mut host = scene.host(&["batch", "-j2", "--", "true"]);
    let mut host = host.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = host.stdin.take().unwrap();
    // Far more than could be run; it ends when the batch does.
    let writer = std::thread::spawn(move || while stdin.write_all(&[b'x', b'\n'].repeat(4096)).is_ok() {});
    let mut lines = BufReader::new(host.stdout.take().unwrap()).lines();
    let peak = |pid: u32| {
        let field = status_field(pid as i32, "VmHWM").unwrap();
        field.trim_end_matches(" kB").trim().parse::<u64>().unwrap()
    };
    for _ in 0..100 {
        lines.next().unwrap().unwrap();
    }
    let early = peak(host.id());
    for _ in 0..1500 {
        lines.next().unwrap().unwrap();
    }
    let late = peak(host.id());
    // SAFETY: no memory is involved.
    unsafe { libc::kill(host.id() as i32, libc::SIGINT) };
    let rest = lines.count();
    let status = host.wait().unwrap();
    writer.join().unwrap();
    assert_eq!(status.code(), Some(128 + libc::SIGINT));
    assert!(rest < 1000, "{rest}");
    assert!(late < early + 4096, "{early} KiB, then {late} KiB");
    scene.assert_nothing_left();
}

#[test]
fn a_reader_that_goes_away_ends_the_batch() {
    let scene = Scene::new();
    let mut host = scene.host(&["batch", "-j2", "--", "sh", "-c", "echo x >> started", "sh"]);
    let mut host = host
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = host.stdin.take().unwrap();
    let writer = std::thread::spawn(move || while stdin.write_all(b"x\n").is_ok() {});
    let mut first = [0; 1];
    host.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let finished = scene.finish(host);
    writer.join().unwrap();
    assert_eq!(finished.code, Some(4), "{finished:?}");
    assert_eq!(finished.stderr, "");
    scene.assert_nothing_left();
}

#[test]
fn a_timeout_counts_for_each_run() {
    let scene = Scene::new();
    let finished = command(&scene, &["-j2", "--timeout", "1s"], &["sleep"], "0\n600\n");
    assert_eq!(finished.code, Some(1), "{finished:?}");
    let statuses: BTreeSet<_> = results(&finished)
        .iter()
        .map(|result| result.status.as_str())
        .collect();
    assert_eq!(statuses, ["succeeded", "timed_out"].into());
}

#[test]
fn a_person_sees_output_failures_progress_and_a_summary() {
    let scene = Scene::new();
    let input = scene.file("input", numbers(6));
    let script = "echo out $1; [ $1 != 4 ] || { echo why >&2; exit 3; }; until [ -e go ] || [ $1 != 6 ]; do sleep 0.01; done";
    let start = |options: &[&str]| {
        let mut host: Command = scene.host(&["batch", "-j1", input.to_str().unwrap()]);
        host.args(options).args(["--", "sh", "-c", script, "sh"]);
        Setup::columns(100).start(&mut host)
    };
    let terminal = start(&[]);
    terminal.await_shown("5 of 6 done, 1 failed, 1 running");
    scene.file("go", "");
    let shown = terminal.finish();
    assert_eq!(shown.status.code(), Some(1));
    for text in [
        "out 1\n",
        "why\n",
        "failed 4:",
        "exited with code 3",
        "6 runs: 5 succeeded, 1 did not, in ",
    ] {
        assert!(shown.shown.contains(text), "'{text}' in {}", shown.shown);
    }
    let mut host = scene.host(&[
        "batch",
        "-j1",
        input.to_str().unwrap(),
        "--",
        "sh",
        "-c",
        "sleep 0.3; printf x$1",
        "sh",
    ]);
    let unfinished = Setup::columns(100).start(&mut host).finish();
    for number in 1..=6 {
        let line = format!("x{number}\n");
        assert!(
            unfinished.shown.contains(&line),
            "{line:?} in {}",
            unfinished.shown
        );
    }
    let quiet = start(&["--quiet"]).finish();
    assert!(
        quiet.shown.contains("out 6\n") && quiet.shown.contains("failed 4:"),
        "{}",
        quiet.shown
    );
    assert!(
        !quiet.shown.contains("running") && !quiet.shown.contains("runs:"),
        "{}",
        quiet.shown
    );
}

#[test]
fn what_can_not_be_used_is_told_before_anything_runs() {
    let scene = Scene::new();
    for (arguments, words) in [
        (&["batch", "-j0"][..], "expected a number, 1 or more"),
        (&["batch", "--halt", "1"], "expected `fail=`"),
        (&["batch", "no-such-file"], "'no-such-file' can't be read"),
        (&["batch", "--resume"], "--joblog"),
        (&["batch", "-n", "2"], "COMMAND"),
        (&["batch", "--"], "no command after --"),
        (&["batch", "/"], "'/' can't be read"),
    ] {
        let finished = scene.run_with(arguments, b"");
        assert_eq!(finished.code, Some(2), "{arguments:?}: {finished:?}");
        assert!(finished.stderr.contains(words), "{arguments:?}: {finished:?}");
        assert!(finished.stdout.is_empty());
    }
}

#[test]
fn a_result_that_could_not_be_written_is_not_in_the_job_log() {
    let scene = Scene::new();
    let log = scene.path("log");
    let log = log.to_str().unwrap();
    let mut host = scene.host(&["batch", "-j1", "--joblog", log, "--", "true"]);
    host.stdout(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    let finished = scene.run_command(&mut host, numbers(3).as_bytes());
    assert_eq!(finished.code, Some(4), "{finished:?}");
    assert!(
        finished.stderr.contains("results can't be written to stdout"),
        "{finished:?}"
    );
    assert_eq!(fs::read_to_string(log).unwrap().lines().count(), 1);

    // What is gone on with begins a line, also after one that was cut off.
    let out = scene.file("out", "{\"cut\": ");
    let mut host = scene.host(&["batch", "--resume", "--joblog", log, "--", "true"]);
    host.stdout(fs::OpenOptions::new().append(true).open(&out).unwrap());
    let finished = scene.run_command(&mut host, numbers(3).as_bytes());
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let text = fs::read_to_string(&out).unwrap();
    let whole = text
        .lines()
        .filter(|line| RuntimeResult::from_json(line.as_bytes()).is_ok());
    assert_eq!(whole.count(), 3, "{text}");
}

#[test]
fn a_file_that_is_no_job_log_is_left_alone() {
    let scene = Scene::new();
    for content in [&b"precious"[..], b"seq\tother", &[0; 3000], b"\xff\xfe"] {
        let file = scene.file("file", content);
        let finished = command(
            &scene,
            &["--joblog", file.to_str().unwrap(), "--resume"],
            &["true"],
            "x\n",
        );
        assert_eq!(finished.code, Some(2), "{finished:?}");
        assert_eq!(fs::read(&file).unwrap(), content);
    }
    // One whose first line was cut off.
    let file = scene.file("file", "seq\tstat");
    let finished = command(
        &scene,
        &["--joblog", file.to_str().unwrap(), "--resume"],
        &["true"],
        "x\n",
    );
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 2);
}

#[test]
fn many_runs_at_a_time_need_no_higher_limit_on_descriptors() {
    let scene = Scene::new();
    let batch = |limit: &str, jobs: u32| {
        let mut shell = Command::new("sh");
        shell
            .args([
                "-c",
                "ulimit $1; exec \"$0\" batch -j60 -- sh -c 'ulimit -Sn; sleep 0.2'",
            ])
            .arg(executor_runtime_tests::host_binary())
            .arg(limit)
            .current_dir(scene.root())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let finished = scene.run_command(scene.marked(&mut shell), numbers(jobs).as_bytes());
        assert_eq!(finished.code, Some(0), "{finished:?}");
        results(&finished)
    };
    let results = batch("-Sn 100", 120);
    assert_eq!(results.len(), 120);
    // The commands have the limit that the host was started with.
    for result in results {
        assert_eq!(fs::read_to_string(result.stdout_path.unwrap()).unwrap(), "100\n");
    }
    // Where it can't be raised, runs wait for others to end.
    assert_eq!(batch("-n 40", 30).len(), 30);
}

#[test]
fn a_line_that_was_no_invocation_may_be_mended() {
    let scene = Scene::new();
    let log = scene.path("log");
    let log = log.to_str().unwrap();
    let [one, two] = ["a", "b"].map(|id| scene.script("true").id(id).text());
    let finished = scene.run_with(
        &["batch", "--joblog", log],
        format!("{one}\nnonsense\n").as_bytes(),
    );
    assert_eq!(finished.code, Some(1), "{finished:?}");
    let again = ["batch", "--joblog", log, "--retry-failed"];
    let finished = scene.run_with(&again, format!("{one}\n{two}\n").as_bytes());
    assert_eq!(
        (finished.code, results(&finished).len()),
        (Some(0), 1),
        "{finished:?}"
    );
    let finished = scene.run_with(&again, b"");
    assert!(
        finished
            .stderr
            .contains("the job log does, which has 2 more jobs"),
        "{finished:?}"
    );
}

#[test]
fn only_empty_arguments_are_left_out() {
    let scene = Scene::new();
    let shown = printed(&scene, &["-0"], &["printf", "[%s]\\n"], " \0\0b\0");
    assert_eq!(shown, ["[ ]", "[b]"]);
}

#[test]
fn what_people_write_for_other_programs_is_told_as_it_is_here() {
    let scene = Scene::new();
    for (arguments, words) in [
        (&["batch", "-P8", "--", "gzip"][..], "-j N is how many runs"),
        (
            &["batch", "-I{}", "gzip", "{}"],
            "`{}` is replaced without an option",
        ),
        (
            &["batch", "gzip", ":::", "a", "b"],
            "arguments are the lines of stdin or FILE",
        ),
        (&["batch", "--jobs=8", "gzip", "-9"], "a command goes after `--`"),
    ] {
        let finished = scene.run_with(arguments, b"");
        assert_eq!(finished.code, Some(2), "{arguments:?}: {finished:?}");
        assert!(finished.stderr.contains(words), "{arguments:?}: {finished:?}");
        assert_eq!(finished.stderr.matches("tip:").count(), 1, "{finished:?}");
    }
    // Only the job log is missing here.
    let finished = scene.run_with(&["batch", "--resume", "invocations"], b"");
    assert_eq!(finished.code, Some(2), "{finished:?}");
    assert!(finished.stderr.contains("--joblog"), "{finished:?}");
    assert!(!finished.stderr.contains("tip:"), "{finished:?}");
}

#[test]
fn a_stdout_that_is_closed_is_told_of() {
    let scene = Scene::new();
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "echo x | \"$0\" batch -- true >&-"])
        .arg(executor_runtime_tests::host_binary())
        .current_dir(scene.root())
        .env("XDG_STATE_HOME", scene.path("state-of-user"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let finished = scene.run_command(scene.marked(&mut shell), b"");
    assert_eq!(finished.code, Some(4), "{finished:?}");
    assert!(
        finished
            .stderr
            .contains("results can't be written to stdout: it is closed"),
        "{finished:?}"
    );
}

#[test]
fn streams_that_someone_made_non_blocking_are_waited_for() {
    let scene = Scene::new();
    let mut command = scene.host(&["batch", "-j8", "--", "true"]);
    let ((their_in, mut stdin), (mut stdout, their_out)) =
        (std::io::pipe().unwrap(), std::io::pipe().unwrap());
    for stream in [
        std::os::fd::AsRawFd::as_raw_fd(&their_in),
        std::os::fd::AsRawFd::as_raw_fd(&their_out),
    ] {
        // SAFETY: no memory is involved.
        unsafe { libc::fcntl(stream, libc::F_SETFL, libc::O_NONBLOCK) };
    }
    let mut host = command.stdin(their_in).stdout(their_out).spawn().unwrap();
    // It has the other ends of the pipes.
    drop(command);
    let mut begun = [0; 1];
    stdin.write_all(numbers(100).as_bytes()).unwrap();
    stdout.read_exact(&mut begun).unwrap();
    // More results than the pipe holds, and then none to read for a while.
    stdin.write_all(numbers(100).as_bytes()).unwrap();
    eventually("a full pipe", || {
        let mut unread = 0;
        // SAFETY: `unread` is valid for writing.
        unsafe {
            libc::ioctl(
                std::os::fd::AsRawFd::as_raw_fd(&stdout),
                libc::FIONREAD,
                &raw mut unread,
            )
        };
        (unread > 40_000).then_some(())
    });
    drop(stdin);
    let mut text = String::new();
    stdout.read_to_string(&mut text).unwrap();
    let status = host.wait().unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(text.lines().count(), 200);
    assert!(
        text.lines()
            .skip(1)
            .all(|line| RuntimeResult::from_json(line.as_bytes()).is_ok())
    );
}
