//! Over generated documents, good and broken, the rules accept what RxP's own schemas accept, and what the
//! published schemas accept.
//!
//! Against RxP the two documented differences are taken out first: an absent field with a default is
//! filled in, and a runtime kind that RxP does not know is replaced by one that it does.
//!
//! `PROPTEST_CASES=100000` looks longer.

mod documents;

use documents::{awkward_values, collect, date_time, invocation, mutated, result};
use executor_runtime_protocol::{
    PluginDescriptor, RuntimeInvocation, RuntimeKind, RuntimeResult, Timestamp, schema,
};
use jsonschema::Validator;
use proptest::{collection::vec, prelude::*, sample::Index};
use serde_json::{Map, Value, json};
use std::{fs, path::Path, sync::LazyLock};

fn compile(schema: &Value) -> Validator {
    let options = jsonschema::options().should_validate_formats(true);
    options.build(schema).unwrap()
}

fn rxp(name: &str) -> Validator {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rxp/v0.1/schemas");
    let text = fs::read_to_string(folder.join(name)).unwrap();
    compile(&serde_json::from_str(&text).unwrap())
}

static RXP_INVOCATION: LazyLock<Validator> = LazyLock::new(|| rxp("runtime_invocation.schema.json"));
static RXP_RESULT: LazyLock<Validator> = LazyLock::new(|| rxp("runtime_result.schema.json"));
static OUR_INVOCATION: LazyLock<Validator> = LazyLock::new(|| compile(&schema::invocation()));
static OUR_RESULT: LazyLock<Validator> = LazyLock::new(|| compile(&schema::result()));
static DATE_TIME: LazyLock<Validator> = LazyLock::new(|| compile(&json!({"format": "date-time"})));
static OUR_DESCRIPTOR: LazyLock<Validator> = LazyLock::new(|| compile(&schema::descriptor()));

/// The document with the defaults of an invocation filled in.
fn with_defaults(mut document: Value) -> Value {
    if let Some(fields) = document.as_object_mut() {
        for (name, default) in [
            ("schema_version", json!("0.1")),
            ("contract_kind", json!("runtime_invocation")),
            ("environment", json!({})),
            ("timeout_seconds", Value::Null),
            ("input_payload_path", Value::Null),
            ("output_result_path", Value::Null),
            ("artifact_directory", Value::Null),
            ("metadata", json!({})),
        ] {
            fields.entry(name).or_insert(default);
        }
    }
    document
}

/// The document with a kind that RxP knows, if it has one of ours.
fn with_rxp_kind(mut document: Value) -> Value {
    if let Some(kind) = document.get_mut("runtime_kind")
        && kind.as_str().and_then(RuntimeKind::new).is_some()
    {
        *kind = "subprocess".into();
    }
    document
}

fn bytes(document: &Value) -> Vec<u8> {
    serde_json::to_vec(document).unwrap()
}

fn check_invocation(document: &Value) {
    let ours = RuntimeInvocation::from_json(&bytes(document));
    let through_serde = serde_json::from_value::<RuntimeInvocation>(document.clone()).ok();
    assert_eq!(through_serde, ours.as_ref().ok().cloned());
    let published = OUR_INVOCATION.is_valid(document);
    assert_eq!(
        ours.is_ok(),
        published,
        "rules and published schema\n{document}\n{ours:?}"
    );
    let rxp = RXP_INVOCATION.is_valid(&with_rxp_kind(with_defaults(document.clone())));
    assert_eq!(ours.is_ok(), rxp, "rules and RxP\n{document}\n{ours:?}");
}

fn check_result(document: &Value) {
    let ours = RuntimeResult::from_json(&bytes(document));
    let through_serde = serde_json::from_value::<RuntimeResult>(document.clone()).ok();
    assert_eq!(through_serde, ours.as_ref().ok().cloned());
    let published = OUR_RESULT.is_valid(document);
    assert_eq!(
        ours.is_ok(),
        published,
        "rules and published schema\n{document}\n{ours:?}"
    );
    let rxp = RXP_RESULT.is_valid(&with_rxp_kind(document.clone()));
    assert_eq!(ours.is_ok(), rxp, "rules and RxP\n{document}\n{ours:?}");
}

