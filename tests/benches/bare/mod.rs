//! A program that has wasmtime and nothing else: what a plugin's call takes there.

use std::path::Path;
use wasmtime::{
    Config, Engine, Store,
    component::{Component, HasSelf, Linker, Resource, ResourceTable},
};
use wasmtime_wasi::{
    WasiCtx, WasiCtxView, WasiView,
    p2::{DynInputStream, DynOutputStream, DynPollable},
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

    /// Calls it in an instance of its own.
    pub(crate) async fn call(&self, name: &str) {
        let mut store = Store::new(&self.engine, State::new());
        store.set_epoch_deadline(u64::from(u32::MAX));
        let instance = self
            .pre
            .instantiate_async(&mut store)
            .await
            .expect("it is instantiated");
        let plugin = instance.executor_runtime_plugin_run();
        let outcome = plugin
            .call_run(&mut store, &invocation(name))
            .await
            .expect("it returns");
        assert!(matches!(outcome, Outcome::Succeeded(_)));
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

fn invocation(name: &str) -> Invocation {
    Invocation {
        invocation_id: "bench".to_owned(),
        runtime_name: "bench".to_owned(),
        runtime_kind: "greet".to_owned(),
        working_directory: "/".to_owned(),
        command: vec!["run".to_owned()],
        environment: Vec::new(),
        timeout_seconds: None,
        input_payload_path: None,
        artifact_directory: None,
        metadata: vec![("greet.name".to_owned(), name.to_owned())],
    }
}

struct State {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: NoRequests,
}

impl State {
    fn new() -> Self {
        Self {
            table: ResourceTable::new(),
            wasi: WasiCtx::builder().build(),
            http: WasiHttpCtx::new(),
            hooks: NoRequests,
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

struct NoRequests;

type Sending = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl WasiHttpHooks for NoRequests {
    fn send_request(
        &mut self,
        _: http::Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Sending,
    ) -> Box<dyn Future<Output = Result<(http::Response<WasiBody>, Sending), Error>> + Send> {
        Box::new(async { Err(Error::HttpRequestDenied) })
    }
}

/// What a greeter does not call traps.
fn not_called<T>() -> wasmtime::Result<T> {
    Err(wasmtime::Error::msg("a greeter does not call it"))
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
        not_called()
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
        not_called()
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
