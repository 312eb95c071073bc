//! The journal of `batch`: a batch whose host was killed is gone on with, and nothing begins twice.

use super::batch::{numbers, results};
use executor_runtime_protocol::{RuntimeResult, Status};
use executor_runtime_tests::{
    Finished, Scene, eventually,
    installed::Installed,
    scripted::{Answer, Scripted},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime},
};

/// In which time the processes of a killed host are gone.
const GONE: Duration = Duration::from_secs(5);

/// A batch with these options that reads `input` and runs `script` with each line as `$1`.
fn batch(scene: &Scene, options: &[&str], input: &Path, script: &str) -> Command {
    let mut host = scene.host(&["batch", input.to_str().unwrap()]);
    host.args(options).args(["--", "sh", "-c", script, "sh"]);
    host
}

fn lines(scene: &Scene, name: &str) -> Vec<String> {
    let text = fs::read_to_string(scene.path(name)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn await_lines(scene: &Scene, name: &str, count: usize) {
    eventually("some lines", || (lines(scene, name).len() >= count).then_some(()));
}

fn kill(scene: &Scene, mut host: Child) {
    host.kill().unwrap();
    host.wait().unwrap();
    scene.assert_nothing_left_within(GONE);
}

/// The journals in the state directory.
fn journals(scene: &Scene) -> Vec<PathBuf> {
    let base = scene.path("state-of-user/executor-runtime/batch");
    let entries = fs::read_dir(base).map(|entries| entries.map(|entry| entry.unwrap().path()));
    entries.map(Iterator::collect).unwrap_or_default()
}

fn error_kind(result: &RuntimeResult) -> &str {
    result.metadata.get("error.kind").map_or("", String::as_str)
}

fn by_line(finished: &Finished) -> BTreeMap<u32, RuntimeResult> {
    let results = results(finished).into_iter();
    results
        .map(|result| (result.metadata["batch.line"].parse().unwrap(), result))
        .collect()
}

#[test]
fn a_batch_that_is_killed_goes_on_with_its_journal_and_begins_nothing_twice() {
    const JOBS: u32 = 400;
    const AT_A_TIME: usize = 32;
    const SCRIPT: &str = "echo $1 >> begun; sleep 0.0$(($1 % 7)); echo $1 >> ended";
    let scene = Scene::new();
    let input = scene.file("input", numbers(JOBS));
    let options = ["-j32", "--journal", "journal"];
    let start = || {
        let mut host = batch(&scene, &options, &input, SCRIPT);
        host.stdout(Stdio::null()).stderr(Stdio::null());
        host.spawn().unwrap()
    };
    let mut kills = 0;
    for count in [1, 60, 150, 290] {
        let host = start();
        await_lines(&scene, "begun", count);
        kill(&scene, host);
        kills += 1;
    }
    let finished = scene.run_command(&mut batch(&scene, &options, &input, SCRIPT), b"");
    let ended = by_line(&finished);
    assert_eq!(ended.len(), JOBS as usize, "{finished:?}");
    let (begun, done) = (lines(&scene, "begun"), lines(&scene, "ended"));
    assert_eq!(
        begun.iter().collect::<BTreeSet<_>>().len(),
        begun.len(),
        "begun twice: {begun:?}"
    );
    let mut lost = 0;
    for (line, result) in &ended {
        match result.status {
            Status::Succeeded => assert!(done.contains(&line.to_string()), "{result:?}"),
            _ => {
                assert_eq!(error_kind(result), "host_lost", "{result:?}");
                lost += 1;
            }
        }
    }
    assert!(lost <= kills * AT_A_TIME, "{lost} of {kills} kills");
    assert_eq!(finished.code, Some(i32::from(lost > 0)));

    // An end stays what it was, with the same times.
    let again = scene.run_command(&mut batch(&scene, &options, &input, SCRIPT), b"");
    assert_eq!(by_line(&again), ended);
    assert_eq!(lines(&scene, "begun"), begun);

    // Unless the runs that did not succeed are asked for.
    let options = [&options[..], &["--retry-failed"]].concat();
    let finished = scene.run_command(&mut batch(&scene, &options, &input, SCRIPT), b"");
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(by_line(&finished).len(), JOBS as usize);
    let begun = lines(&scene, "begun");
    for line in 1..=JOBS {
        let times = begun.iter().filter(|begun| **begun == line.to_string()).count();
        let was_lost = ended[&line].status != Status::Succeeded;
        assert!(times == 1 || (was_lost && times == 2), "{line}: {times} times");
    }
    println!("{kills} kills: {lost} of {JOBS} runs lost");
}

#[test]
fn a_run_with_a_checkpoint_goes_on_from_it() {
    let server = Scripted::start(|request, _| match request.line().as_str() {
        "POST /kickoff" => Answer::new(202, r#"{"id": "7"}"#),
        _ => Answer::new(200, r#"{"status": "running"}"#),
    });
    let place = Installed::component("http_async");
    let scene = &place.scene;
    let invocation = place.invocation(&[
        ("http.url", &server.url("/kickoff")),
        ("http.poll_url_template", &server.url("/poll/{run_id}")),
        ("http.poll_run_id_path", "id"),
        ("http.poll_status_path", "status"),
        ("http.poll_terminal_states", "completed"),
        ("http.poll_interval_seconds", "0.1"),
    ]);
    let input = scene.file(
        "input",
        invocation.id("polled").with("timeout_seconds", 3).text() + "\n",
    );
    let start = || {
        let mut host = scene.host(&["batch", input.to_str().unwrap(), "--journal", "journal"]);
        place.equip(&mut host);
        host
    };
    let host = start().spawn().unwrap();
    server.wait_for(3);
    kill(scene, host);
    let finished = scene.run_command(&mut start(), b"");
    // It polls until its time is over, and does not begin anew.
    let result = &results(&finished)[0];
    assert_eq!(error_kind(result), "timeout", "{result:?}");
    let kickoffs = server
        .lines()
        .iter()
        .filter(|line| *line == "POST /kickoff")
        .count();
    assert_eq!(kickoffs, 1, "{:?}", server.lines());
}

#[test]
fn a_journal_without_a_name_is_removed_at_the_end_and_one_that_was_left_is_told_of_once() {
    let scene = Scene::new();
    let input = scene.file("input", numbers(9));
    let script = "echo $1 >> begun; [ $1 != 5 ] || until [ -e go ]; do sleep 0.01; done";
    let other = scene.file("other", "x\n");
    let other = || scene.run_command(&mut batch(&scene, &[], &other, "exit 3"), b"");
    assert_eq!(other().code, Some(1));
    assert!(journals(&scene).is_empty(), "{:?}", journals(&scene));

    let host = batch(&scene, &["-j1"], &input, script).spawn().unwrap();
    await_lines(&scene, "begun", 5);
    let [left] = &journals(&scene)[..] else {
        panic!("{:?}", journals(&scene));
    };
    // One that is in use is not told of.
    assert_eq!(other().stderr, "");
    kill(&scene, host);
    let told = other();
    let option = format!("--journal '{}'", left.display());
    let said = told.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("4 of its runs have ended, 1 had not"), "{told:?}");
    assert!(said.contains(&option), "{told:?}");
    assert_eq!(other().stderr, "");

    scene.file("go", "");
    let options = ["-j1", "--journal", left.to_str().unwrap()];
    let finished = scene.run_command(&mut batch(&scene, &options, &input, script), b"");
    assert_eq!(
        (finished.code, by_line(&finished).len()),
        (Some(1), 9),
        "{finished:?}"
    );
    assert_eq!(error_kind(&by_line(&finished)[&5]), "host_lost");
    assert_eq!(lines(&scene, "begun"), numbers(9).lines().collect::<Vec<_>>());
    // It was named, so it stays.
    assert_eq!(journals(&scene), std::slice::from_ref(left));
    assert_eq!(other().stderr, "");
}

#[test]
fn old_journals_are_removed_unless_a_batch_uses_them() {
    let scene = Scene::new();
    let input = scene.file("input", "1\n");
    let [dead, used] = ["dead", "used"].map(|name| {
        let before = journals(&scene);
        let script = format!("echo $1 >> begun-{name}; until [ -e go ]; do sleep 0.01; done");
        let host = batch(&scene, &[], &input, &script).spawn().unwrap();
        await_lines(&scene, &format!("begun-{name}"), 1);
        let new = journals(&scene).into_iter().find(|path| !before.contains(path));
        (host, new.unwrap())
    });
    kill_only(dead.0);
    let long_ago = SystemTime::now() - Duration::from_secs(3600);
    for directory in [&dead.1, &used.1] {
        for file in fs::read_dir(directory).unwrap() {
            let file = File::options().append(true).open(file.unwrap().path()).unwrap();
            file.set_modified(long_ago).unwrap();
        }
    }
    let config = scene.file("config.toml", "[journal]\nkeep = \"30m\"\n");
    let mut next = batch(&scene, &["--config", config.to_str().unwrap()], &input, "true");
    let finished = scene.run_command(&mut next, b"");
    assert_eq!((finished.code, &*finished.stderr), (Some(0), ""));
    assert_eq!(journals(&scene), [used.1]);
    scene.file("go", "");
    assert_eq!(scene.finish(used.0).code, Some(0));
    assert!(journals(&scene).is_empty());
}

fn kill_only(mut host: Child) {
    host.kill().unwrap();
    host.wait().unwrap();
}

#[test]
fn the_same_document_twice_is_one_run_and_another_with_its_id_is_rejected() {
    let scene = Scene::new();
    let one = scene.script("echo x >> ran; sleep 0.05").id("a");
    let other = scene.script("echo y >> ran").id("a").text();
    let longer = one.text().replace("{\"", "{\"timeout_seconds\": 60, \"");
    let input = format!("{0}\n{0}\n{other}\n{longer}\n", one.text());
    for journal in [&["--journal", "journal"][..], &["--journal", "journal"], &[]] {
        let arguments = [&["batch", "-j3"], journal].concat();
        let finished = scene.run_with(&arguments, input.as_bytes());
        let results = by_line(&finished);
        assert_eq!((finished.code, results.len()), (Some(1), 4), "{finished:?}");
        let told: Vec<_> = results.values().map(|result| result.status.as_str()).collect();
        // Whichever comes first has the id.
        let same: BTreeSet<_> = [1, 2, 4].map(|line| results[&line].started_at.to_string()).into();
        if told[2] == "rejected" {
            assert_eq!(told, ["succeeded", "succeeded", "rejected", "succeeded"]);
            assert_eq!(same.len(), 1, "{results:?}");
        }
        let rejected = results.values().find(|result| result.status == Status::Rejected);
        let rejected = rejected.unwrap_or_else(|| panic!("{results:?}"));
        assert_eq!(error_kind(rejected), "invalid_invocation");
        let why = rejected.error_summary.as_deref().unwrap_or_default();
        assert!(why.contains("has the id of another invocation"), "{why}");
    }
    // Twice with one journal, and once without.
    assert_eq!(lines(&scene, "ran").len(), 2, "{:?}", lines(&scene, "ran"));
}

#[test]
fn a_journal_is_continued_with_its_own_command_and_input_alone() {
    let scene = Scene::new();
    let input = scene.file("input", numbers(3));
    let options = ["-j1", "--journal", "journal"];
    let first = scene.run_command(&mut batch(&scene, &options, &input, "echo $1 >> begun"), b"");
    assert_eq!(first.code, Some(0), "{first:?}");
    let other_input = scene.file("other", format!("first\n{}", numbers(3)));
    for (input, script) in [
        (&input, "echo other >> begun"),
        (&other_input, "echo $1 >> begun"),
    ] {
        let other = scene.run_command(&mut batch(&scene, &options, input, script), b"");
        assert_eq!((other.code, other.stdout.len()), (Some(2), 0), "{other:?}");
        assert!(
            other.stderr.contains("the journal has another job 1"),
            "{}",
            other.stderr
        );
    }
    assert_eq!(lines(&scene, "begun").len(), 3);
}

#[test]
fn only_the_last_attempt_is_the_end_of_a_run() {
    let scene = Scene::new();
    let input = scene.file("input", "1\n2\n");
    let script = "echo $1 >> tries; [ $(grep -c $1 tries) -gt $1 ]";
    let options = ["-j2", "--journal", "journal", "--retries", "1"];
    let mut ends = Vec::new();
    for _ in 0..2 {
        let finished = scene.run_command(&mut batch(&scene, &options, &input, script), b"");
        assert_eq!(finished.code, Some(1), "{finished:?}");
        let results = by_line(&finished);
        assert_eq!(results[&1].status, Status::Succeeded);
        assert_eq!(results[&2].status, Status::Failed);
        assert_eq!(results[&1].metadata["batch.attempts"], "2");
        assert_eq!(results[&2].metadata["batch.attempts"], "2");
        ends.push(results);
    }
    assert_eq!(ends[0], ends[1]);
    assert_eq!(lines(&scene, "tries").len(), 4);
}

#[test]
fn a_journal_without_a_name_forgets_what_was_written_long_ago_and_still_begins_nothing_twice() {
    const JOBS: u32 = 700;
    let scene = Scene::new();
    let config = scene.file("config.toml", "[journal]\nmax_runs = 1\n");
    let input = scene.file("input", numbers(JOBS));
    let script = "echo $1 >> begun; [ $1 != 690 ] || until [ -e go ]; do sleep 0.01; done; [ $1 != 3 ]";
    let mut host = batch(
        &scene,
        &["-j1", "--config", config.to_str().unwrap()],
        &input,
        script,
    );
    let host = host.stdout(Stdio::null()).spawn().unwrap();
    await_lines(&scene, "begun", 690);
    let [left] = &journals(&scene)[..] else {
        panic!("{:?}", journals(&scene));
    };
    kill(&scene, host);
    scene.file("go", "");
    let options = ["-j1", "--journal", left.to_str().unwrap()];
    let finished = scene.run_command(&mut batch(&scene, &options, &input, script), b"");
    assert_eq!(lines(&scene, "begun").len(), JOBS as usize);
    let results = by_line(&finished);
    // Job 3 did not succeed, and is not forgotten.
    assert_eq!(results.len(), JOBS as usize - 499, "{}", finished.stderr);
    assert_eq!(results.keys().take(2).collect::<Vec<_>>(), [&3, &501]);
    let said = finished.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("499 jobs were left out"), "{said}");
    // Jobs 3 and 690 did not succeed.
    assert_eq!(finished.code, Some(1));
    assert_eq!(error_kind(&results[&690]), "host_lost");
}

#[test]
fn a_signal_leaves_the_journal_to_go_on_with() {
    let scene = Scene::new();
    let input = scene.file("input", numbers(6));
    let script = "echo $1 >> begun; [ -e go ] || [ $1 -le 2 ] || sleep 600";
    let host = batch(&scene, &["-j2"], &input, script).spawn().unwrap();
    await_lines(&scene, "begun", 4);
    // SAFETY: no memory is involved.
    unsafe { libc::kill(host.id() as i32, libc::SIGINT) };
    let finished = scene.finish(host);
    assert_eq!(finished.code, Some(128 + libc::SIGINT), "{finished:?}");
    assert_eq!(by_line(&finished).len(), 4);
    let [left] = &journals(&scene)[..] else {
        panic!("{:?}", journals(&scene));
    };
    let said = finished.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        said.contains(&format!("--journal '{}'", left.display())),
        "{said}"
    );
    scene.file("go", "");
    let options = ["-j2", "--journal", left.to_str().unwrap()];
    let finished = scene.run_command(&mut batch(&scene, &options, &input, script), b"");
    let statuses: Vec<_> = by_line(&finished)
        .values()
        .map(|result| result.status.as_str())
        .collect();
    let expected = [
        "succeeded",
        "succeeded",
        "cancelled",
        "cancelled",
        "succeeded",
        "succeeded",
    ];
    assert_eq!(statuses, expected, "{finished:?}");
    // It was told of when it was left.
    assert!(!finished.stderr.contains("earlier batch"), "{finished:?}");
}

#[test]
fn a_job_log_and_a_journal_go_together() {
    let scene = Scene::new();
    let input = scene.file("input", numbers(5));
    let script = "echo $1 >> begun; [ $1 != 2 ] || [ -e mended ]";
    let run = |options: &[&str]| {
        let options = [&["--journal", "journal", "--joblog", "log"], options].concat();
        scene.run_command(&mut batch(&scene, &options, &input, script), b"")
    };
    let finished = run(&[]);
    assert_eq!(
        (finished.code, results(&finished).len()),
        (Some(1), 5),
        "{finished:?}"
    );
    // What the job log has is left out, also of what is printed.
    let finished = run(&["--resume"]);
    assert_eq!(
        (finished.code, results(&finished).len()),
        (Some(1), 0),
        "{finished:?}"
    );
    scene.file("mended", "");
    let finished = run(&["--retry-failed"]);
    assert_eq!(
        (finished.code, results(&finished).len()),
        (Some(0), 1),
        "{finished:?}"
    );
    assert_eq!(lines(&scene, "begun").len(), 6);
    assert_eq!(lines(&scene, "log").len(), 7);
}

#[test]
fn a_journal_that_can_not_be_used_is_told_of_before_anything_runs() {
    let scene = Scene::new();
    let input = scene.file("input", "1\n");
    let refused = |options: &[&str], words: &str| {
        let finished = scene.run_command(&mut batch(&scene, options, &input, "echo x >> ran"), b"");
        assert_eq!(finished.code, Some(2), "{options:?}: {finished:?}");
        let said = finished.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(words), "{options:?}: {said}");
    };
    fs::create_dir(scene.path("of-serve")).unwrap();
    scene.file("of-serve/journal.sqlite", "");
    refused(&["--journal", "of-serve"], "a journal that is not of a batch");
    refused(&["--journal", "input"], "'input' can't be used");
    refused(
        &["--state-dir", "input"],
        "name a directory for it by --journal DIR",
    );
    let wait = "echo $1 >> waits; until [ -e go ]; do sleep 0.01; done";
    let host = batch(&scene, &["--journal", "used"], &input, wait)
        .spawn()
        .unwrap();
    await_lines(&scene, "waits", 1);
    refused(&["--journal", "used"], "another batch uses the journal 'used'");
    scene.file("go", "");
    assert_eq!(scene.finish(host).code, Some(0));
    assert!(lines(&scene, "ran").is_empty());

    // Where there is no state directory, a batch runs all the same.
    let mut host = batch(&scene, &[], &input, "echo x >> ran");
    host.env_remove("XDG_STATE_HOME").env_remove("HOME");
    let finished = scene.run_command(host.env("TMPDIR", scene.root()), b"");
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(
        finished.stderr.contains("neither XDG_STATE_HOME nor HOME is set"),
        "{finished:?}"
    );
}

