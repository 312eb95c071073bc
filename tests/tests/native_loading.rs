//! Loading native plugins: code runs when a kind is used and not before, and what does not load says why.

use executor_runtime::plugin::{State, discover};
use executor_runtime_tests::{
    fixtures,
    installed::Installed,
    plugins::{Plugins, summary},
};
use std::fs;

fn constructor(what: &str) -> Plugins {
    let plugins = Plugins::new(&[fixtures::native("fixture-constructor")], "");
    fs::write(plugins.plugins_directory().join("constructor.txt"), what).unwrap();
    plugins
}

#[test]
fn listing_runs_no_constructor_and_running_does() {
    let plugins = constructor("nothing");
    let found = discover(&[plugins.plugins_directory()], &Default::default());
    assert!(matches!(found[0].state, State::Usable(_)));
    assert_eq!(plugins.runtime.kinds().len(), 2);
    let mark = plugins.plugins_directory().join("constructed.txt");
    assert!(!mark.exists());
    assert_eq!(summary(&plugins.run("constructor", &[])), "succeeded");
    assert!(mark.exists());
}

#[test]
fn a_constructor_that_breaks_makes_the_plugin_unusable() {
    for (what, reason) in [
        ("abort", "it was ended by SIGABRT (signal 6)"),
        ("exit", "it ended its process with code 0"),
    ] {
        let found = summary(&constructor(what).run("constructor", &[]));
        assert!(
            found.starts_with("rejected plugin_unusable: plugin 'constructor': '"),
            "{found}"
        );
        assert!(found.contains(&format!("can't be used: {reason}")), "{found}");
        assert!(found.contains("while it was loaded"), "{found}");
    }
}

#[test]
fn a_constructor_that_hangs_does_not_hang_the_run() {
    let result = constructor("hang").run_for(1, "constructor", &[]);
    assert_eq!(
        summary(&result),
        "timed_out timeout: stopped while plugin 'constructor' was loaded"
    );
}

#[test]
fn threads_of_a_constructor_do_not_stop_the_runs() {
    let plugins = constructor("threads");
    for _ in 0..50 {
        assert_eq!(summary(&plugins.run_for(10, "constructor", &[])), "succeeded");
    }
}

#[test]
fn a_plugin_has_what_the_host_offers() {
    let plugins = Plugins::new(
        &[fixtures::native("fixture-greet")],
        "plugins.greet.config = { word = \"ok\" }",
    );
    let input = plugins.directory().join("input.bin");
    fs::write(&input, vec![7; 300_000]).unwrap();
    let mut invocation = plugins.invocation("greet", &[("greet.name", "Ada"), ("greet.echo", "yes")]);
    invocation.input_payload_path = Some(input.to_string_lossy().into_owned());
    let result = plugins.runtime.run_blocking(invocation);
    assert_eq!(summary(&result), "succeeded");
    assert_eq!(result.exit_code, Some(0));
    assert_eq!(result.metadata["greet.text"], "Hello, Ada!");
    assert_eq!(result.metadata["greet.word"], "ok");
    assert_eq!(result.metadata["plugin.progress"], "0.5 halfway");
    let artifact = &result.artifacts[0];
    assert_eq!(
        (
            artifact.artifact_id.as_str(),
            artifact.metadata["size_bytes"].as_str()
        ),
        ("input", "300000")
    );
    assert_eq!(fs::read(&artifact.path).unwrap(), vec![7; 300_000]);
}

#[test]
fn a_relative_path_is_meant_from_where_the_host_was_started() {
    let place = Installed::file("hostile", &fixtures::native("fixture-hostile"));
    let run = [
        "--plugins-dir",
        "plugins",
        "run",
        "--kind",
        "hostile",
        "--metadata",
        "hostile.do=nothing",
        "--",
        "x",
    ];
    place
        .scene
        .run_command(&mut place.scene.host(&run), b"")
        .expect(executor_runtime::protocol::Status::Succeeded);
    let check = ["plugin", "check", "plugins/libfixture_hostile.so"];
    let said = place.scene.run_command(&mut place.scene.host(&check), b"");
    let report: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let loads = checks.iter().find(|check| check["name"] == "loads").unwrap();
    assert_eq!(loads["verdict"], "passed", "{report:#}");
}
