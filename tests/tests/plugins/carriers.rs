//! One source, two carriers: the same plugin behaves the same, and keeps the promises of a plugin.

use executor_runtime_testing::{
    Answer, Loopback, PluginHost, RuntimeResult, Status, Verdict, assert_conforms, check,
};
use executor_runtime_tests::{eventually, fixtures, installed::Installed, marked, not_tested, ulimit};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt,
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
        fs::write(&input, "payload").unwrap();
        let invocation = host
            .invocation()
            .metadata("greet.name", "Ada")
            .metadata("greet.url", server.url("/start"))
            .metadata("greet.echo", "true")
            .input(input);
        let result = host.run(invocation);
        assert_eq!(result.status, Status::Succeeded, "{:?}", result.error_summary);
        essence(&result)
    });
    assert_eq!(component, native);
    assert_eq!(component.2["greet.bytes"], "200000");
    assert_eq!(component.2["greet.told"], "200000");
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
fn both_carriers_try_again_and_read_what_they_get() {
    let server = Loopback::new(|request| match request.target.as_str() {
        "/numbers?all&of=a%20b%26" => Answer::status(200, r#"{"a": 1, "b": 2}"#),
        "/text" => Answer::status(200, r#"{"a": "one"}"#),
        _ => Answer::status(503, "down").header("retry-after", "0"),
    });
    let [component, native] = carriers().map(|file| {
        let host = PluginHost::new(&file);
        let ask = |path: &str, metadata: &[(&str, &str)]| {
            let url = server.url(path);
            let named = host
                .invocation()
                .metadata("greet.name", "x")
                .metadata("greet.url", url);
            let invocation = metadata
                .iter()
                .fold(named, |all, (key, value)| all.metadata(key, *value));
            let result = host.run(invocation);
            (essence(&result), result.error_summary)
        };
        let before = server.requests().len();
        let tried = ask("/down", &[("greet.retries", "2")]);
        let attempts = server.requests().len() - before;
        let count = ("greet.count", "true");
        let sum = ask("/numbers?all", &[count, ("greet.query.of", "a b&")]);
        let wrong = ask("/text", &[count]);
        (tried, attempts, sum, wrong)
    });
    assert_eq!(component, native);
    let (tried, attempts, sum, wrong) = native;
    assert_eq!((attempts, &*tried.0.2["greet.status"]), (3, "503"));
    assert_eq!(tried.0.2["greet.told"], "4");
    assert_eq!(sum.0.2["greet.sum"], "3");
    let reason = wrong.1.unwrap();
    assert!(
        reason.contains("not the JSON that was expected: invalid type: string"),
        "{reason}"
    );
}

#[test]
fn both_carriers_stop_at_once() {
    let silent = Loopback::answering([Answer::Silence]);
    for file in carriers() {
        let host = PluginHost::new(&file);
        // Loading is not what is timed here.
        host.run(host.invocation().metadata("greet.name", "x"));
        for (key, value) in [("greet.sleep", "3600".to_owned()), ("greet.url", silent.url("/"))] {
            let artifacts = host.directory().join(key);
            let invocation = host
                .invocation()
                .metadata("greet.name", "x")
                .metadata("greet.remember", "yes")
                .metadata(key, &value)
                .artifact_directory(&artifacts);
            let run = host.start(invocation);
            eventually("the plugin keeping whom it greets", || {
                let captures = fs::read_dir(&artifacts).ok()?;
                let mut captures = captures.flatten();
                captures.find(|capture| capture.path().join("checkpoint").exists())
            });
            let begun = Instant::now();
            run.cancel();
            let result = run.finish();
            let took = begun.elapsed();
            assert_eq!(
                result.status,
                Status::Cancelled,
                "{}: {:?}",
                file.display(),
                result.error_summary
            );
            // Its grace is two seconds.
            assert!(
                took < Duration::from_millis(500),
                "{} {key}: {took:?}",
                file.display(),
            );
        }
    }
}

#[test]
fn a_run_that_is_cancelled_at_once_still_has_a_result() {
    for file in carriers() {
        let host = PluginHost::new(&file);
        for _ in 0..5 {
            let run = host.start(
                host.invocation()
                    .metadata("greet.name", "x")
                    .metadata("greet.sleep", "60"),
            );
            run.cancel();
            assert_eq!(run.finish().status, Status::Cancelled);
        }
    }
}

#[test]
fn a_run_that_is_dropped_leaves_no_process() {
    let silent = Loopback::answering([Answer::Silence]);
    for (number, file) in carriers().iter().enumerate() {
        let host = PluginHost::new(file);
        // Every process of the host has it in its environment.
        let mark = format!("XDG_DATA_HOME={}", host.directory().join("data").display());
        let run = host.start(
            host.invocation()
                .metadata("greet.name", "x")
                .metadata("greet.url", silent.url("/")),
        );
        assert!(silent.wait_for_requests(number + 1, Duration::from_secs(60)));
        assert!(!marked(&mark).is_empty());
        drop(run);
        assert_eq!(marked(&mark), []);
    }
}

#[test]
fn a_component_is_compiled_once_for_all_tests() {
    let file = fixtures::component("fixture-greet");
    let run = || {
        let host = PluginHost::new(&file);
        host.run(host.invocation().metadata("greet.name", "x"));
    };
    run();
    let entries = || {
        let cache = std::env::current_exe().unwrap().with_file_name("host-cache");
        let entries = fs::read_dir(cache.join("executor-runtime")).unwrap();
        let entries = entries.map(|entry| {
            let entry = entry.unwrap();
            // One that is written again is another file.
            (entry.file_name(), entry.metadata().unwrap().ino())
        });
        entries.collect::<BTreeSet<_>>()
    };
    let before = entries();
    assert!(!before.is_empty());
    run();
    assert!(before.is_subset(&entries()));
}

#[test]
fn a_plugin_or_configuration_that_can_not_be_used_is_told_of() {
    let text = |run: fn(PathBuf)| {
        let panic = std::panic::catch_unwind(|| run(fixtures::native("fixture-greet"))).unwrap_err();
        *panic.downcast::<String>().unwrap()
    };
    for (run, words) in [
        (
            (|_| drop(PluginHost::new("/etc/passwd"))) as fn(PathBuf),
            "'/etc/passwd' is not a plugin file: it is named neither *.wasm nor *.so",
        ),
        (
            |file| drop(PluginHost::configured(file, "plugins.greet.enabled = 1")),
            "executor-runtime.toml",
        ),
        (
            |file| drop(PluginHost::configured(file, "plugins.greet.enabled = false")),
            "disabled",
        ),
        (
            |file| {
                let host = PluginHost::new(file);
                host.run(host.invocation().edit(|invocation| invocation.command.clear()));
            },
            "/command: found an empty array",
        ),
    ] {
        let said = text(run);
        assert!(said.contains(words), "'{words}' in {said}");
    }
}

#[test]
fn nothing_for_authors_links_the_host() {
    for package in [
        "executor-runtime-testing",
        "executor-runtime-sdk",
        "executor-runtime-protocol",
        "executor-runtime-tls",
    ] {
        let tree = guest_build::cargo_command()
            .args([
                "tree",
                "--offline",
                "--locked",
                "--edges=normal,build",
                "--prefix=none",
            ])
            .args(["--format={p} ({l})", "--package", package])
            .current_dir(guest_build::workspace())
            .output()
            .unwrap();
        let printed = String::from_utf8(tree.stdout).unwrap();
        assert!(
            printed.starts_with(package),
            "{}",
            String::from_utf8_lossy(&tree.stderr)
        );
        for dependency in printed.lines() {
            assert!(!dependency.contains("AGPL"), "{package} depends on {dependency}");
            assert!(
                !dependency.starts_with("wasm"),
                "{package} depends on {dependency}"
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
    assert_eq!(report.verdict("loads"), Some(&Verdict::Passed));
    assert_eq!(report.verdict("missing_key"), Some(&Verdict::Passed));
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
