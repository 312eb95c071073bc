//! Rust types and traits for the WIT package in `wit/`.
//!
//! Host functions return `wasmtime::Result`, so that an error of the host's own tables ends the guest instead
//! of the process; those that touch files are `async`, so that a waiting guest costs no thread.

#![allow(missing_docs, reason = "generated; the documentation stands in wit/")]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "executor-runtime:plugin/runner",
    imports: {
        "executor-runtime:plugin/host.open-input": async | trappable,
        "executor-runtime:plugin/host.create-artifact": async | trappable,
        "executor-runtime:plugin/host.reopen-artifact": async | trappable,
        "executor-runtime:plugin/host.[static]artifact.finish": async | trappable,
        "executor-runtime:plugin/host.checkpoint": async | trappable,
        "executor-runtime:plugin/host.resumed": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    // What a guest is called with is passed as it is.
    ownership: Borrowing { duplicate_if_necessary: false },
    require_store_data_send: true,
    with: {
        "wasi:io": wasmtime_wasi::p2::bindings::io,
        "wasi:clocks": wasmtime_wasi::p2::bindings::clocks,
        "wasi:random": wasmtime_wasi::p2::bindings::random,
        "wasi:http": wasmtime_wasi_http::p2::bindings::http,
        "executor-runtime:plugin/host.artifact": super::artifact::Artifact,
    },
});

pub(crate) use self::executor_runtime::plugin::{host, runner_types};
