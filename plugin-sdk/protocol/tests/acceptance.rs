//! Over generated documents, good and broken, the rules accept what RxP's own schemas accept, and what the
//! published schemas accept.
//!
//! Against RxP the two documented differences are taken out first: an absent field with a default is
//! filled in, and a runtime kind that RxP does not know is replaced by one that it does.
//!
//! `PROPTEST_CASES=100000` looks longer.

use executor_runtime_protocol::{
    PluginDescriptor, RuntimeInvocation, RuntimeKind, RuntimeResult, Timestamp, schema,
};
use jsonschema::Validator;
use proptest::{
    collection::vec, option, prelude::*, sample::Index, sample::select, string::string_regex,
};
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

static RXP_INVOCATION: LazyLock<Validator> =
    LazyLock::new(|| rxp("runtime_invocation.schema.json"));
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

/// Texts that a regular expression describes, compiled once.
fn matching(pattern: &str) -> impl Strategy<Value = String> + use<> {
    string_regex(pattern).unwrap()
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        matching("[a-z/.]{1,8}"),
        matching("\\PC{1,4}")
    ]
}

fn non_empty() -> impl Strategy<Value = String> {
    matching("[a-z/ ]{1,8}")
}

fn strings() -> impl Strategy<Value = Value> {
    vec((text(), text()), 0..3).prop_map(|pairs| {
        let pairs = pairs.into_iter().map(|(key, value)| (key, value.into()));
        Value::Object(pairs.collect())
    })
}

fn kind() -> impl Strategy<Value = String> {
    prop_oneof![
        select(&RuntimeKind::RXP[..]).prop_map(String::from),
        matching("[a-z][a-z0-9_]{0,63}")
    ]
}

/// Date-times, and texts that nearly are.
fn date_time() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => matching("20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T(0[0-9]|1[0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-]0[0-9]:[0-5][0-9])"),
        1 => matching("[0-9]{4}-[01][0-9]-[0-3][0-9][Tt ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,7})?(Z|z|[+-][0-2][0-9]:[0-6][0-9])?"),
        1 => matching("2016-12-31T(23:59|22:59|23:58|00:59|08:29):60(\\.5)?(Z|[+-](00:00|01:00|09:00|08:30|15:30))"),
    ]
}

fn object(fields: Vec<(&'static str, Option<Value>)>) -> Value {
    let fields = fields.into_iter();
    Value::Object(
        fields
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect(),
    )
}

/// Valid invocations, with and without the fields that may be absent.
fn invocation() -> impl Strategy<Value = Value> {
    let required = (
        non_empty(),
        non_empty(),
        kind(),
        non_empty(),
        vec(text(), 1..4),
    );
    let seconds = prop_oneof![
        Just(json!(null)),
        Just(json!(5.0)),
        Just(json!(1e300)),
        (1..u64::MAX).prop_map(Value::from)
    ];
    let path = || option::of(option::of(text()).prop_map(Value::from));
    let defaulted = (
        option::of(Just(json!("0.1"))),
        option::of(Just(json!("runtime_invocation"))),
        option::of(strings()),
        option::of(seconds),
        (path(), path(), path()),
        option::of(strings()),
    );
    (required, defaulted).prop_map(|((id, name, kind, directory, command), defaulted)| {
        let (version, contract, environment, seconds, (input, output, artifacts), metadata) =
            defaulted;
        object(vec![
            ("schema_version", version),
            ("contract_kind", contract),
            ("invocation_id", Some(id.into())),
            ("runtime_name", Some(name.into())),
            ("runtime_kind", Some(kind.into())),
            ("working_directory", Some(directory.into())),
            ("command", Some(command.into())),
            ("environment", environment),
            ("timeout_seconds", seconds),
            ("input_payload_path", input),
            ("output_result_path", output),
            ("artifact_directory", artifacts),
            ("metadata", metadata),
        ])
    })
}

fn artifact() -> impl Strategy<Value = Value> {
    (non_empty(), non_empty(), non_empty(), text(), strings()).prop_map(
        |(id, path, kind, description, metadata)| {
            json!({
                "schema_version": "0.1",
                "contract_kind": "artifact_descriptor",
                "artifact_id": id,
                "path": path,
                "kind": kind,
                "description": description,
                "metadata": metadata,
            })
        },
    )
}

/// Results that are valid but for some of their timestamps.
fn result() -> impl Strategy<Value = Value> {
    let statuses = [
        "pending",
        "running",
        "succeeded",
        "failed",
        "timed_out",
        "cancelled",
        "rejected",
    ];
    let code = prop_oneof![
        Just(json!(null)),
        Just(json!(-9.0)),
        Just(json!(-1e300)),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from)
    ];
    let identity = (
        non_empty(),
        non_empty(),
        kind(),
        select(statuses.to_vec()),
        code,
    );
    let times = (date_time(), date_time());
    let paths = (option::of(text()), option::of(text()), option::of(text()));
    (identity, times, paths, vec(artifact(), 0..3), strings()).prop_map(
        |(
            (id, name, kind, status, code),
            (started, finished),
            (stdout, stderr, summary),
            artifacts,
            metadata,
        )| {
            json!({
                "schema_version": "0.1",
                "contract_kind": "runtime_result",
                "invocation_id": id,
                "runtime_name": name,
                "runtime_kind": kind,
                "status": status,
                "exit_code": code,
                "started_at": started,
                "finished_at": finished,
                "stdout_path": stdout,
                "stderr_path": stderr,
                "artifacts": artifacts,
                "error_summary": summary,
                "metadata": metadata,
            })
        },
    )
}

