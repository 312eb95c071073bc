//! The events of a run, as server-sent events (the HTML standard's `text/event-stream`).

use crate::{
    api::{Api, Ending, typed},
    documents::RunEvent,
    extract::{Path, Query},
    pieces,
    problem::Problem,
};
use axum::{body::Bytes, extract::State, response::Response};
use executor_runtime_service::{EventFollower, EventRecord};
use http::{HeaderMap, HeaderValue, StatusCode, header::CACHE_CONTROL};
use serde::Deserialize;
use std::{io, time::Duration};
use tokio::time::sleep;
use utoipa::IntoParams;

/// How long a stream is silent before a comment shows that it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long events that are there already may take once this process is ending.
const LAST_EVENT: Duration = Duration::from_secs(1);

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// Only events with a higher sequence number.
    #[param(default = 0)]
    after: Option<u64>,
}

/// Follow the events of a run
///
/// Each event has its sequence number as `id`, its type as `event`, and itself as JSON in `data`. The stream ends after
/// `ended`. A client that lost its connection goes on with `Last-Event-ID` (or `after`) and misses nothing.
#[utoipa::path(
    get, path = "/v1/runs/{id}/events", tag = "runs",
    params(
        ("id" = String, Path, description = "The invocation_id, percent-encoded"), EventsQuery,
        ("Last-Event-ID" = Option<u64>, Header, description = "The same as `after`, and counts instead of it"),
    ),
    responses(
        (status = 200, description = "The events; the schema is that of their `data`", body = RunEvent, content_type = "text/event-stream"),
        (status = 400, description = "The query or the header can't be used", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such run", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn events(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let after = last_event_id(&headers)?.or(query.after).unwrap_or_default();
    let follower = api.runs.events(&id, after).await?;
    let follower = follower.ok_or_else(|| Problem::no_run(&id))?;
    let stream = Stream {
        follower,
        ending: api.ending(),
        is_last: false,
    };
    let mut response = typed(StatusCode::OK, "text/event-stream", pieces::body(stream));
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// What the client has seen already, if it says so.
fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(header) = headers.get("last-event-id") else {
        return Ok(None);
    };
    let text = header.to_str().unwrap_or_default();
    match text.parse() {
        Ok(id) => Ok(Some(id)),
        Err(_) if text.is_empty() && header.is_empty() => Ok(None),
        Err(_) => Err(Problem::bad_request(
            "Last-Event-ID is not the id of an event: expected a number",
        )),
    }
}

struct Stream {
    follower: EventFollower,
    ending: Ending,
    /// This process is ending.
    is_last: bool,
}

impl pieces::Source for Stream {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if !self.is_last {
            tokio::select! {
                biased;
                event = self.follower.next() => return written(event.map_err(io::Error::other)?),
                () = self.ending.reached() => self.is_last = true,
                () = sleep(KEEP_ALIVE) => return Ok(Some(Bytes::from_static(b":\n\n"))),
            }
        }
        match tokio::time::timeout(LAST_EVENT, self.follower.next()).await {
            Ok(event) => written(event.map_err(io::Error::other)?),
            Err(_) => Ok(None),
        }
    }
}

/// An event as it is sent.
fn written(event: Option<EventRecord>) -> io::Result<Option<Bytes>> {
    let Some(event) = event else { return Ok(None) };
    let document = serde_json::to_value(&event)?;
    let kind = document["type"].as_str().unwrap_or("message");
    // JSON has no line breaks.
    let text = format!("id: {}\nevent: {kind}\ndata: {document}\n\n", event.sequence);
    Ok(Some(text.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_says_what_it_has_seen_by_a_number() {
        let headers = |value: &'static str| {
            let value = HeaderValue::from_static(value);
            HeaderMap::from_iter([(http::HeaderName::from_static("last-event-id"), value)])
        };
        assert_eq!(last_event_id(&HeaderMap::new()).unwrap(), None);
        assert_eq!(last_event_id(&headers("7")).unwrap(), Some(7));
        assert_eq!(last_event_id(&headers("")).unwrap(), None);
        for bad in ["-1", "x", "1.5", "18446744073709551616"] {
            assert!(last_event_id(&headers(bad)).is_err(), "{bad}");
        }
    }
}
