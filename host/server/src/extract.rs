//! What handlers take out of a request. Where that can't be done, the answer is a [`Problem`].

use crate::{api::Api, problem::Problem};
use axum::{
    body::Body,
    extract::{FromRequestParts, rejection::PathRejection, rejection::QueryRejection},
};
use executor_runtime_protocol::{InvalidDocument, MAX_DOCUMENT_BYTES, RuntimeInvocation};
use executor_runtime_run::exhaustion;
use http::{
    HeaderMap, StatusCode,
    header::{CONTENT_LENGTH, EXPECT},
    request::Parts,
};
use http_body_util::BodyExt;
use serde::Deserialize;
use std::time::Duration;
use tokio::{
    sync::SemaphorePermit,
    time::{Instant, timeout_at},
};

/// How long a client may take to send a body.
const BODY_DEADLINE: Duration = Duration::from_secs(60);
/// How much of a body that is too long is read and thrown away, in bytes, and for how long.
const MAX_DISCARDED: usize = 4 * MAX_DOCUMENT_BYTES;
const DISCARD_DEADLINE: Duration = Duration::from_secs(5);
/// A document that is longer is read on a thread of its own, one at a time: it may become many times as large.
const SHORT_DOCUMENT: usize = 64 << 10;
/// The longest body that is no invocation.
const MAX_SHORT_BODY: usize = 64 << 10;
/// Bodies that are held at the same time count in pieces of this many bytes.
const BODY_UNIT: usize = 1 << 10;

/// How many units the bodies that are held at the same time have: four of the longest documents.
pub(crate) const BODY_UNITS: usize = 4 * MAX_DOCUMENT_BYTES / BODY_UNIT;

/// The variable parts of a path, decoded.
pub(crate) struct Path<T>(pub(crate) T);

impl<S: Send + Sync, T: Send> FromRequestParts<S> for Path<T>
where
    axum::extract::Path<T>: FromRequestParts<S, Rejection = PathRejection>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(path)) => Ok(Self(path)),
            Err(rejection) => Err(Problem::bad_request(format!(
                "the path can't be used: {}",
                rejection.body_text()
            ))),
        }
    }
}

/// The parameters after the `?`. One that is not known is an error: it is a misspelt one.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: Send> FromRequestParts<S> for Query<T>
where
    axum::extract::Query<T>: FromRequestParts<S, Rejection = QueryRejection>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Query::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(rejection) => Err(Problem::bad_request(format!(
                "the query can't be used: {}",
                reason(&rejection)
            ))),
        }
    }
}

/// The innermost reason is the one that a caller can use.
fn reason(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// A number of seconds, which may have a fraction. It is read here and not with the query, so that what is no number is
/// refused in the same words as what is out of range.
pub(crate) fn seconds(name: &str, value: Option<&str>, most: Duration) -> Result<Option<Duration>, Problem> {
    let Some(value) = value else { return Ok(None) };
    let number = value.parse().ok();
    number
        .and_then(|number| Duration::try_from_secs_f64(number).ok())
        .filter(|duration| *duration <= most)
        .map(Some)
        .ok_or_else(|| {
            Problem::bad_request(format!(
                "{name}={value}: expected a number of seconds from 0 to {}",
                most.as_secs()
            ))
        })
}

/// Reads an invocation. It has its place among those that are being sent until that is dropped.
pub(crate) async fn invocation<'a>(
    api: &'a Api,
    headers: &HeaderMap,
    body: Body,
) -> Result<(RuntimeInvocation, SemaphorePermit<'a>), Problem> {
    let room = body_room(api, headers, MAX_DOCUMENT_BYTES).await?;
    let document = read(headers, body, MAX_DOCUMENT_BYTES).await?;
    let parsed = if document.len() <= SHORT_DOCUMENT {
        RuntimeInvocation::from_json(&document)
    } else {
        parse_long(api, document).await?
    };
    Ok((parsed?, room))
}

async fn parse_long(
    api: &Api,
    document: Vec<u8>,
) -> Result<Result<RuntimeInvocation, InvalidDocument>, Problem> {
    let _turn = api.long_documents.acquire().await;
    exhaustion::run_blocking(move || RuntimeInvocation::from_json(&document))
        .await
        .map_err(|error| {
            Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("the document can't be read: {error}"),
            )
        })
}

/// Reads any other JSON document, which is short.
pub(crate) async fn json<T: for<'de> Deserialize<'de>>(
    headers: &HeaderMap,
    body: Body,
) -> Result<T, Problem> {
    let document = read(headers, body, MAX_SHORT_BODY).await?;
    serde_json::from_slice(&document)
        .map_err(|error| Problem::bad_request(format!("the body can't be used: {error}")))
}

/// Waits until there is room for a body. It is free again when what this returns is dropped.
async fn body_room<'a>(
    api: &'a Api,
    headers: &HeaderMap,
    limit: usize,
) -> Result<SemaphorePermit<'a>, Problem> {
    let length = announced(headers).unwrap_or(limit).min(limit);
    let units = u32::try_from(length.div_ceil(BODY_UNIT)).unwrap_or(u32::MAX);
    let room = timeout_at(Instant::now() + BODY_DEADLINE, api.bodies.acquire_many(units)).await;
    match room {
        Ok(Ok(room)) => Ok(room),
        Ok(Err(_)) | Err(_) => Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many long documents are being sent; try again later",
        )),
    }
}

/// The length that the client has announced.
fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn read(headers: &HeaderMap, mut body: Body, limit: usize) -> Result<Vec<u8>, Problem> {
    let until = Instant::now() + BODY_DEADLINE;
    let length = announced(headers);
    if length.is_some_and(|length| length > limit) {
        // A client that waits to be told to go on has sent nothing, and one with far too much is not waited for.
        if !headers.contains_key(EXPECT) && length <= Some(MAX_DISCARDED) {
            discard(body).await;
        }
        return Err(too_long(limit));
    }
    let mut document = Vec::with_capacity(length.unwrap_or_default());
    loop {
        let data = match timeout_at(until, body.frame()).await {
            Ok(None) => return Ok(document),
            Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
            Ok(Some(Err(error))) => {
                return Err(Problem::bad_request(format!("the body can't be read: {error}")));
            }
            Err(_) => {
                return Err(Problem::new(
                    StatusCode::REQUEST_TIMEOUT,
                    format!(
                        "the body did not arrive within {} seconds",
                        BODY_DEADLINE.as_secs()
                    ),
                ));
            }
        };
        if document.len() + data.len() > limit {
            drop(document);
            discard(body).await;
            return Err(too_long(limit));
        }
        document.extend_from_slice(&data);
    }
}

fn too_long(limit: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!(
            "the body has more than {limit} bytes; pass large input as a file, through input_payload_path"
        ),
    )
}

/// Reads what is left of a body, within bounds: many clients read no answer before they have sent all of their request.
async fn discard(mut body: Body) {
    let until = Instant::now() + DISCARD_DEADLINE;
    let mut left = MAX_DISCARDED;
    while let Ok(Some(Ok(frame))) = timeout_at(until, body.frame()).await {
        let length = frame.into_data().map_or(0, |data| data.len());
        match left.checked_sub(length) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}
