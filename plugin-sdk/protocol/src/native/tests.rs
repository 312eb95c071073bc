//! What crosses the ABI does not change.

use super::*;
use abi_stable::type_layout::{TLData, TLField, TLFunction};
use std::{collections::BTreeMap, fmt::Write};

/// The ABI in words: the types of this crate, with their sizes and fields.
fn words() -> String {
    let mut types = BTreeMap::new();
    for root in [PluginRef::LAYOUT, HostRef::LAYOUT, CreateFailure::LAYOUT] {
        describe(root, &mut types);
    }
    types.into_values().collect()
}

fn fields(layout: &'static TypeLayout) -> Vec<TLField> {
    match layout.data() {
        TLData::Struct { fields } => fields.iter().chain(layout.phantom_fields().iter()).collect(),
        TLData::PrefixType(prefix) => prefix.fields.iter().collect(),
        TLData::Enum(variants) => variants.fields.iter().collect(),
        _ => Vec::new(),
    }
}

fn describe(layout: &'static TypeLayout, types: &mut BTreeMap<&'static str, String>) {
    let fields = fields(layout);
    let is_ours = layout.package() == env!("CARGO_PKG_NAME");
    if is_ours && types.contains_key(layout.name()) {
        return;
    }
    if is_ours {
        let prefix = match layout.data() {
            TLData::PrefixType(prefix) => format!(", the first {} fixed", prefix.first_suffix_field),
            _ => String::new(),
        };
        let (size, align) = (layout.size(), layout.alignment());
        let mut text = format!("{} ({size} bytes, aligned to {align}{prefix})\n", layout.name());
        for field in &fields {
            let functions: Vec<_> = field.function_range().iter().map(|f| signature(&f)).collect();
            let kind = match functions.is_empty() {
                true => field.full_type().to_string(),
                false => functions.join(" "),
            };
            // Writing to a string can't fail.
            let _ = writeln!(text, "    {}: {kind}", field.name());
        }
        types.insert(layout.name(), text);
    }
    fields.iter().for_each(|field| describe(field.layout(), types));
}

/// With what is in the type that it returns, whose arguments are not printed.
fn signature(function: &TLFunction) -> String {
    let text = function.to_string();
    // After it come the lifetimes.
    let text = text.lines().next().unwrap_or_default();
    let Some(returned) = function.return_type_layout() else {
        return text.to_owned();
    };
    let parts: Vec<_> = fields(returned())
        .iter()
        .map(|field| field.full_type().to_string())
        .collect();
    match parts.is_empty() {
        true => text.to_owned(),
        false => format!("{text} of {}", parts.join(", ")),
    }
}

/// The ABI of interface 1.0, as it was published.
const FROZEN_1_0: &str = include_str!("frozen_1_0.txt");
/// The same of 1.1.
const FROZEN_1_1: &str = include_str!("frozen_1_1.txt");

#[test]
fn the_abi_is_frozen() {
    let now = words();
    assert!(
        now == FROZEN_1_1,
        "the ABI of native plugins has changed, and plugins that were built with 1.1 may not load any more.\n\
         1.1 is frozen: undo the change, and add what is new for 1.2 after the fields that are there, without moving \
         `last_prefix_field` (see plugin-sdk/COMPATIBILITY.md). It is now:\n{now}"
    );
}

#[test]
fn what_1_1_has_more_than_1_0_comes_after_it() {
    let (old, new) = (types(FROZEN_1_0), types(FROZEN_1_1));
    assert!(old.keys().eq(new.keys()), "no type was added or removed");
    for (name, (shape, fields)) in old {
        let (new_shape, new_fields) = &new[name];
        assert_eq!(shape, *new_shape, "{name}");
        assert!(new_fields.starts_with(&fields), "{name}: {new_fields:#?}");
        let added = &new_fields[fields.len()..];
        let expected: &[&str] = match name {
            "Host" => &["    last_will: fn(command,: RSlice<'a>)->RResult of (), RString"],
            _ => &[],
        };
        assert_eq!(added, expected, "{name}");
    }
}

/// The types of a description by name: what follows the size, and the fields.
fn types(description: &str) -> BTreeMap<&str, (&str, Vec<&str>)> {
    let mut types = BTreeMap::new();
    let mut last = "";
    for line in description.lines() {
        match line.split_once(" (") {
            Some((name, shape)) if !line.starts_with(' ') => {
                let (_, shape) = shape.split_once(", ").unwrap();
                types.insert(name, (shape, Vec::new()));
                last = name;
            }
            _ => types.get_mut(last).unwrap().1.push(line),
        }
    }
    types
}

/// This ABI with something added, as a later minor version may have it.
#[allow(dead_code, reason = "only their layout is compared")]
mod later {
    use crate::native::{CreateFailure, abi_stable};
    use abi_stable::{
        StableAbi,
        std_types::{ROption, RResult, RSlice, RStr, RString, RVec},
    };

