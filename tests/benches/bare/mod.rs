//! A program that has wasmtime and nothing else: what a plugin's call takes there.

#![allow(dead_code, reason = "not every bench uses all of it")]

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use std::path::Path;
use wasmtime::{
    Config, Engine, Store,
    component::{Component, HasSelf, Linker, Resource, ResourceTable},
};
use wasmtime_wasi::{
    WasiCtx, WasiCtxView, WasiView, async_trait,
    p2::{DynInputStream, DynOutputStream, DynPollable, Pollable, subscribe},
};
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

mod bindings {
    #![allow(missing_docs, reason = "generated; the documentation stands in wit/")]
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "executor-runtime:plugin/runner",
        imports: { default: trappable },
        exports: { default: async },
        require_store_data_send: true,
        with: {
            "wasi:io": wasmtime_wasi::p2::bindings::io,
            "wasi:clocks": wasmtime_wasi::p2::bindings::clocks,
            "wasi:random": wasmtime_wasi::p2::bindings::random,
            "wasi:http": wasmtime_wasi_http::p2::bindings::http,
        },
    });
}

use bindings::{
    RunnerPre,
    executor_runtime::plugin::{
        host::{self, Artifact, ArtifactError, Host, HostArtifact, Level},
        runner_types::{Invocation, Outcome},
    },
};

/// Has this program map the code in the file that comes next, call it, and end.
pub(crate) const ARGUMENT: &str = "bare";

/// A component that is linked.
pub(crate) struct Bare {
    engine: Engine,
    pre: RunnerPre<State>,
}

impl Bare {
    /// The component whose code is in this file of our cache.
    pub(crate) fn new(engine: &Engine, code: &Path) -> Self {
        // SAFETY: it is what `serialize` made, in a directory that only this user may enter.
        let component =
            unsafe { Component::deserialize_file(engine, code) }.expect("the engine's settings are ours");
        let mut linker = Linker::new(engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).expect("it is empty");
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker).expect("it has no HTTP");
        host::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state).expect("it has none of it");
        let pre = linker.instantiate_pre(&component).and_then(RunnerPre::new);
        Self {
            engine: engine.clone(),
            pre: pre.expect("the component is a plugin"),
        }
    }

    /// Calls it in an instance of its own, to greet someone.
    pub(crate) async fn call(&self, name: &str) {
        let outcome = self.run(&invocation("greet", &[("greet.name", name)])).await;
        assert!(matches!(outcome, Outcome::Succeeded(_)));
    }

    /// Calls it with this invocation in an instance of its own.
    pub(crate) async fn run(&self, invocation: &Invocation) -> Outcome {
        let mut store = Store::new(&self.engine, State::new());
        store.set_epoch_deadline(u64::from(u32::MAX));
        let instance = self
            .pre
            .instantiate_async(&mut store)
            .await
            .expect("it is instantiated");
        let plugin = instance.executor_runtime_plugin_run();
        plugin.call_run(&mut store, invocation).await.expect("it returns")
    }
}

/// The whole program: engine, code, linking, one call.
pub(crate) fn one_shot(code: &Path) {
    let mut config = Config::new();
    // Those of our settings that the code depends on; with others, it would be refused.
    config
        .epoch_interruption(true)
        .generate_address_map(false)
        .native_unwind_info(false);
    let engine = Engine::new(&config).expect("an engine");
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let bare = Bare::new(&engine, code);
    executor.expect("a runtime").block_on(bare.call("Ada"));
}

pub(crate) fn invocation(kind: &str, metadata: &[(&str, &str)]) -> Invocation {
    let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    Invocation {
        invocation_id: "bench".to_owned(),
        runtime_name: "bench".to_owned(),
        runtime_kind: kind.to_owned(),
        working_directory: "/".to_owned(),
        command: vec!["run".to_owned()],
        environment: Vec::new(),
        timeout_seconds: None,
        input_payload_path: None,
        artifact_directory: None,
        metadata: metadata.iter().map(pair).collect(),
    }
}

struct State {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: Running,
}

impl State {
    fn new() -> Self {
        Self {
            table: ResourceTable::new(),
            wasi: WasiCtx::builder().build(),
            http: WasiHttpCtx::new(),
            hooks: Running,
        }
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.hooks,
            table: &mut self.table,
            ctx: &mut self.http,
        }
    }
}

/// Answers each request at once, and says that whatever it is about is under way.
struct Running;

type Sending = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl WasiHttpHooks for Running {
    fn send_request(
        &mut self,
        _: http::Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Sending,
    ) -> Box<dyn Future<Output = Result<(http::Response<WasiBody>, Sending), Error>> + Send> {
        let body = Full::new(Bytes::from_static(br#"{"status": "running"}"#));
        let body = body.map_err(|never| match never {}).boxed_unsync();
        Box::new(async { Ok((http::Response::new(body), Box::new(async { Ok(()) }) as Sending)) })
    }
}

/// It is never asked to stop.
struct Never;

#[async_trait]
impl Pollable for Never {
    async fn ready(&mut self) {
        std::future::pending().await
    }
}

/// What is called by none of those that are run here traps.
fn not_called<T>() -> wasmtime::Result<T> {
    Err(wasmtime::Error::msg("it is not there"))
}

impl Host for State {
    fn log(&mut self, _: Level, _: String) -> wasmtime::Result<()> {
        Ok(())
    }

    fn progress(&mut self, _: Option<f64>, _: String) -> wasmtime::Result<()> {
        Ok(())
    }

    fn remaining(&mut self) -> wasmtime::Result<Option<u64>> {
        Ok(None)
    }

    fn stop_requested(&mut self) -> wasmtime::Result<bool> {
        Ok(false)
    }

    fn subscribe_stop(&mut self) -> wasmtime::Result<Resource<DynPollable>> {
        let never = self.table.push(Never)?;
        subscribe(&mut self.table, never)
    }

    fn grace(&mut self) -> wasmtime::Result<u64> {
        Ok(0)
    }

    fn config(&mut self, _: String) -> wasmtime::Result<Option<String>> {
        Ok(None)
    }

    fn open_input(&mut self) -> wasmtime::Result<Result<Option<Resource<DynInputStream>>, String>> {
        Ok(Ok(None))
    }

    fn create_artifact(
        &mut self,
        _: String,
        _: String,
        _: String,
    ) -> wasmtime::Result<Result<Resource<Artifact>, ArtifactError>> {
        not_called()
    }

    fn reopen_artifact(
        &mut self,
        _: String,
        _: String,
        _: String,
        _: u64,
    ) -> wasmtime::Result<Result<Resource<Artifact>, ArtifactError>> {
        not_called()
    }

    fn checkpoint(&mut self, _: Vec<u8>) -> wasmtime::Result<Result<(), String>> {
        Ok(Ok(()))
    }

    fn resumed(&mut self) -> wasmtime::Result<Option<Vec<u8>>> {
        Ok(None)
    }
}

impl HostArtifact for State {
    fn body(&mut self, _: Resource<Artifact>) -> wasmtime::Result<Result<Resource<DynOutputStream>, ()>> {
        not_called()
    }

    fn finish(&mut self, _: Resource<Artifact>) -> wasmtime::Result<Result<u64, String>> {
        not_called()
    }

    fn drop(&mut self, _: Resource<Artifact>) -> wasmtime::Result<()> {
        Ok(())
    }
}
