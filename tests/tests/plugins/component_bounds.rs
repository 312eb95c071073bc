//! A hostile component harms nobody: each behaviour ends in bounded time and memory, as a result that names
//! the plugin.

use executor_runtime::{Ending, ErrorKind, Outcome, plugin::Limits, protocol::Status};
use executor_runtime_tests::component::{Harness, Settings, ms};
use std::time::Instant;

fn harness() -> Harness {
    Harness::new(
        "fixture-behaviours",
        Settings {
            limits: Limits {
                grace: ms(200),
                memory_bytes: 64 << 20,
                artifact_bytes: 1 << 20,
                artifacts: 50,
            },
            ..Settings::default()
        },
    )
}

fn summary(outcome: &Outcome) -> &str {
    match &outcome.ending {
        Ending::Succeeded => "succeeded",
        Ending::Unsuccessful(failure) => &failure.summary,
    }
}

fn kind(outcome: &Outcome) -> Option<ErrorKind> {
    match &outcome.ending {
        Ending::Succeeded => None,
        Ending::Unsuccessful(failure) => Some(failure.kind.clone()),
    }
}

#[tokio::test]
async fn whatever_breaks_off_is_a_failure_that_names_the_plugin() {
    let harness = harness();
    for (behaviour, expected, words) in [
        ("trap", ErrorKind::PluginCrashed, "accessed memory out of bounds"),
        ("panic", ErrorKind::PluginCrashed, "the sky is falling"),
        ("exit", ErrorKind::PluginCrashed, "called exit(1)"),
        ("recurse", ErrorKind::PluginCrashed, "overflowed its stack"),
        (
            "recurse_in_memory",
            ErrorKind::PluginCrashed,
            "recursion was too deep",
        ),
        (
            "memory_bomb",
            ErrorKind::PluginLimit,
            "memory limit of 64 MiB: hold less in memory at a time, or raise limits.memory_bytes",
        ),
        (
            "result_of_1_gb",
            ErrorKind::PluginLimit,
            "limit of 16 MiB for one call",
        ),
        ("invalid_utf8", ErrorKind::PluginCrashed, "utf-8"),
        ("leak_handles", ErrorKind::PluginLimit, "limit of 1024 handles"),
        (
            "leak_memory_in_host",
            ErrorKind::PluginLimit,
            "limit of 1024 handles",
        ),
        ("random_flood", ErrorKind::PluginCrashed, "exceeds limit"),
    ] {
        let started = Instant::now();
        let outcome = harness.scenario(behaviour).deadline(ms(20_000)).run().await;
        eprintln!("{behaviour}: {:?} {}", started.elapsed(), summary(&outcome));
        assert_eq!(
            kind(&outcome),
            Some(expected),
            "{behaviour}: {}",
            summary(&outcome)
        );
        assert!(summary(&outcome).contains("plugin 'fixture'"), "{behaviour}");
        assert!(
            summary(&outcome).contains(words),
            "{behaviour}: {}",
            summary(&outcome)
        );
        assert_eq!(outcome.receipt["plugin.carrier"], "component");
    }
}

#[tokio::test]
async fn floods_are_cut_off_and_counted() {
    let harness = harness();
    for behaviour in ["log_flood", "stdout_flood"] {
        let outcome = harness.run(behaviour).await;
        assert_eq!(outcome.status(), Status::Succeeded, "{}", summary(&outcome));
        let dropped: u64 = outcome.receipt["plugin.log_dropped"].parse().unwrap();
        assert!(dropped > 9000, "{behaviour}: {dropped}");
    }
    let outcome = harness
        .scenario("progress_flood")
        .with("fixture.count", 100_000)
        .run()
        .await;
    assert_eq!(outcome.status(), Status::Succeeded);
    assert!(outcome.receipt["plugin.progress"].len() < 300);
    let outcome = harness.run("receipt_flood").await;
    assert_eq!(outcome.receipt["plugin.name"], "fixture");
    assert!(outcome.receipt.len() < 300 && !outcome.receipt.contains_key("error.kind"));
}

