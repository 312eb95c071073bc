//! The least that runs the official `http` plugin once in wasmtime: `one-request CODE URL` maps the compiled component
//! CODE, an entry of the host's cache, and has it request URL. What a one-shot run of the host is measured against.

use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use wasmtime::component::{Component, Linker, Resource, ResourceTable, ResourceType, Val};
use wasmtime::{Config, Engine, Store};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView, async_trait};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

/// What the plugin imports of the host's interface and a run like this one does not call.
const UNUSED: [&str; 10] = [
    "log",
    "progress",
    "grace",
    "config",
    "open-input",
    "[method]artifact.body",
    "[static]artifact.finish",
    "create-artifact",
    "checkpoint",
    "resumed",
];

#[tokio::main(flavor = "current_thread")]
async fn main() -> wasmtime::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = || arguments.next().expect("CODE URL");
    let (code, url) = (argument(), argument());
    // Code is loaded only where the settings are those that it was compiled with.
    let mut config = Config::new();
    config.epoch_interruption(true).generate_address_map(false);
    config.native_unwind_info(false);
    let engine = Engine::new(&config)?;
    // SAFETY: whoever calls this names a file that the host has compiled, and that nobody writes to.
    let component = unsafe { Component::deserialize_file(&engine, code) }?;
    let mut linker = Linker::<State>::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    let mut host = linker.instance("executor-runtime:plugin/host@1.0.0")?;
    host.func_wrap("remaining", |_, ()| Ok((None::<u64>,)))?;
    host.func_wrap("stop-requested", |_, ()| Ok((false,)))?;
    host.func_wrap("subscribe-stop", |mut store, ()| {
        let state: &mut State = store.data_mut();
        let never = state.table.push(Never)?;
        let waiter: Resource<DynPollable> = subscribe(&mut state.table, never)?;
        Ok((waiter,))
    })?;
    host.resource("artifact", ResourceType::host::<Never>(), |_, _| Ok(()))?;
    for unused in UNUSED {
        host.func_new(unused, |_, _, _, _| Err(wasmtime::Error::msg("not offered")))?;
    }
    let mut store = Store::new(&engine, State::default());
    store.set_epoch_deadline(1);
    let instance = linker.instantiate_async(&mut store, &component).await?;
    let interface = instance.get_export_index(&mut store, None, "executor-runtime:plugin/run@1.0.0");
    let run = instance.get_export_index(&mut store, interface.as_ref(), "run");
    let run = instance
        .get_func(&mut store, run.expect("it is a plugin"))
        .expect("a function");
    let mut results = [Val::Bool(false)];
    run.call_async(&mut store, &[invocation(url)], &mut results)
        .await?;
    println!("{results:?}");
    std::process::exit(i32::from(!matches!(results, [Val::Result(Ok(_))])))
}

fn invocation(url: String) -> Val {
    let text = |text: &str| Val::String(text.to_owned());
    let fields = [
        ("invocation-id", text("bench")),
        ("runtime-name", text("bench")),
        ("runtime-kind", text("http")),
        ("working-directory", text("/")),
        ("command", Val::List(vec![text("/bin/true")])),
        ("environment", Val::List(Vec::new())),
        ("timeout-seconds", Val::Option(Some(Box::new(Val::U64(30))))),
        ("input-payload-path", Val::Option(None)),
        ("artifact-directory", Val::Option(None)),
        (
            "metadata",
            Val::List(vec![Val::Tuple(vec![text("http.url"), Val::String(url)])]),
        ),
    ];
    Val::Record(fields.map(|(name, value)| (name.to_owned(), value)).into())
}

#[derive(Default)]
struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    sender: Sender,
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
            ctx: &mut self.http,
            table: &mut self.table,
            hooks: &mut self.sender,
        }
    }
}

/// Sends as wasmtime's default does, which the build leaves out for its TLS.
#[derive(Default)]
struct Sender;

type Done = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sending = Box<dyn Future<Output = Result<(http::Response<WasiBody>, Done), Error>> + Send>;

impl WasiHttpHooks for Sender {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Done,
    ) -> Sending {
        Box::new(async move {
            let authority = request.uri().authority().ok_or(Error::HttpRequestUriInvalid)?;
            let stream = tokio::net::TcpStream::connect(authority.as_str())
                .await
                .map_err(Error::Connect)?;
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            let (mut head, body) = request.into_parts();
            head.uri = head
                .uri
                .path()
                .parse()
                .map_err(|_| Error::HttpRequestUriInvalid)?;
            let answer = sender.send_request(http::Request::from_parts(head, body)).await?;
            let done: Done = Box::new(async { Ok(()) });
            Ok((answer.map(|body| body.map_err(Error::from).boxed_unsync()), done))
        })
    }
}

struct Never;

#[async_trait]
impl Pollable for Never {
    async fn ready(&mut self) {
        std::future::pending().await
    }
}
