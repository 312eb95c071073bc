//! Loading native plugins: code runs when a kind is used and not before, and what does not load says why.

use executor_runtime::{
    plugin::{State, discover},
    protocol::Status,
};
use executor_runtime_tests::{
    fixtures,
    installed::Installed,
    plugins::{Plugins, summary},
};
use nix::fcntl::{RenameFlags, renameat2};
use sha2::{Digest, Sha256};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

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
    let stdin = fs::read_to_string(mark).unwrap();
    assert_eq!(stdin, "/dev/null", "a library has no input while it is loaded");
}

#[test]
fn a_constructor_that_breaks_makes_the_plugin_unusable() {
    for (what, reason) in [
        ("abort", "it was ended by SIGABRT (signal 6)"),
        ("exit", "it exited with code 0"),
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
    let mut invocation = plugins.invocation("greet", &[("greet.name", "Ada"), ("greet.echo", "true")]);
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
        .expect(Status::Succeeded);
    let check = ["plugin", "check", "plugins/libfixture_hostile.so"];
    let said = place.scene.run_command(&mut place.scene.host(&check), b"");
    let report: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let loads = checks.iter().find(|check| check["name"] == "loads").unwrap();
    assert_eq!(loads["verdict"], "passed", "{report:#}");
}

#[test]
fn no_run_executes_a_file_that_is_not_the_pinned_one() {
    let place = Installed::file("greet", &fixtures::native("fixture-greet"));
    let pinned = place.scene.path("plugins/libfixture_greet.so");
    let bytes = fs::read(&pinned).unwrap();
    let other = place
        .scene
        .file("other.so", replaced(&bytes, b"Hello, ", b"Howdy, "));
    fs::set_permissions(&other, fs::Permissions::from_mode(0o644)).unwrap();
    let pin = format!("{:x}", Sha256::digest(&bytes));
    let place = place.configured(&format!("[plugins.greet]\nsha256 = \"{pin}\"\n"));
    let invocation = place.invocation(&[("greet.name", "Ada")]);

    let over = AtomicBool::new(false);
    let results: Vec<_> = thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                exchange(&pinned, &other);
            }
        });
        let _end = SetWhenDropped(&over);
        (0..100).map(|_| place.run(&invocation).result()).collect()
    });
    let mut succeeded = 0;
    for result in results {
        match result.status {
            // What the library's code says, not what the host says of it.
            Status::Succeeded => {
                assert_eq!(result.metadata["greet.text"], "Hello, Ada!");
                assert_eq!(result.metadata["plugin.sha256"], pin);
                succeeded += 1;
            }
            _ => assert_eq!(result.metadata["error.kind"], "plugin_unusable", "{result:#?}"),
        }
    }
    assert!(
        (1..100).contains(&succeeded),
        "the files were swapped meanwhile: {succeeded}"
    );
}

#[test]
fn what_is_written_to_a_library_after_it_was_loaded_changes_no_run() {
    let plugins = Plugins::new(&[fixtures::native("fixture-greet")], "");
    let run = || plugins.run("greet", &[("greet.name", "Ada")]);
    let before = run();
    assert_eq!(summary(&before), "succeeded");
    // In place, as a careless copy over it does.
    let file = plugins.plugins_directory().join("libfixture_greet.so");
    fs::write(file, "").unwrap();
    let after = run();
    assert_eq!(summary(&after), "succeeded");
    assert_eq!(after.metadata["plugin.sha256"], before.metadata["plugin.sha256"]);
}

#[test]
fn a_library_that_the_system_refuses_is_called_by_its_path() {
    let plugins = Plugins::new(&[], "");
    let file = plugins.plugins_directory().join("greet.so");
    let bytes = fs::read(fixtures::native("fixture-greet")).unwrap();
    fs::write(&file, replaced(&bytes, b"\0GLIBC_2.", b"\0GLIBC_9.")).unwrap();
    let found = summary(&plugins.run("greet", &[("greet.name", "Ada")]));
    let path = file.display();
    assert!(
        found.starts_with(&format!(
            "rejected plugin_unusable: plugin 'greet': '{path}' can't be used: the system can't load it: "
        )),
        "{found}"
    );
    assert!(found.ends_with(&format!("(required by {path})")), "{found}");
}

/// `bytes` with `to` wherever `from` is.
pub(super) fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    let places: Vec<_> = (0..=bytes.len() - from.len())
        .filter(|&at| bytes[at..].starts_with(from))
        .collect();
    assert!(!places.is_empty(), "{} is not there", from.escape_ascii());
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    bytes
}

/// Also where a test fails, so that no thread goes on.
struct SetWhenDropped<'a>(&'a AtomicBool);

impl Drop for SetWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Swaps two files, so that there is one of them at each path at any time.
fn exchange(one: &Path, other: &Path) {
    let here = nix::fcntl::AT_FDCWD;
    renameat2(here, one, here, other, RenameFlags::RENAME_EXCHANGE).unwrap();
}
