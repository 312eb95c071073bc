//! One source, two carriers: the same plugin behaves the same, and keeps the promises of a plugin.

use executor_runtime_testing::{
    Answer, CancelToken, CheckName, Loopback, PluginHost, RuntimeResult, Status, Verdict, assert_conforms,
    check,
};
use executor_runtime_tests::{fixtures, installed::Installed, not_tested, ulimit};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

fn carriers() -> [PathBuf; 2] {
    [
        fixtures::component("fixture-greet"),
        fixtures::native("fixture-greet"),
    ]
}

/// Status, exit code, receipt, and the name and content of each artifact.
type Comparable = (
    Status,
    Option<i64>,
    BTreeMap<String, String>,
    Vec<(String, String)>,
);

/// What both carriers have to agree on.
fn essence(result: &RuntimeResult) -> Comparable {
    let own = |key: &String| key.starts_with("greet.") || key == "plugin.progress" || key == "error.kind";
    let metadata = result.metadata.iter().filter(|(key, _)| own(key));
    let artifacts = result.artifacts.iter().map(|artifact| {
        let digest = artifact.metadata["sha256"].clone();
        (format!("{} {}", artifact.artifact_id, artifact.kind), digest)
    });
    (
        result.status,
        result.exit_code,
        metadata
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
        artifacts.collect(),
    )
}

#[test]
fn both_carriers_give_the_same_result() {
    let server = Loopback::answering([
        Answer::redirect(302, "/page"),
        Answer::status(404, vec![b'p'; 200_000]),
        Answer::redirect(302, "/page"),
        Answer::status(404, vec![b'p'; 200_000]),
    ]);
    let [component, native] = carriers().map(|file| {
        let host = PluginHost::configured(&file, "plugins.greet.config = { word = \"w\" }");
        let input = host.directory().join("input");
        std::fs::write(&input, "payload").unwrap();
        let invocation = host
            .invocation()
            .metadata("greet.name", "Ada")
            .metadata("greet.url", server.url("/start"))
            .metadata("greet.echo", "yes")
            .input(input);
        let result = host.run(invocation);
        assert_eq!(result.status, Status::Succeeded, "{:?}", result.error_summary);
        essence(&result)
    });
    assert_eq!(component, native);
    assert_eq!(component.2["greet.bytes"], "200000");
    assert_eq!(component.2["greet.status"], "404");
    assert_eq!(component.3.len(), 2);
    let requests = server.requests();
    assert_eq!(requests.len(), 4);
    assert_eq!(requests[0].header("user-agent"), requests[2].header("user-agent"));
}

#[test]
fn both_carriers_fail_in_the_same_words() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let [component, native] = carriers().map(|file| {
        let host = PluginHost::new(&file);
        let url = format!("http://{closed}/");
        let result = host.run(
            host.invocation()
                .metadata("greet.name", "x")
                .metadata("greet.url", url),
        );
        (essence(&result), result.error_summary)
    });
    assert_eq!(
        native.1.as_deref(),
        Some(&*format!("http error: connection refused by {closed}"))
    );
    assert_eq!(component, native);
}

#[test]
fn both_carriers_stop_at_once() {
    let silent = Loopback::answering([Answer::Silence]);
    for file in carriers() {
        let host = PluginHost::new(&file);
        // Loading is not what is timed here.
        host.run(host.invocation().metadata("greet.name", "x"));
        for key in [("greet.sleep", "3600".to_owned()), ("greet.url", silent.url("/"))] {
            let cancel = CancelToken::new();
            let raiser = cancel.clone();
            let thread = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(150));
                raiser.cancel();
                Instant::now()
            });
            let invocation = host
                .invocation()
                .metadata("greet.name", "x")
                .metadata(key.0, &key.1);
            let result = host.run_until(invocation, &cancel);
            let took = thread.join().unwrap().elapsed();
            assert_eq!(
                result.status,
                Status::Cancelled,
                "{}: {:?}",
                file.display(),
                result.error_summary
            );
            assert!(
                took < Duration::from_millis(150),
                "{} {}: {took:?}",
                file.display(),
                key.0
            );
        }
    }
}

#[test]
fn both_carriers_conform() {
    for file in carriers() {
        assert_conforms(&file);
    }
}

