//! What goes wrong between a client and a host.

use executor_runtime_protocol::printable;
use serde::Deserialize;
use serde_json::Value;
use std::{
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

/// Why a host did not do what it was asked to do.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no socket, or no process behind it.
    #[error(
        "nothing serves at '{}'; start `executor-runtime serve`, or name its socket with --socket",
        shown(socket)
    )]
    NothingServes {
        /// Where it was looked for.
        socket: PathBuf,
    },
    /// The socket can't be connected to.
    #[error("'{}' can't be connected to: {source}", shown(socket))]
    Unusable {
        /// Which.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The process behind the socket is not one to be trusted with a command.
    #[error(
        "what serves at '{}' belongs to another user (uid {uid}), who would see what it is asked to run",
        shown(socket)
    )]
    Stranger {
        /// Where.
        socket: PathBuf,
        /// Its user.
        uid: u32,
    },
    /// The host has not answered in time.
    #[error(
        "no answer from '{}' within {}: the host there is stuck or overloaded",
        shown(socket),
        seconds(*timeout)
    )]
    Silent {
        /// Where.
        socket: PathBuf,
        /// How long it was waited for.
        timeout: Duration,
    },
    /// The connection ended before the answer did.
    #[error("the connection to '{}' broke: {reason}", shown(socket))]
    Broken {
        /// Where.
        socket: PathBuf,
        /// How.
        reason: String,
    },
    /// The host does not know the run.
    #[error("no run with id '{}' on unix:{}", printable(id), shown(socket))]
    NoRun {
        /// Where.
        socket: PathBuf,
        /// Its id.
        id: String,
    },
    /// The host says no.
    #[error("{problem} (answered by unix:{})", shown(socket))]
    Refused {
        /// Where.
        socket: PathBuf,
        /// What it says.
        problem: Box<Problem>,
    },
    /// What answers speaks another language.
    #[error(
        "the answer of '{}' is not one of `executor-runtime serve`: {reason}",
        shown(socket)
    )]
    NotUnderstood {
        /// Where.
        socket: PathBuf,
        /// What is wrong with the answer.
        reason: String,
    },
}

impl ClientError {
    /// Why a connection could not be made.
    pub(crate) fn of_connecting(socket: &Path, source: io::Error) -> Self {
        let socket = socket.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Self::NothingServes { socket },
            _ => Self::Unusable { socket, source },
        }
    }

    /// Whether the same may work a little later: the host is not there, stuck, or has no room.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NothingServes { .. } | Self::Silent { .. } | Self::Broken { .. } => true,
            Self::Refused { problem, .. } => problem.status == 429 || problem.status >= 500,
            _ => false,
        }
    }

    /// The status of the answer, if the host has answered.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::NoRun { .. } => Some(404),
            Self::Refused { problem, .. } => Some(problem.status),
            _ => None,
        }
    }
}

fn shown(socket: &Path) -> String {
    printable(&socket.display().to_string()).into_owned()
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f64())
}

/// What a host says when it says no (RFC 9457).
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Problem {
    /// The status of the answer.
    #[serde(default)]
    pub status: u16,
    /// What kind of problem it is.
    pub title: Option<String>,
    /// What is wrong.
    pub detail: Option<String>,
    /// What is wrong with a document.
    #[serde(default)]
    pub errors: Vec<Value>,
    /// When to try again.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.detail, &self.title) {
            (Some(text), _) | (None, Some(text)) => f.write_str(text.trim_end())?,
            (None, None) => write!(f, "status {}", self.status)?,
        }
        // What the detail tells already is not told again.
        let told = |text: &str| self.detail.as_deref().is_some_and(|detail| detail.contains(text));
        for error in &self.errors {
            let text = of_document(error);
            if !told(&text) {
                write!(f, "\n  {text}")?;
            }
        }
        match self.retry_after.filter(|_| !told("try again in ")) {
            Some(time) => write!(f, "; try again in {}", seconds(time)),
            None => Ok(()),
        }
    }
}

/// One of the problems of a document, as `validate` tells it.
fn of_document(error: &Value) -> String {
    let text = |name: &str| error.get(name).and_then(Value::as_str);
    match (text("pointer"), text("found"), text("expected")) {
        (Some(pointer), Some(found), Some(expected)) => {
            format!("{pointer}: found {found}, expected {expected}")
        }
        _ => error.as_str().map_or_else(|| error.to_string(), str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(json: &str) -> Problem {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_problem_says_what_it_is_about() {
        let mut full =
            problem(r#"{"title": "Too Many Requests", "status": 429, "detail": "the queue is full"}"#);
        full.retry_after = Some(Duration::from_secs(2));
        assert_eq!(full.to_string(), "the queue is full; try again in 2 s");
        full.detail = Some(full.to_string());
        assert_eq!(full.to_string(), "the queue is full; try again in 2 s");
        assert_eq!(problem(r#"{"title": "Not Found"}"#).to_string(), "Not Found");
        assert_eq!(problem(r#"{"status": 500, "x": 1}"#).to_string(), "status 500");
        let errors = r#"{"detail": "not a valid RuntimeInvocation",
            "errors": [{"pointer": "/command", "found": "nothing", "expected": "a command"}, "b"]}"#;
        assert_eq!(
            problem(errors).to_string(),
            "not a valid RuntimeInvocation\n  /command: found nothing, expected a command\n  b"
        );
    }

    #[test]
    fn names_in_errors_are_harmless() {
        let error = ClientError::NoRun {
            socket: "/run/a\u{1b}b".into(),
            id: "x\ny".to_owned(),
        };
        assert_eq!(error.to_string(), r"no run with id 'x\ny' on unix:/run/a\u{1b}b");
    }
}
