//! What a run prints, as it comes.

use crate::{
    Client, ClientError, OutputStream, RunSummary,
    connection::{Answer, TIMEOUT},
    path::Target,
    retry::Retries,
};
use bytes::Bytes;
use std::time::Duration;
use tokio::time::sleep;

/// The time between the end of an answer and the next, which may tell that there is no more.
const PAUSE: Duration = Duration::from_millis(20);

/// The output of a run from an offset on: every byte once and in order, whatever becomes of the connections.
#[derive(Debug)]
pub struct Output {
    client: Client,
    id: String,
    stream: OutputStream,
    offset: u64,
    /// Goes on until the run has ended.
    follow: bool,
    answer: Option<Answer>,
    /// Whether the run had ended before the answer began, so that nothing comes after it.
    is_last: bool,
    /// Whether an answer has come to its end.
    has_ended: bool,
    retries: Retries,
}

impl Output {
    pub(crate) fn new(client: Client, id: &str, stream: OutputStream, offset: u64, follow: bool) -> Self {
        Self {
            client,
            id: id.to_owned(),
            stream,
            offset,
            follow,
            answer: None,
            is_last: false,
            has_ended: false,
            retries: Retries::default(),
        }
    }

    /// How far it has come.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next piece; none at the end.
    ///
    /// # Errors
    /// When the host says no, or is gone for too long.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            match self.piece().await {
                Ok(Some(piece)) => {
                    self.offset += piece.len() as u64;
                    self.retries.worked();
                    return Ok(Some(piece));
                }
                Ok(None) if !self.follow || self.is_last => return Ok(None),
                // A host that is being stopped ends the answer, too: only one that begins after the end of the run has
                // all of it.
                Ok(None) => {
                    self.answer = None;
                    self.has_ended = true;
                    self.retries.worked();
                    sleep(PAUSE).await;
                }
                // It is gone already: pruned, or removed by another client that has seen the end of the run.
                Err(error) if self.has_ended && matches!(error.status(), Some(404 | 410 | 416)) => {
                    return Ok(None);
                }
                Err(error) => {
                    self.answer = None;
                    self.retries.after(error).await?;
                }
            }
        }
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, ClientError> {
        if self.answer.is_none() {
            let run = self.client.run(&self.id).await?;
            self.retries.reached();
            self.answer = Some(self.begin(&run).await?);
            self.is_last = run.is_over();
        }
        // What it has is sent at once; a run may print nothing for hours.
        let longest = (!self.follow || self.is_last).then_some(TIMEOUT);
        match &mut self.answer {
            Some(answer) => answer.piece(longest).await,
            None => Ok(None),
        }
    }

    async fn begin(&self, run: &RunSummary) -> Result<Answer, ClientError> {
        let target =
            Target::new(&["runs", &self.id, "logs", self.stream.as_str()]).with("offset", self.offset);
        let target = match self.follow && !run.is_over() {
            true => target.with("follow", true),
            false => target,
        };
        self.client.get(&target, TIMEOUT).await
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}
