//! Interface 1.0 does not change: not in `wit/`, nor in what a plugin of it finds. What was built for an interface before it
//! is told so.

use super::native_loading::replaced;
use executor_runtime_protocol::{COMPONENT_SECTION, Status};
use executor_runtime_tests::{fixtures, home::Home, plugins::Plugins};
use sha2::{Digest, Sha256};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The digest of `wit/` as it was published with interface 1.0.
const WIT: &str = "b7da4c5df17cc1b150f2cb96af63acca76e7f80b333ae950c2b28e44bc61e45a";

const PRE_RELEASE: &str = "was built for a pre-release interface; rebuild it with the current plugin-sdk";

fn wit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit")
}

/// The paths of the WIT files below `folder`.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else if path.extension().is_some_and(|extension| extension == "wit") {
            files.push(path);
        }
    }
    files.sort();
    files
}

#[test]
fn wit_is_frozen() {
    let mut digest = Sha256::new();
    for file in files(&wit()) {
        let name = file.strip_prefix(wit()).unwrap().to_str().unwrap();
        let text = fs::read(&file).unwrap();
        digest.update(format!("{name} {}\n", text.len()));
        digest.update(text);
    }
    let found = format!("{:x}", digest.finalize());
    assert_eq!(
        found, WIT,
        "\nwit/ has changed, and 1.0 is frozen: components that were built with it have to load in every 1.x.\n\
         Undo the change. What is new goes to 1.1: raise the version of the package, mark each addition with\n\
         `@since(version = 1.1.0)`, change no record, variant or function that is there, leave the copy in\n\
         tests/fixtures/components/first-interface/wit as it is, and put the new digest here.\n\
         See plugin-sdk/COMPATIBILITY.md."
    );
}

#[test]
fn the_fixture_of_the_first_interface_has_its_own_copy_of_it() {
    let copy = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/components/first-interface/wit");
    let mut digest = Sha256::new();
    for name in ["host.wit", "runner-types.wit"] {
        digest.update(fs::read(copy.join(name)).unwrap());
    }
    assert_eq!(
        format!("{:x}", digest.finalize()),
        "119d70c8f5ba32da3ec090dc97c8799537e0ef1f2c1d338ecf3d616ecfaa20cb",
        "the copy is what was published as 1.0, and never changes"
    );
}

#[test]
fn a_native_plugin_of_the_first_interface_keeps_running() {
    let plugins = Plugins::new(&[fixtures::native("fixture-first-native-interface")], "");
    assert_eq!(
        plugins.run("first_native_interface", &[]).status,
        Status::Rejected
    );
    let result = plugins.run_for(60, "first_native_interface", &[("first.word", "hello")]);
    assert_eq!(result.status, Status::Succeeded, "{result:#?}");
    assert_eq!(result.exit_code, Some(0));
    for (key, expected) in [
        ("word", "hello"),
        ("facts", "(false, false, false, true, 2000000000)"),
        ("size", "ROk(5) ROk(5)"),
        ("again", "RErr(CreateFailure { reason: 1, limit: 0, text: \"\" })"),
        ("input", "ROk(-1)"),
        ("config", "RNone"),
        ("checkpoint", "ROk(()) RNone"),
        (
            "reopened",
            "4: artifact 'other' can't be reopened: this run does not go on from an interrupted one, of which \
             `resumed` has the checkpoint; create it",
        ),
    ] {
        assert_eq!(result.metadata[key], expected, "{key}");
    }
    let [word] = &result.artifacts[..] else {
        panic!("{result:#?}")
    };
    assert_eq!(fs::read_to_string(&word.path).unwrap(), "hello");
}

/// A component that imports one interface, and has a descriptor.
fn component_importing(interface: &str) -> Vec<u8> {
    let section = |id: u8, content: &[u8]| {
        // LEB128; nothing here is longer than two of its bytes.
        let length = [(content.len() as u8 & 0x7f) | 0x80, (content.len() >> 7) as u8];
        [&[id][..], &length, content].concat()
    };
    let name = |name: &str| [&[name.len() as u8], name.as_bytes()].concat();
    let descriptor =
        br#"{"name": "old", "version": "0.1.0", "kinds": ["old"], "interface": "1.0", "summary": "A test"}"#;
    [
        b"\0asm\x0d\0\x01\0".to_vec(),
        section(0, &[name(COMPONENT_SECTION), descriptor.to_vec()].concat()),
        // One type, an instance that has nothing; one import, an instance of that type.
        section(7, &[1, 0x42, 0]),
        section(10, &[&[1, 0][..], &name(interface), &[5, 0]].concat()),
    ]
    .concat()
}

#[test]
fn a_plugin_of_a_pre_release_interface_is_told_so_wherever_it_is_met() {
    let component = component_importing("executor-runtime:plugin/types@1.0.0");
    let library = fs::read(fixtures::native("fixture-first-native-interface")).unwrap();
    let library = replaced(
        &library,
        b".executor_runtime_plugin\0",
        b".executor_runtime\0\0\0\0\0\0\0\0",
    );
    for (file, bytes, kind) in [
        ("old.wasm", component, "old"),
        ("old.so", library, "first_native_interface"),
    ] {
        let home = Home::new();
        let path = home.write(file, &bytes);
        let checked = home.run(&["plugin", "check", &path]);
        assert_eq!(checked.code, Some(1), "{checked:?}");
        let report = checked.json();
        let checks = report["checks"].as_array().unwrap();
        let interface = checks.iter().find(|check| check["name"] == "interface").unwrap();
        assert_eq!(interface["verdict"], "failed", "{report:#}");
        assert_eq!(interface["reason"], format!("it {PRE_RELEASE}"));
        home.run(&["plugin", "install", &path]).fails_with(PRE_RELEASE);
        fs::create_dir_all(home.plugins()).unwrap();
        fs::copy(&path, home.plugins().join(file)).unwrap();
        let listed = home.run(&["plugin", "list"]).json();
        let listed = listed.as_array().unwrap();
        let found = listed.iter().find(|found| {
            let path = found["path"].as_str().unwrap();
            path.ends_with(file)
        });
        assert_eq!(found.unwrap()["reason"], PRE_RELEASE);
        let ran = home.run(&["run", "--kind", kind, "--", "x"]);
        let result = ran.json();
        assert_eq!(result["status"], "rejected", "{result:#}");
        assert_eq!(result["metadata"]["error.kind"], "plugin_unusable");
        let summary = result["error_summary"].as_str().unwrap();
        assert!(summary.contains(PRE_RELEASE), "{summary}");
    }
}

#[test]
fn a_library_with_another_layout_is_told_to_be_rebuilt() {
    let plugins = Plugins::new(&[], "");
    let library = fs::read(fixtures::native("fixture-first-native-interface")).unwrap();
    // As it is called in the layout that the library brings along.
    let other = replaced(&library, b"reopen_artifact", b"reopen_artefact");
    fs::write(plugins.plugins_directory().join("other.so"), other).unwrap();
    let result = plugins.run("first_native_interface", &[]);
    assert_eq!(result.metadata["error.kind"], "plugin_unusable");
    let summary = result.error_summary.unwrap();
    assert!(
        summary.ends_with(&format!("can't be used: it {PRE_RELEASE}")),
        "{summary}"
    );
}