#[test]
fn a_batch_that_is_to_end_does_not_wait_for_its_journal() {
    let scene = Scene::new();
    let script = "echo yes > started; exec sleep {}";
    let mut host = scene.host(&["batch", "-j2", "--journal", "journal", "--", "sh", "-c", script]);
    let mut host = host.stdin(Stdio::piped()).spawn().unwrap();
    host.stdin.take().unwrap().write_all(b"1000\n").unwrap();
    scene.await_file("started");
    fs::rename(scene.path("journal/journal.sqlite"), scene.path("away")).unwrap();
    // SAFETY: no memory is involved.
    unsafe { libc::kill(host.id() as i32, libc::SIGTERM) };
    let finished = scene.finish(host);
    assert_eq!(finished.code, Some(143), "{}", finished.stderr);
    let printed = String::from_utf8_lossy(&finished.stdout);
    assert_eq!(
        printed.matches("\"status\":\"cancelled\"").count(),
        1,
        "{printed}"
    );
    assert!(
        finished
            .stderr
            .contains("the ends of the last runs are not in the journal"),
        "{}",
        finished.stderr
    );
    scene.assert_nothing_left();
}

#[test]
fn a_journal_that_can_not_be_written_is_waited_for() {
    let scene = Scene::new();
    let mut host = scene.host(&["batch", "-j2", "--journal", "journal", "--", "true"]);
    let mut host = host.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = host.stdin.take().unwrap();
    stdin.write_all(b"1\n").unwrap();
    let mut first = [0; 1];
    let mut stdout = host.stdout.take().unwrap();
    stdout.read_exact(&mut first).unwrap();
    let (there, away) = (scene.path("journal/journal.sqlite"), scene.path("away"));
    fs::rename(&there, &away).unwrap();
    stdin.write_all(b"2\n3\n").unwrap();
    drop(stdin);
    let mut stderr = host.stderr.take().unwrap();
    let mut said = Vec::new();
    while !String::from_utf8_lossy(&said).contains("no run is accepted") {
        let mut piece = [0; 1024];
        let read = stderr.read(&mut piece).unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&said));
        said.extend(&piece[..read]);
    }
    fs::rename(&away, &there).unwrap();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(scene.finish(host).code, Some(0));
    assert_eq!(rest.lines().count(), 3, "{rest}");
    assert_eq!(rest.matches("\"succeeded\"").count(), 3, "{rest}");
}