#[test]
fn a_plugin_that_rejects_in_good_order_conforms_so_far() {
    // The made-up values ask the fixture for nothing that it knows, which it rejects: in good order.
    let report = check(fixtures::native("fixture-hostile"));
    assert_eq!(report.verdict(CheckName::Loads), Some(&Verdict::Passed));
    assert_eq!(report.verdict(CheckName::MissingKey), Some(&Verdict::Passed));
}

#[test]
fn the_time_of_a_run_is_all_of_it_compiling_and_loading_included() {
    for file in carriers() {
        let place = Installed::file("greet", &file);
        let invocation = place.invocation(&[("greet.name", "Ada")]);
        let mut host = place.host();
        // A cache of its own: a component is compiled within the run.
        host.env("XDG_CACHE_HOME", place.scene.path("cache"));
        let begun = Instant::now();
        let finished = place.scene.run_command(&mut host, invocation.text().as_bytes());
        let result = finished.expect(Status::Succeeded);
        let outside = begun.elapsed().as_secs_f64();
        let wall: f64 = result.metadata["usage.wall_seconds"].parse().unwrap();
        let told = seconds(result.finished_at.as_str()) - seconds(result.started_at.as_str());
        let told = told.rem_euclid(60.0);
        assert!(
            (wall - told).abs() < 0.002,
            "{wall} s, but {told} s in between: {result:#?}"
        );
        assert!(wall <= outside, "{wall} s within {outside} s");
    }
}

/// The seconds of a timestamp within its minute.
fn seconds(timestamp: &str) -> f64 {
    timestamp[17..].trim_end_matches('Z').parse().unwrap()
}

/// Runs the plugin under each of the limits, until it succeeds; every other result says what the host is out of.
fn assert_exhausted(limits: impl Iterator<Item = String>, unused_user: bool, expected: &str) {
    let limits: Vec<_> = limits.collect();
    for file in carriers() {
        let place = Installed::file("greet", &file);
        let invocation = place.invocation(&[("greet.name", "Ada")]).text();
        let invocation = place.scene.file("invocation.json", invocation);
        let arguments = ["run", invocation.to_str().unwrap()];
        let mut rejected = 0;
        let succeeded = limits.iter().any(|limit| {
            let mut host = if unused_user {
                ulimit::host_of_unused_user(&place.scene, limit, &arguments).expect("it is root")
            } else {
                ulimit::host(&place.scene, limit, &arguments)
            };
            // Without a cache of its own: it has to compile.
            place.equip(&mut host).env("XDG_CACHE_HOME", "/dev/null");
            let finished = place.scene.run_command(&mut host, b"");
            if finished.code == Some(0) {
                return true;
            }
            // The kernel or the loader ends a program that does not even fit.
            if limit.starts_with("-v") && rejected == 0 && finished.stdout.is_empty() {
                return false;
            }
            let summary = finished.expect_rejected("host_exhausted").error_summary.unwrap();
            assert!(summary.starts_with(expected), "with {limit}: {summary}");
            rejected += 1;
            false
        });
        assert!(succeeded && rejected > 0, "{file:?}: {rejected}");
    }
}

#[test]
fn without_enough_descriptors_a_plugin_is_rejected_for_that_reason() {
    let limits = (6..=64).step_by(2).map(|limit| format!("-n {limit}"));
    assert_exhausted(
        limits,
        false,
        "the host is out of file descriptors; raise `ulimit -n`",
    );
}

#[test]
fn without_enough_memory_a_plugin_is_rejected_for_that_reason() {
    let limits = (5_000..60_000)
        .step_by(500)
        .chain([200_000, 1_000_000, 4_000_000, 4_300_000, 6_000_000]);
    let limits = limits.map(|limit| format!("-v {limit}"));
    assert_exhausted(limits, false, "the host is out of memory; raise `ulimit -v`");
}

#[test]
fn without_enough_processes_a_plugin_is_rejected_for_that_reason() {
    if !nix::unistd::geteuid().is_root() {
        return not_tested("a limit on processes", "only root can become a user without any");
    }
    // Of the threads that compile there is one for each processor.
    let limits = (1..200).map(|limit| format!("-u {limit}"));
    assert_exhausted(limits, true, "the host is out of processes; raise `ulimit -u`");
}