#[tokio::test]
async fn a_guest_that_never_returns_is_ended_after_its_grace() {
    let harness = harness();
    for behaviour in ["spin", "ignore_stop", "spin_after_stop"] {
        let started = Instant::now();
        let outcome = harness.scenario(behaviour).deadline(ms(300)).run().await;
        let took = started.elapsed();
        assert_eq!(kind(&outcome), Some(ErrorKind::Timeout), "{}", summary(&outcome));
        assert!(
            summary(&outcome).contains("was killed: it did not return within its grace period"),
            "{}",
            summary(&outcome)
        );
        assert!(took >= ms(450) && took < ms(800), "{behaviour} took {took:?}");
    }
}

#[tokio::test]
async fn a_guest_that_stops_when_asked_tells_its_own_story() {
    let harness = harness();
    let outcome = harness.scenario("wait_for_stop").deadline(ms(50)).run().await;
    assert_eq!(kind(&outcome), Some(ErrorKind::Timeout));
    assert_eq!(summary(&outcome), "told its backend, then stopped");

    let scenario = harness.scenario("wait_for_stop");
    let cancel = scenario.cancel_token();
    let (outcome, ()) = tokio::join!(scenario.run(), async {
        tokio::time::sleep(ms(20)).await;
        cancel.cancel();
    });
    assert_eq!(kind(&outcome), Some(ErrorKind::Cancelled));
    assert_eq!(summary(&outcome), "told its backend, then stopped");
}

#[tokio::test]
async fn a_kill_leaves_no_grace() {
    let harness = harness();
    for behaviour in ["spin", "ignore_stop", "wait_for_stop"] {
        let scenario = harness.scenario(behaviour);
        let cancel = scenario.cancel_token();
        std::thread::spawn(move || {
            std::thread::sleep(ms(50));
            cancel.kill();
        });
        let started = Instant::now();
        let outcome = scenario.run().await;
        assert_eq!(outcome.status(), Status::Cancelled, "{}", summary(&outcome));
        assert!(
            started.elapsed() < ms(190),
            "{behaviour} took {:?}",
            started.elapsed()
        );
    }
}

#[tokio::test]
async fn no_state_is_left_for_the_next_run() {
    let harness = harness();
    for _ in 0..3 {
        assert_eq!(harness.run("static_counter").await.receipt["runs"], "1");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_good_runs_beside_hostile_ones_are_unaffected() {
    let harness = std::sync::Arc::new(harness());
    let hostile: Vec<_> = [
        "spin",
        "spin",
        "memory_bomb",
        "recurse",
        "log_flood",
        "leak_handles",
    ]
    .into_iter()
    .map(|behaviour| {
        let harness = std::sync::Arc::clone(&harness);
        tokio::spawn(async move { harness.scenario(behaviour).deadline(ms(2000)).run().await })
    })
    .collect();
    let started = Instant::now();
    let good: Vec<_> = (0..100)
        .map(|_| {
            let harness = std::sync::Arc::clone(&harness);
            tokio::spawn(async move { harness.run("echo").await })
        })
        .collect();
    for run in good {
        let outcome = run.await.unwrap();
        assert_eq!(outcome.status(), Status::Succeeded, "{}", summary(&outcome));
    }
    assert!(started.elapsed() < ms(2000), "{:?}", started.elapsed());
    for run in hostile {
        run.await.unwrap();
    }
}

#[tokio::test]
async fn artifacts_are_capped_in_size_and_number() {
    let harness = harness();
    let outcome = harness.run("artifact_flood").await;
    assert_eq!(outcome.receipt["size"], (1 << 20).to_string());
    assert_eq!(outcome.artifacts[0].metadata["truncated"], "true");
    let outcome = harness.run("many_artifacts").await;
    assert_eq!(outcome.artifacts.len(), 50);
    assert!(
        outcome.receipt["error"].contains("TooMany"),
        "{:?}",
        outcome.receipt
    );
}