/// A way to break a document, or to leave it as valid as it was.
#[derive(Clone, Debug)]
enum Mutation {
    /// Another value somewhere.
    Replace(Index, Value),
    /// One entry less in some object or array.
    Remove(Index, Index),
    /// One entry more in some object or array.
    Insert(Index, String, Value),
}

impl Mutation {
    fn apply(self, document: &mut Value) {
        match self {
            Self::Replace(place, value) => *pick(document, place, |_| true) = value,
            Self::Remove(place, entry) => match pick(document, place, has_entries) {
                Value::Object(fields) if !fields.is_empty() => {
                    let key = fields.keys().nth(entry.index(fields.len())).cloned();
                    key.and_then(|key| fields.remove(&key));
                }
                Value::Array(items) if !items.is_empty() => {
                    drop(items.remove(entry.index(items.len())))
                }
                _ => {}
            },
            Self::Insert(place, key, value) => match pick(document, place, |value| {
                value.is_object() || value.is_array()
            }) {
                Value::Object(fields) => drop(fields.insert(key, value)),
                Value::Array(items) => items.push(value),
                _ => {}
            },
        }
    }
}

fn has_entries(value: &Value) -> bool {
    value.as_object().is_some_and(|fields| !fields.is_empty())
        || value.as_array().is_some_and(|items| !items.is_empty())
}

/// One of the values in the document that `wanted` takes; the document itself if there is none.
fn pick(document: &mut Value, place: Index, wanted: fn(&Value) -> bool) -> &mut Value {
    let mut pointers = Vec::new();
    collect(document, String::new(), wanted, &mut pointers);
    let pointer = if pointers.is_empty() {
        String::new()
    } else {
        pointers.swap_remove(place.index(pointers.len()))
    };
    document.pointer_mut(&pointer).unwrap()
}

fn collect(value: &Value, pointer: String, wanted: fn(&Value) -> bool, pointers: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let key = key.replace('~', "~0").replace('/', "~1");
                collect(value, format!("{pointer}/{key}"), wanted, pointers);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                collect(value, format!("{pointer}/{index}"), wanted, pointers);
            }
        }
        _ => {}
    }
    if wanted(value) {
        pointers.push(pointer);
    }
}

/// Values that sit on some border of some rule.
fn awkward() -> impl Strategy<Value = Value> {
    let fixed = select(vec![
        json!(null),
        json!(true),
        json!(0),
        json!(-0.0),
        json!(1),
        json!(-1),
        json!(5.0),
        json!(1.5),
        json!(-1.5),
        json!(1e300),
        json!(-1e300),
        json!(1e-300),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(""),
        json!(" "),
        json!("x"),
        json!("0.1"),
        json!("0.2"),
        json!("runtime_invocation"),
        json!("runtime_result"),
        json!("artifact_descriptor"),
        json!("subprocess"),
        json!("Subprocess"),
        json!("greet"),
        json!("greet\n"),
        json!("a-b"),
        json!("succeeded"),
        json!("success"),
        json!("5"),
        json!([]),
        json!([""]),
        json!(["a", 1]),
        json!([[]]),
        json!([{}]),
        json!({}),
        json!({"a": "b"}),
        json!({"a": 1}),
        json!({"a": null}),
        json!({"": {}}),
    ]);
    prop_oneof![8 => fixed, 1 => date_time().prop_map(Value::from), 1 => kind().prop_map(Value::from)]
}

fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let names = select(vec![
        "timeout_seconds",
        "exit_code",
        "command",
        "metadata",
        "comand",
        "schema_version",
        "a",
        "",
        "~/",
    ]);
    let one = prop_oneof![
        4 => (any::<Index>(), awkward()).prop_map(|(place, value)| Mutation::Replace(place, value)),
        2 => any::<(Index, Index)>().prop_map(|(place, entry)| Mutation::Remove(place, entry)),
        2 => (any::<Index>(), names, awkward()).prop_map(|(place, key, value)| Mutation::Insert(place, key.into(), value)),
    ];
    vec(one, 0..4)
}

/// Documents of which some are valid still.
fn mutated(document: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    (document, mutations()).prop_map(|(mut document, mutations)| {
        for mutation in mutations {
            mutation.apply(&mut document);
        }
        document
    })
}

fn bytes(document: &Value) -> Vec<u8> {
    serde_json::to_vec(document).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(1024), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn invocations_are_those_of_rxp(document in mutated(invocation())) {
        let ours = RuntimeInvocation::from_json(&bytes(&document));
        let through_serde = serde_json::from_value::<RuntimeInvocation>(document.clone()).ok();
        prop_assert_eq!(through_serde, ours.as_ref().ok().cloned());
        let explained = format!("{ours:?}");
        prop_assert_eq!(ours.is_ok(), OUR_INVOCATION.is_valid(&document), "published schema: {}", explained);
        let document = with_rxp_kind(with_defaults(document));
        prop_assert_eq!(ours.is_ok(), RXP_INVOCATION.is_valid(&document), "RxP: {}", explained);
    }

    #[test]
    fn results_are_those_of_rxp(document in mutated(result())) {
        let ours = RuntimeResult::from_json(&bytes(&document));
        let through_serde = serde_json::from_value::<RuntimeResult>(document.clone()).ok();
        prop_assert_eq!(through_serde, ours.as_ref().ok().cloned());
        let explained = format!("{ours:?}");
        prop_assert_eq!(ours.is_ok(), OUR_RESULT.is_valid(&document), "published schema: {}", explained);
        let document = with_rxp_kind(document);
        prop_assert_eq!(ours.is_ok(), RXP_RESULT.is_valid(&document), "RxP: {}", explained);
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