    #[repr(C)]
    #[derive(Clone, Copy, StableAbi)]
    #[sabi(kind(Prefix(prefix_ref = PluginRef, prefix_fields = PluginPrefix)))]
    #[sabi(missing_field(option))]
    pub(super) struct Plugin {
        #[sabi(last_prefix_field)]
        pub(super) invoke: extern "C" fn(invocation: RSlice<'_, u8>, host: HostRef) -> RVec<u8>,
        pub(super) more: extern "C" fn(),
    }

    #[repr(C)]
    #[derive(Clone, Copy, StableAbi)]
    #[sabi(kind(Prefix(prefix_ref = HostRef, prefix_fields = HostPrefix)))]
    #[sabi(missing_field(option))]
    pub(super) struct Host {
        pub(super) log: extern "C" fn(level: u8, message: RStr<'_>),
        pub(super) progress: extern "C" fn(fraction: f64, message: RStr<'_>),
        pub(super) stop_requested: extern "C" fn() -> bool,
        pub(super) wait_stop: extern "C" fn(nanoseconds: u64) -> bool,
        pub(super) stop_descriptor: extern "C" fn() -> i32,
        pub(super) remaining: extern "C" fn() -> u64,
        pub(super) grace: extern "C" fn() -> u64,
        pub(super) config: extern "C" fn(key: RStr<'_>) -> ROption<RString>,
        pub(super) open_input: extern "C" fn() -> RResult<i32, RString>,
        pub(super) create_artifact: extern "C" fn(
            name: RStr<'_>,
            kind: RStr<'_>,
            description: RStr<'_>,
        ) -> RResult<u64, CreateFailure>,
        pub(super) write_artifact:
            extern "C" fn(artifact: u64, bytes: RSlice<'_, u8>) -> RResult<u64, RString>,
        pub(super) finish_artifact: extern "C" fn(artifact: u64) -> RResult<u64, RString>,
        pub(super) drop_artifact: extern "C" fn(artifact: u64),
        pub(super) checkpoint: extern "C" fn(state: RSlice<'_, u8>) -> RResult<(), RString>,
        pub(super) resumed: extern "C" fn() -> ROption<RVec<u8>>,
        #[sabi(last_prefix_field)]
        pub(super) reopen_artifact: extern "C" fn(
            name: RStr<'_>,
            kind: RStr<'_>,
            description: RStr<'_>,
            length: u64,
        ) -> RResult<u64, CreateFailure>,
        pub(super) last_will: extern "C" fn(command: RSlice<'_, RStr<'_>>) -> RResult<(), RString>,
        pub(super) more: extern "C" fn(),
    }
}

#[test]
fn a_later_minor_version_has_all_that_this_one_has_and_not_the_other_way_round() {
    assert!(offers(PluginRef::LAYOUT));
    let (now, later) = (PluginRef::LAYOUT, later::PluginRef::LAYOUT);
    assert!(is_later(later) && is_later(now));
    assert!(!offers(later));
}

#[test]
fn a_reply_is_readable_json() {
    let reply = Reply::Failure {
        status: crate::Status::TimedOut,
        kind: "timeout".into(),
        summary: "s".into(),
        exit_code: None,
        receipt: BTreeMap::new(),
        delegated_run: None,
    };
    let json = serde_json::to_string(&reply).unwrap();
    assert_eq!(
        json,
        r#"{"failure":{"status":"timed_out","kind":"timeout","summary":"s","exit_code":null,"receipt":{}}}"#
    );
    // A plugin that knows of no more fields than these says the same.
    assert_eq!(serde_json::from_str::<Reply>(&json).unwrap(), reply);
}

#[test]
fn what_is_told_of_a_delegated_run_is_read_by_the_rules_of_rxp() {
    let reply = |path: &str| {
        let artifact = format!(
            r#"{{"schema_version":"0.1","contract_kind":"artifact_descriptor","artifact_id":"a","path":"{path}",
            "kind":"log","description":"","metadata":{{}}}}"#
        );
        let delegated_run = format!(
            r#"{{"started_at":"2026-01-02T03:04:05Z","finished_at":"2026-01-02T03:04:06Z",
            "stdout_path":"/o","stderr_path":null,"artifacts":[{artifact}]}}"#
        );
        serde_json::from_str::<Reply>(&format!(
            r#"{{"outcome":{{"exit_code":0,"receipt":{{}},"delegated_run":{delegated_run}}}}}"#
        ))
    };
    let Ok(Reply::Outcome {
        delegated_run: Some(delegated_run),
        ..
    }) = reply("/x")
    else {
        panic!("it is well-formed");
    };
    assert_eq!(delegated_run.artifacts[0].path, "/x");
    assert!(reply("").is_err());
}
