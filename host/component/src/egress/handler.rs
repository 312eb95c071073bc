//! `wasi:http/outgoing-handler`, and the answer that it promises, of our own.
//!
//! wasmtime's handler drives each request with two tasks. Ours drives it with none where that is possible
//! ([`Exchange`]), and so replaces these functions in the linker; requests, fields and bodies remain wasmtime's.

use super::{error_code::of_body, exchange::Exchange, request::request};
use crate::state::RunState;
use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource, ResourceType},
};
use wasmtime_wasi::p2::{DynPollable, subscribe};
use wasmtime_wasi_http::{
    Error, FieldMap, RequestOptions,
    p2::{
        bindings::http::types::{ErrorCode, IoError},
        body::HostIncomingBody,
        types::{HostIncomingResponse, HostOutgoingRequest},
    },
};

/// The version of `wasi:http` that the linker has; a component that imports an older 0.2 gets this one. Were
/// it another than wasmtime's, the resource below would not be the one of `types`, and no component would link.
const TYPES: &str = "wasi:http/types@0.2.12";
const HANDLER: &str = "wasi:http/outgoing-handler@0.2.12";

type Store<'a> = StoreContextMut<'a, RunState>;
type Handled = Result<Resource<Exchange>, ErrorCode>;
type Got = Option<Result<Result<Resource<HostIncomingResponse>, ErrorCode>, ()>>;

/// Puts the functions in the place of wasmtime's.
pub(crate) fn put_in_place(linker: &mut Linker<RunState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut types = linker.instance(TYPES)?;
    types.resource(
        "future-incoming-response",
        ResourceType::host::<Exchange>(),
        |mut store, rep| {
            store
                .data_mut()
                .table
                .delete(Resource::<Exchange>::new_own(rep))?;
            Ok(())
        },
    )?;
    types.func_wrap(
        "[method]future-incoming-response.subscribe",
        |mut store: Store<'_>,
         (exchange,): (Resource<Exchange>,)|
         -> wasmtime::Result<(Resource<DynPollable>,)> {
            Ok((subscribe(&mut store.data_mut().table, exchange)?,))
        },
    )?;
    types.func_wrap(
        "[method]future-incoming-response.get",
        |mut store: Store<'_>, (exchange,): (Resource<Exchange>,)| Ok((get(store.data_mut(), &exchange)?,)),
    )?;
    // wasmtime's looks for another type than that of the errors that it puts into a body's stream.
    types.func_wrap(
        "http-error-code",
        |mut store: Store<'_>, (error,): (Resource<IoError>,)| {
            let error = store.data_mut().table.get(&error)?;
            Ok((error.downcast_ref::<Error>().map(of_body),))
        },
    )?;
    linker.instance(HANDLER)?.func_wrap(
        "handle",
        |mut store: Store<'_>,
         (request, options): (Resource<HostOutgoingRequest>, Option<Resource<RequestOptions>>)| {
            Ok((handle(store.data_mut(), request, options)?,))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

fn handle(
    state: &mut RunState,
    outgoing: Resource<HostOutgoingRequest>,
    options: Option<Resource<RequestOptions>>,
) -> wasmtime::Result<Handled> {
    let options = match options {
        Some(options) => state.table.delete(options)?,
        None => RequestOptions::default(),
    };
    let exchange = match request(state.table.delete(outgoing)?) {
        Ok(request) => state.egress.begin(request, options),
        Err(code) => return Ok(Err(code)),
    };
    Ok(Ok(state.table.push(exchange)?))
}

fn get(state: &mut RunState, exchange: &Resource<Exchange>) -> wasmtime::Result<Got> {
    let answer = match state.table.get_mut(exchange)?.take() {
        None => return Ok(None),
        Some(Err(())) => return Ok(Some(Err(()))),
        Some(Ok(answer)) => answer,
    };
    Ok(Some(Ok(match answer {
        Ok(response) => {
            let (head, body) = response.into_parts();
            Ok(state.table.push(HostIncomingResponse {
                status: head.status.as_u16(),
                headers: FieldMap::new_immutable(&mut state.egress, head.headers),
                body: Some(HostIncomingBody::new(body)),
            })?)
        }
        Err(code) => Err(code),
    })))
}
