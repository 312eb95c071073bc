//! A native plugin without runs has no processes: they end after `idle_seconds`, and the next run starts them anew. No run is
//! lost or executed twice by that.

use executor_runtime_tests::{
    eventually, fixtures,
    plugins::{Plugins, summary},
    scripted::{Answer, Scripted},
};
use std::{fs, thread, time::Duration};

fn greet(idle_seconds: &str) -> Plugins {
    let config = format!("plugins.greet.idle_seconds = {idle_seconds}");
    Plugins::new(&[fixtures::native("fixture-greet")], &config)
}

/// The processes that have loaded a plugin of this host, or are forked from one.
fn loaded(plugins: &Plugins) -> usize {
    let directory = plugins.plugins_directory();
    let directory = directory.to_str().unwrap();
    let names = |process: &fs::DirEntry| {
        let command = fs::read(process.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains(directory)
    };
    fs::read_dir("/proc").unwrap().flatten().filter(names).count()
}

fn children(of: &str) -> Vec<String> {
    let list = fs::read_to_string(format!("/proc/{of}/children")).unwrap();
    list.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn a_plugin_without_runs_has_no_process_until_the_next() {
    let before = children("thread-self");
    let plugins = greet("0.1");
    let all = children("thread-self");
    let spawner = all.iter().find(|pid| !before.contains(pid)).unwrap();
    for _ in 0..3 {
        let result = plugins.run("greet", &[("greet.name", "Ada")]);
        assert_eq!(summary(&result), "succeeded");
        eventually("the end of the plugin's processes", || {
            (loaded(&plugins) == 0).then_some(())
        });
        // What supervised the plugin's process has ended with it, and was collected.
        eventually("the end of its supervisor", || {
            children(&format!("{spawner}/task/{spawner}"))
                .is_empty()
                .then_some(())
        });
    }
}

#[test]
fn a_plugin_that_is_kept_for_no_time_is_loaded_for_each_run() {
    let plugins = greet("0");
    for _ in 0..3 {
        assert_eq!(
            summary(&plugins.run("greet", &[("greet.name", "Ada")])),
            "succeeded"
        );
        eventually("its end", || (loaded(&plugins) == 0).then_some(()));
    }
}

#[test]
fn a_plugin_is_kept_while_runs_follow_one_another() {
    let plugins = greet("60");
    for _ in 0..3 {
        assert_eq!(
            summary(&plugins.run("greet", &[("greet.name", "Ada")])),
            "succeeded"
        );
        // The template, and the supervisor of its runs.
        assert_eq!(loaded(&plugins), 2);
    }
}

#[test]
fn a_run_may_take_longer_than_its_plugin_would_be_kept_idle() {
    let plugins = greet("0.05");
    let long = plugins.run("greet", &[("greet.name", "Ada"), ("greet.sleep", "0.5")]);
    assert_eq!(summary(&long), "succeeded");
    thread::scope(|scope| {
        // Another ends meanwhile.
        let long = scope.spawn(|| plugins.run("greet", &[("greet.name", "Ada"), ("greet.sleep", "0.5")]));
        let short = plugins.run("greet", &[("greet.name", "Eve")]);
        assert_eq!(summary(&short), "succeeded");
        assert_eq!(summary(&long.join().unwrap()), "succeeded");
    });
}

#[test]
fn no_run_is_lost_or_executed_twice_when_they_come_at_the_interval_at_which_processes_end() {
    const THREADS: usize = 3;
    const RUNS: usize = 60;
    let plugins = greet("0.02");
    let server = Scripted::start(|_, _| Answer::new(200, "a page"));
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (plugins, server) = (&plugins, &server);
            scope.spawn(move || {
                for run in 0..RUNS {
                    let url = server.url(&format!("/{thread}/{run}"));
                    let result = plugins.run("greet", &[("greet.name", "Ada"), ("greet.url", &url)]);
                    assert_eq!(summary(&result), "succeeded");
                    // From a little less than the time to a little more.
                    thread::sleep(Duration::from_micros(17_000 + 100 * run as u64));
                }
            });
        }
    });
    let mut seen = server.lines();
    seen.sort();
    let mut sent: Vec<_> = (0..THREADS)
        .flat_map(|thread| (0..RUNS).map(move |run| format!("GET /{thread}/{run}")))
        .collect();
    sent.sort();
    assert_eq!(seen, sent);
    eventually("the end of all", || (loaded(&plugins) == 0).then_some(()));
}
