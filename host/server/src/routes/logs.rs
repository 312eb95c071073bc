//! What a run has written: its output and its artifacts, by offset, in parts, or as they grow.

use crate::{
    api::{Api, Ending, typed},
    extract::{Path, Query},
    pieces,
    problem::Problem,
};
use axum::{
    body::{Body, Bytes},
    extract::State,
    response::Response,
};
use executor_runtime_run::exhaustion;
use executor_runtime_service::{GrowingFile, OutputStream};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, RANGE, X_CONTENT_TYPE_OPTIONS},
};
use serde::Deserialize;
use std::io;
use utoipa::IntoParams;

/// How much is read at a time, in bytes.
const PIECE: usize = 64 << 10;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct FileQuery {
    /// How many bytes to leave out at the beginning.
    #[param(default = 0)]
    offset: Option<u64>,
    /// Whether to go on with what is written later, until the run has ended.
    #[serde(default)]
    #[param(default = false)]
    follow: bool,
}

/// Read the output of a run
///
/// Empty before the run has started. A client that lost its connection goes on with `offset`.
#[utoipa::path(
    get, path = "/v1/runs/{id}/logs/{stream}", tag = "files",
    params(
        ("id" = String, Path, description = "The invocation_id, percent-encoded"),
        ("stream" = String, Path, description = "`stdout` or `stderr`"), FileQuery,
        ("Range" = Option<String>, Header, description = "One range of bytes; without `follow` and `offset`"),
    ),
    responses(
        (status = 200, description = "The bytes", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, description = "The bytes of the range", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 400, description = "The path or the query can't be used", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such run or stream", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "The file is not there any more", body = Problem, content_type = "application/problem+json"),
        (status = 416, description = "It has not so many bytes", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn log(
    State(api): State<Api>,
    Path((id, stream)): Path<(String, String)>,
    Query(query): Query<FileQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let stream = match stream.as_str() {
        "stdout" => OutputStream::Stdout,
        "stderr" => OutputStream::Stderr,
        other => {
            return Err(Problem::new(
                StatusCode::NOT_FOUND,
                format!("there is no stream {other:?}; expected stdout or stderr"),
            ));
        }
    };
    let file = api.runs.output(&id, stream).await?;
    let file = file.ok_or_else(|| Problem::no_run(&id))?;
    answer(&api, file, &query, &headers).await
}

/// Read an artifact of a run
#[utoipa::path(
    get, path = "/v1/runs/{id}/artifacts/{artifact}", tag = "files",
    params(
        ("id" = String, Path, description = "The invocation_id, percent-encoded"),
        ("artifact" = String, Path, description = "The artifact_id, percent-encoded"), FileQuery,
        ("Range" = Option<String>, Header, description = "One range of bytes; without `follow` and `offset`"),
    ),
    responses(
        (status = 200, description = "The bytes", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, description = "The bytes of the range", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 400, description = "The path or the query can't be used", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such run or artifact", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "The file is not there any more", body = Problem, content_type = "application/problem+json"),
        (status = 416, description = "It has not so many bytes", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn artifact(
    State(api): State<Api>,
    Path((id, artifact)): Path<(String, String)>,
    Query(query): Query<FileQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let file = api.runs.artifact(&id, &artifact).await?;
    let file = file.ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_FOUND,
            format!("there is no run with invocation_id {id:?} that has an artifact {artifact:?}"),
        )
    })?;
    answer(&api, file, &query, &headers).await
}

async fn answer(
    api: &Api,
    file: GrowingFile,
    query: &FileQuery,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let (file, length) = length(file).await?;
    let offset = query.offset.unwrap_or_default();
    if offset > length {
        return Err(not_so_long(length));
    }
    if query.follow {
        let growing = Reading::new(file, offset, End::Followed(api.ending()));
        return Ok(octets(StatusCode::OK, pieces::body(growing)));
    }
    let range = match headers.get(RANGE) {
        Some(header) if query.offset.is_none() => requested_range(header, length),
        _ => Range::All,
    };
    let (status, start, end) = match range {
        Range::All => (StatusCode::OK, offset, length),
        Range::Part(start, end) => (StatusCode::PARTIAL_CONTENT, start, end),
        Range::Outside => return Err(not_so_long(length)),
    };
    let mut response = octets(status, pieces::body(Reading::new(file, start, End::At(end))));
    let headers = response.headers_mut();
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_LENGTH, (end - start).into());
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(range) = HeaderValue::try_from(format!("bytes {start}-{}/{length}", end - 1))
    {
        headers.insert(CONTENT_RANGE, range);
    }
    Ok(response)
}

/// The length of the file at this moment.
async fn length(file: GrowingFile) -> Result<(GrowingFile, u64), Problem> {
    let looked = exhaustion::run_blocking(move || {
        let length = file.length();
        (file, length)
    });
    let unreadable = |error: io::Error| {
        if error.kind() == io::ErrorKind::NotFound {
            return Problem::new(StatusCode::GONE, format!("{error}"));
        }
        tracing::warn!("the file of a run can't be read: {error}");
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("the file can't be read: {error}"),
        )
    };
    let (file, length) = looked.await.map_err(unreadable)?;
    Ok((file, length.map_err(unreadable)?))
}

fn octets(status: StatusCode, body: Body) -> Response {
    let mut response = typed(status, "application/octet-stream", body);
    // What a run prints is not for a browser to guess at.
    response
        .headers_mut()
        .insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn not_so_long(length: u64) -> Problem {
    let problem = Problem::new(
        StatusCode::RANGE_NOT_SATISFIABLE,
        format!("there are {length} bytes at this moment"),
    );
    match HeaderValue::try_from(format!("bytes */{length}")) {
        Ok(range) => problem.with_header(CONTENT_RANGE, range),
        Err(_) => problem,
    }
}

/// What a client asks for of a file.
#[derive(Debug, PartialEq, Eq)]
enum Range {
    /// All of it. Whatever is not one range of bytes counts as this, as the standard allows.
    All,
    /// From here to before there; never empty.
    Part(u64, u64),
    /// Nothing that is there.
    Outside,
}

fn requested_range(header: &HeaderValue, length: u64) -> Range {
    let parsed = header.to_str().ok().and_then(|text| {
        let (first, last) = text.trim().strip_prefix("bytes=")?.split_once('-')?;
        let number = |text: &str| match text.trim() {
            "" => Some(None),
            text if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse::<u64>().ok().map(Some),
            _ => None,
        };
        Some((number(first)?, number(last)?))
    });
    let (start, end) = match parsed {
        None | Some((None, None)) => return Range::All,
        Some((Some(first), Some(last))) if last < first => return Range::All,
        Some((Some(first), last)) => (
            first,
            last.map_or(length, |last| last.saturating_add(1).min(length)),
        ),
        Some((None, Some(count))) => (length.saturating_sub(count), length),
    };
    match start < end {
        true => Range::Part(start, end),
        false => Range::Outside,
    }
}

/// Where reading ends.
enum End {
    /// Before this byte.
    At(u64),
    /// Where the file ends once the run has ended.
    Followed(Ending),
}

/// A file that is being sent.
struct Reading {
    /// It is away while it is read on another thread.
    file: Option<GrowingFile>,
    offset: u64,
    end: End,
    /// Nothing more is going to be written.
    is_complete: bool,
}

impl Reading {
    fn new(file: GrowingFile, offset: u64, end: End) -> Self {
        Self {
            file: Some(file),
            offset,
            end,
            is_complete: false,
        }
    }

    /// Reads what is there, at most `most` bytes.
    async fn read(&mut self, most: usize) -> io::Result<Bytes> {
        let file = self
            .file
            .take()
            .ok_or_else(|| io::Error::other("reading has failed before"))?;
        let offset = self.offset;
        let (file, read) = exhaustion::run_blocking(move || {
            let mut piece = vec![0; most];
            let read = file.read_at(&mut piece, offset).map(|count| {
                piece.truncate(count);
                Bytes::from(piece)
            });
            (file, read)
        })
        .await?;
        self.file = Some(file);
        let piece = read?;
        self.offset += piece.len() as u64;
        Ok(piece)
    }

    /// Waits until there may be more to read.
    async fn wait(&mut self) {
        let (Some(file), End::Followed(ending)) = (&mut self.file, &mut self.end) else {
            self.is_complete = true;
            return;
        };
        let more = tokio::select! {
            biased;
            more = file.grown() => more,
            () = ending.reached() => false,
        };
        self.is_complete = !more;
    }
}

impl pieces::Source for Reading {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let most = match self.end {
                End::At(end) => usize::try_from(end - self.offset).unwrap_or(PIECE).min(PIECE),
                End::Followed(_) => PIECE,
            };
            if most == 0 {
                return Ok(None);
            }
            let piece = self.read(most).await?;
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
            if let End::At(_) = self.end {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the file has become shorter",
                ));
            }
            if self.is_complete {
                return Ok(None);
            }
            self.wait().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_of_bytes_is_honoured_and_everything_else_is_all() {
        for (header, expected) in [
            ("bytes=0-", Range::Part(0, 10)),
            ("bytes=2-4", Range::Part(2, 5)),
            ("bytes=2-99", Range::Part(2, 10)),
            ("bytes=9-9", Range::Part(9, 10)),
            ("bytes=-3", Range::Part(7, 10)),
            ("bytes=-99", Range::Part(0, 10)),
            ("bytes=10-", Range::Outside),
            ("bytes=-0", Range::Outside),
            ("bytes=4-2", Range::All),
            ("bytes=0-1,3-4", Range::All),
            ("bytes=a-b", Range::All),
            ("bytes=+1-2", Range::All),
            ("bytes=-", Range::All),
            ("lines=1-2", Range::All),
            ("bytes=99999999999999999999-", Range::All),
            ("bytes=0-18446744073709551615", Range::Part(0, 10)),
        ] {
            assert_eq!(
                requested_range(&HeaderValue::from_static(header), 10),
                expected,
                "{header}"
            );
        }
        assert_eq!(
            requested_range(&HeaderValue::from_static("bytes=0-"), 0),
            Range::Outside
        );
    }
}
