//! Documents as data: each `vectors/<document>/<case>.json` is read as that document, and what is said
//! about it is the text in `<case>.txt`. These texts are part of the product; review them as such.
//!
//! `UPDATE_VECTORS=1 cargo test -p executor-runtime-protocol --test vectors` writes them anew.

use executor_runtime_protocol::{
    ArtifactDescriptor, InvalidDocument, PluginDescriptor, RuntimeInvocation, RuntimeResult,
};
use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/vectors")
        .join(name)
}

/// Compares what `report` says about each case in the folder with its text.
fn check(name: &str, report: impl Fn(&[u8]) -> String) {
    let mut wrong = Vec::new();
    let mut cases = 0;
    for entry in fs::read_dir(folder(name)).unwrap() {
        let json = entry.unwrap().path();
        if json.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        cases += 1;
        let text = json.with_extension("txt");
        let said = report(&fs::read(&json).unwrap()) + "\n";
        if env::var_os("UPDATE_VECTORS").is_some() {
            fs::write(&text, &said).unwrap();
        }
        let expected = fs::read_to_string(&text).unwrap_or_default();
        if said != expected {
            wrong.push(format!(
                "{}\nsays:\n{said}\nexpected:\n{expected}",
                json.display()
            ));
        }
    }
    assert!(cases > 0, "no cases in {name}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn verdict<T>(read: Result<T, InvalidDocument>) -> String {
    match read {
        Ok(_) => "valid".into(),
        Err(invalid) => invalid.to_string(),
    }
}

#[test]
fn invocations() {
    check("invocation", |json| verdict(RuntimeInvocation::from_json(json)));
}

#[test]
fn results() {
    check("result", |json| verdict(RuntimeResult::from_json(json)));
}

#[test]
fn artifacts() {
    check("artifact", |json| verdict(ArtifactDescriptor::from_json(json)));
}

#[test]
fn descriptors() {
    check("descriptor", |json| verdict(PluginDescriptor::from_json(json)));
}

/// Invocations' metadata, under one plugin's descriptor: the problems, or what the plugin receives and
/// which URLs it is meant to reach.
#[test]
fn metadata() {
    let descriptor = fs::read(folder("metadata").join("descriptor.json")).unwrap();
    let descriptor = PluginDescriptor::from_json(&descriptor).unwrap();
    check("metadata/cases", |json| {
        let given: BTreeMap<String, String> = serde_json::from_slice(json).unwrap();
        let lines: Vec<String> = match descriptor.check_metadata(&given) {
            Err(problems) => problems.iter().map(ToString::to_string).collect(),
            Ok(metadata) => {
                let values = metadata.iter().map(|(key, value)| format!("{key} = {value:?}"));
                let urls = descriptor
                    .urls(&metadata)
                    .map(|(key, url)| format!("{key} reaches {}", url.authority().unwrap()));
                values.chain(urls).collect()
            }
        };
        lines.join("\n")
    });
}