/// Calls `check` with the document after every single change: each value removed, each replaced by each
/// awkward value, and an unknown entry in each object and array.
fn with_every_change(document: &Value, check: fn(&Value)) {
    let mut pointers = Vec::new();
    collect(document, String::new(), |_| true, &mut pointers);
    for pointer in pointers {
        for value in awkward_values() {
            let mut changed = document.clone();
            *changed.pointer_mut(&pointer).unwrap() = value;
            check(&changed);
        }
        let mut grown = document.clone();
        match grown.pointer_mut(&pointer).unwrap() {
            Value::Object(fields) => drop(fields.insert("comand".into(), json!("x"))),
            Value::Array(items) => items.push(json!("x")),
            _ => {}
        }
        check(&grown);
        if let Some((parent, name)) = pointer.rsplit_once('/') {
            let mut reduced = document.clone();
            match reduced.pointer_mut(parent).unwrap() {
                Value::Object(fields) => drop(fields.remove(name)),
                Value::Array(items) => drop(items.remove(name.parse().unwrap())),
                _ => unreachable!("only objects and arrays have entries"),
            }
            check(&reduced);
        }
    }
}

fn example(name: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rxp/v0.1/examples");
    serde_json::from_slice(&fs::read(folder.join(name)).unwrap()).unwrap()
}

#[test]
fn every_change_to_an_invocation_is_judged_as_by_rxp() {
    with_every_change(
        &example("runtime_invocation.external_tool.json"),
        check_invocation,
    );
}

#[test]
fn every_change_to_a_result_is_judged_as_by_rxp() {
    with_every_change(&example("runtime_result.succeeded.json"), check_result);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(1024), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn invocations_are_those_of_rxp(document in mutated(invocation())) {
        check_invocation(&document);
    }

    #[test]
    fn results_are_those_of_rxp(document in mutated(result())) {
        check_result(&document);
    }

    #[test]
    fn date_times_are_those_of_rfc_3339(text in date_time()) {
        prop_assert_eq!(Timestamp::parse(&text).is_ok(), DATE_TIME.is_valid(&json!(text)));
    }

    #[test]
    fn what_is_written_is_valid_and_reads_as_the_same(document in invocation()) {
        let invocation = RuntimeInvocation::from_json(&bytes(&document)).unwrap();
        let written = serde_json::to_value(&invocation).unwrap();
        prop_assert!(RXP_INVOCATION.is_valid(&with_rxp_kind(written.clone())));
        prop_assert_eq!(RuntimeInvocation::from_json(&bytes(&written)).unwrap(), invocation);
    }

    #[test]
    fn damaged_text_is_never_taken_for_a_document(
        document in invocation(),
        damage in vec((any::<Index>(), any::<u8>()), 1..4),
    ) {
        let mut text = bytes(&document);
        for (place, byte) in damage {
            let place = place.index(text.len());
            text[place] = byte;
        }
        if RuntimeInvocation::from_json(&text).is_ok() {
            prop_assert!(serde_json::from_slice::<Map<String, Value>>(&text).is_ok());
        }
    }
}

#[test]
fn the_generators_make_good_and_broken_documents() {
    use proptest::{strategy::ValueTree as _, test_runner::TestRunner};

    let mut runner = TestRunner::deterministic();
    let documents = (mutated(invocation()), mutated(result()));
    let (mut good, mut broken) = ([0; 2], [0; 2]);
    for _ in 0..500 {
        let (invocation, result) = documents.new_tree(&mut runner).unwrap().current();
        let valid = [
            RuntimeInvocation::from_json(&bytes(&invocation)).is_ok(),
            RuntimeResult::from_json(&bytes(&result)).is_ok(),
        ];
        for (index, valid) in valid.into_iter().enumerate() {
            *(if valid {
                &mut good[index]
            } else {
                &mut broken[index]
            }) += 1;
        }
    }
    assert!(
        good.iter().chain(&broken).all(|&count| count > 50),
        "{good:?} good, {broken:?} broken"
    );
}

#[test]
fn every_valid_descriptor_fits_the_published_schema() {
    let mut valid = 0;
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/descriptor");
    for entry in fs::read_dir(vectors).unwrap() {
        let text = fs::read(entry.unwrap().path()).unwrap();
        if let Ok(descriptor) = PluginDescriptor::from_json(&text) {
            valid += 1;
            let document: Value = serde_json::from_slice(&text).unwrap();
            assert!(OUR_DESCRIPTOR.is_valid(&document), "{document}");
            let written = serde_json::to_value(&descriptor).unwrap();
            assert!(OUR_DESCRIPTOR.is_valid(&written), "{written}");
            assert_eq!(
                serde_json::from_value::<PluginDescriptor>(written).unwrap(),
                descriptor
            );
        }
    }
    assert!(valid >= 2);
}
