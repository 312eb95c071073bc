//! What a host can be asked.

use crate::{
    ClientError, Events, Filter, Output, OutputStream, Page, Pruned, RunSummary, Submitted, Waited,
    connection::{Answer, TIMEOUT, send},
    path::Target,
    retry::Retries,
};
use bytes::Bytes;
use executor_runtime_protocol::{RuntimeInvocation, RuntimeResult};
use hyper::{Method, StatusCode};
use serde::Serialize;
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::Instant;

/// How long the first request waits for the end of a run. A host that is stuck is noticed soon.
const FIRST_POLL: Duration = Duration::from_secs(1);
/// How long each further one does.
const LONG_POLL: Duration = Duration::from_secs(60);
/// A host reads only a few documents at a time that are as long as this, in bytes.
const LONG_DOCUMENT: usize = 64 << 10;
/// How long such a document may wait for its turn.
const LONG_DOCUMENT_TIMEOUT: Duration = Duration::from_secs(90);
/// How long a host may take to remove what is to be removed.
const PRUNE_TIMEOUT: Duration = Duration::from_secs(600);
/// Runs that one request lists, at most.
const MAX_PAGE: usize = 1000;

/// A client of the host behind one socket. It connects when it is asked for something.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// A client of the host that serves at this Unix socket.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
        }
    }

    /// The socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Hands over an invocation. It may wait in the host's queue, for so long if there is a limit.
    ///
    /// A connection that breaks is made again: the same invocation is the same run.
    pub async fn submit(
        &self,
        invocation: &RuntimeInvocation,
        queue_timeout: Option<Duration>,
    ) -> Result<Submitted, ClientError> {
        let target =
            Target::new(&["runs"]).with_some("queue_timeout", queue_timeout.map(|t| t.as_secs_f64()));
        let document = document(invocation);
        let longest = match document.len() {
            0..LONG_DOCUMENT => TIMEOUT,
            _ => LONG_DOCUMENT_TIMEOUT,
        };
        let mut retries = Retries::default();
        let mut answer = loop {
            let answered = self.send(Method::POST, &target, Some(document.clone()), longest);
            match answered.await {
                Ok(answer) => break answer,
                Err(error @ ClientError::Broken { .. }) => {
                    retries.reached();
                    retries.after(error).await?;
                }
                Err(error) => return Err(error),
            }
        };
        Ok(Submitted {
            is_new: answer.status == StatusCode::ACCEPTED,
            run: answer.json().await?,
        })
    }

    /// The newest of these runs, at most so many.
    pub async fn list(&self, filter: &Filter, most: usize) -> Result<Page, ClientError> {
        let mut listed = Page::default();
        loop {
            let left = most - listed.runs.len();
            let target = Target::new(&["runs"])
                .with_some("status", filter.status)
                .with_some("kind", filter.kind.as_ref())
                .with_some("since", filter.since.as_ref())
                .with_some("cursor", listed.next_cursor.as_ref())
                .with("limit", left.min(MAX_PAGE));
            let mut answer = self.get(&target, TIMEOUT).await?;
            let mut page: Page = answer.json().await?;
            page.runs.truncate(left);
            let is_last = page.next_cursor.is_none() || page.runs.is_empty();
            listed.runs.append(&mut page.runs);
            listed.next_cursor = page.next_cursor;
            if is_last || listed.runs.len() >= most {
                return Ok(listed);
            }
        }
    }

    /// One run.
    pub async fn run(&self, id: &str) -> Result<RunSummary, ClientError> {
        let target = Target::new(&["runs", id]);
        let mut answer = self
            .get(&target, TIMEOUT)
            .await
            .map_err(|error| self.no_run(id, error))?;
        answer.json().await
    }

    /// Waits for the end of a run until some time, for ever without it.
    pub async fn wait(&self, id: &str, until: Option<Instant>) -> Result<Waited, ClientError> {
        let mut retries = Retries::default();
        let mut poll = FIRST_POLL;
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let time = left.unwrap_or(poll).min(poll);
            match self.result(id, time).await {
                Ok(Waited::Unfinished(run)) if left == Some(Duration::ZERO) => {
                    return Ok(Waited::Unfinished(run));
                }
                Ok(Waited::Unfinished(_)) => {
                    retries.worked();
                    poll = LONG_POLL;
                }
                Ok(ended) => return Ok(ended),
                Err(error) if left == Some(Duration::ZERO) => return Err(error),
                Err(error @ ClientError::Broken { .. }) => {
                    retries.reached();
                    retries.after(error).await?;
                }
                Err(error) => retries.after(error).await?,
            }
        }
    }

    /// The result of a run, if it ends within this time.
    pub async fn result(&self, id: &str, time: Duration) -> Result<Waited, ClientError> {
        let target = Target::new(&["runs", id, "result"]).with("wait", time.as_secs_f64());
        let mut answer = self
            .get(&target, time + TIMEOUT)
            .await
            .map_err(|error| self.no_run(id, error))?;
        if answer.status == StatusCode::ACCEPTED {
            return Ok(Waited::Unfinished(Box::new(answer.json().await?)));
        }
        let body = answer.whole().await?;
        match RuntimeResult::from_json(&body) {
            Ok(result) => Ok(Waited::Ended(Box::new(result))),
            Err(invalid) => Err(answer.not_understood(invalid.to_string())),
        }
    }

    /// Asks a run to stop, or ends it at once. One that has ended stays as it is.
    pub async fn cancel(&self, id: &str, immediately: bool) -> Result<RunSummary, ClientError> {
        let target = Target::new(&["runs", id, "cancel"]);
        let target = match immediately {
            true => target.with("immediate", true),
            false => target,
        };
        let mut answer = self
            .send(Method::POST, &target, None, TIMEOUT)
            .await
            .map_err(|error| self.no_run(id, error))?;
        answer.json().await
    }

    /// What a run has printed from an offset on, as it is now.
    pub fn output(&self, id: &str, stream: OutputStream, offset: u64) -> Output {
        Output::new(self.clone(), id, stream, offset, false)
    }

    /// The same until the run has ended.
    pub fn follow(&self, id: &str, stream: OutputStream, offset: u64) -> Output {
        Output::new(self.clone(), id, stream, offset, true)
    }

    /// What happens to a run, from its beginning to its end.
    pub fn events(&self, id: &str) -> Events {
        Events::new(self.clone(), id, 0)
    }

    /// Has the host forget runs that ended longer ago than this; and with `captures`, removes their output.
    pub async fn prune(&self, older_than: Duration, captures: bool) -> Result<Pruned, ClientError> {
        let document = document(&json!({"older_than_seconds": older_than.as_secs(), "captures": captures}));
        let mut answer = self
            .send(
                Method::POST,
                &Target::new(&["prune"]),
                Some(document),
                PRUNE_TIMEOUT,
            )
            .await?;
        answer.json().await
    }

    pub(crate) async fn get(&self, target: &Target, longest: Duration) -> Result<Answer, ClientError> {
        self.send(Method::GET, target, None, longest).await
    }

    async fn send(
        &self,
        method: Method,
        target: &Target,
        document: Option<Bytes>,
        longest: Duration,
    ) -> Result<Answer, ClientError> {
        let answer = send(&self.socket, method, target, document, longest).await?;
        answer.or_refused().await
    }

    /// What "not found" means where only the run can be missing.
    fn no_run(&self, id: &str, error: ClientError) -> ClientError {
        match error.status() {
            Some(404) => ClientError::NoRun {
                socket: self.socket.clone(),
                id: id.to_owned(),
            },
            _ => error,
        }
    }
}

fn document(value: &impl Serialize) -> Bytes {
    // Texts, numbers and maps with texts as keys can always be written.
    serde_json::to_vec(value).unwrap_or_default().into()
}
