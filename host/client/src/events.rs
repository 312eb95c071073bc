//! The events of a run, as they come.

use crate::{
    Client, ClientError,
    connection::{Answer, TIMEOUT},
    path::Target,
    retry::Retries,
    sse::Parser,
};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::{collections::VecDeque, time::Duration};
use tokio::time::sleep;

/// A host says that it is there every 15 seconds.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);
/// The time between two requests where the first came to an end without the last event.
const PAUSE: Duration = Duration::from_millis(200);
/// The type of the last event of a run.
const LAST: &str = "ended";

/// Something that has happened to a run.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct RunEvent {
    /// Its number; later ones have higher numbers.
    pub sequence: u64,
    /// Its type, such as `progress`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What else is told of it.
    #[serde(flatten)]
    pub body: Map<String, Value>,
}

/// The events of a run: each once and in order, whatever becomes of the connections.
#[derive(Debug)]
pub struct Events {
    client: Client,
    id: String,
    after: u64,
    answer: Option<(Answer, Parser)>,
    /// Those that have come and were not asked for yet.
    next: VecDeque<RunEvent>,
    has_ended: bool,
    retries: Retries,
}

impl Events {
    pub(crate) fn new(client: Client, id: &str, after: u64) -> Self {
        Self {
            client,
            id: id.to_owned(),
            after,
            answer: None,
            next: VecDeque::new(),
            has_ended: false,
            retries: Retries::default(),
        }
    }

    /// The next event; none after the last one of the run.
    ///
    /// # Errors
    /// When the host says no, or is gone for too long.
    pub async fn next(&mut self) -> Result<Option<RunEvent>, ClientError> {
        loop {
            if let Some(event) = self.next.pop_front() {
                self.after = event.sequence;
                self.has_ended |= event.kind == LAST;
                return Ok(Some(event));
            }
            if self.has_ended {
                return Ok(None);
            }
            match self.receive().await {
                Ok(true) => {}
                // A host that is being stopped ends the answer, too.
                Ok(false) => {
                    self.answer = None;
                    sleep(PAUSE).await;
                }
                Err(error) => {
                    self.answer = None;
                    self.retries.after(error).await?;
                }
            }
        }
    }

    /// Takes the next piece of the answer; false if there is none.
    async fn receive(&mut self) -> Result<bool, ClientError> {
        let (answer, parser) = match &mut self.answer {
            Some(answer) => answer,
            none => {
                let target = Target::new(&["runs", &self.id, "events"]).with("after", self.after);
                none.insert((self.client.get(&target, TIMEOUT).await?, Parser::default()))
            }
        };
        self.retries.reached();
        let Some(piece) = answer.piece(Some(LONGEST_SILENCE)).await? else {
            return Ok(false);
        };
        self.retries.worked();
        let mut messages = Vec::new();
        parser
            .take(&piece, &mut messages)
            .map_err(|_| answer.not_understood("an event is too long".to_owned()))?;
        for message in messages {
            let event: RunEvent =
                serde_json::from_str(&message).map_err(|error| answer.not_understood(error.to_string()))?;
            // What was seen before the connection broke is not seen again.
            if event.sequence > self.after {
                self.next.push_back(event);
            }
        }
        Ok(true)
    }
}
