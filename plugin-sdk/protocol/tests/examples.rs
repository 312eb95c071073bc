//! Every example of RxP 0.1 passes through unchanged.

use executor_runtime_protocol::{RuntimeInvocation, RuntimeResult};
use serde_json::Value;
use std::{fs, path::Path};

/// The examples whose names begin with `prefix`.
fn examples(prefix: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rxp/v0.1/examples");
    let mut examples: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            (
                entry.file_name().into_string().unwrap(),
                fs::read(entry.path()).unwrap(),
            )
        })
        .filter(|(name, _)| name.starts_with(prefix))
        .collect();
    examples.sort();
    examples
}

/// The keys of each object, in the order of the text.
fn keys(json: &str) -> Vec<&str> {
    let lines = json.lines().map(str::trim);
    lines
        .filter_map(|line| Some(line.split_once("\": ")?.0))
        .collect()
}

#[test]
fn invocations_round_trip() {
    let examples = examples("runtime_invocation.");
    assert_eq!(examples.len(), 2);
    for (name, json) in examples {
        let invocation = RuntimeInvocation::from_json(&json).unwrap();
        let written = serde_json::to_string_pretty(&invocation).unwrap();
        assert_eq!(
            serde_json::from_str::<Value>(&written).unwrap(),
            serde_json::from_slice::<Value>(&json).unwrap(),
            "{name}"
        );
        assert_eq!(
            serde_json::from_str::<RuntimeInvocation>(&written).unwrap(),
            invocation
        );
        assert_eq!(
            serde_json::from_slice::<RuntimeInvocation>(&json).unwrap(),
            invocation
        );
    }
}

#[test]
fn results_round_trip() {
    let examples = examples("runtime_result.");
    assert_eq!(examples.len(), 4);
    for (name, json) in examples {
        let result = RuntimeResult::from_json(&json).unwrap();
        let written = serde_json::to_string_pretty(&result).unwrap();
        assert_eq!(
            serde_json::from_str::<Value>(&written).unwrap(),
            serde_json::from_slice::<Value>(&json).unwrap(),
            "{name}"
        );
        assert_eq!(serde_json::from_str::<RuntimeResult>(&written).unwrap(), result);
        // RxP's own examples write the fields in the schema's order.
        assert_eq!(
            keys(&written),
            keys(std::str::from_utf8(&json).unwrap()),
            "{name}"
        );
    }
}

#[test]
fn an_invocation_writes_its_fields_in_the_schemas_order() {
    let (_, json) = examples("runtime_invocation.subprocess").remove(0);
    let invocation = RuntimeInvocation::from_json(&json).unwrap();
    let written = serde_json::to_string_pretty(&invocation).unwrap();
    assert_eq!(keys(&written), keys(std::str::from_utf8(&json).unwrap()));
}
