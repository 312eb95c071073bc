//! Documents of both kinds, good ones and ones that were broken in some place.

use executor_runtime_protocol::RuntimeKind;
use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{Index, select},
    string::string_regex,
};
use serde_json::{Value, json};

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

pub(crate) fn kind() -> impl Strategy<Value = String> {
    prop_oneof![
        select(&RuntimeKind::RXP[..]).prop_map(String::from),
        matching("[a-z][a-z0-9_]{0,63}")
    ]
}

/// Date-times, and texts that nearly are.
pub(crate) fn date_time() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => matching("20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T(0[0-9]|1[0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-]0[0-9]:[0-5][0-9])"),
        1 => matching("[0-9]{4}-[01][0-9]-[0-3][0-9][Tt ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,7})?(Z|z|[+-][0-2][0-9]:[0-6][0-9])?"),
        1 => matching("([0-9]{2}00|20[0-9]{2})-(02|04|12)-(28|29|30|31)T00:00:00Z"),
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
pub(crate) fn invocation() -> impl Strategy<Value = Value> {
    let required = (non_empty(), non_empty(), kind(), non_empty(), vec(text(), 1..4));
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
        let (version, contract, environment, seconds, (input, output, artifacts), metadata) = defaulted;
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
pub(crate) fn result() -> impl Strategy<Value = Value> {
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
    let identity = (non_empty(), non_empty(), kind(), select(statuses.to_vec()), code);
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
                Value::Array(items) if !items.is_empty() => drop(items.remove(entry.index(items.len()))),
                _ => {}
            },
            Self::Insert(place, key, value) => {
                match pick(document, place, |value| value.is_object() || value.is_array()) {
                    Value::Object(fields) => drop(fields.insert(key, value)),
                    Value::Array(items) => items.push(value),
                    _ => {}
                }
            }
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

pub(crate) fn collect(
    value: &Value,
    pointer: String,
    wanted: fn(&Value) -> bool,
    pointers: &mut Vec<String>,
) {
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
pub(crate) fn awkward_values() -> Vec<Value> {
    vec![
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
    ]
}

fn awkward() -> impl Strategy<Value = Value> {
    prop_oneof![
        8 => select(awkward_values()),
        1 => date_time().prop_map(Value::from),
        1 => kind().prop_map(Value::from),
    ]
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
pub(crate) fn mutated(document: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    (document, mutations()).prop_map(|(mut document, mutations)| {
        for mutation in mutations {
            mutation.apply(&mut document);
        }
        document
    })
}
