//! The clients of a host that serves: each asks it for one thing, over its socket.
//!
//! None of them needs a configuration, plugins or a host of its own.

mod cancel;
mod logs;
mod progress;
mod prune;
mod ps;
mod submit;
mod wait;

use super::{args::ServerOptions, exit, report};
use anyhow::{Context, Result, bail};
pub(super) use cancel::cancel;
use executor_runtime::protocol::{RuntimeKind, Status, Timestamp, parse_duration};
use executor_runtime_client::{Client, ClientError};
pub(super) use logs::logs;
pub(super) use prune::prune;
pub(super) use ps::ps;
use std::{
    env,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
pub(super) use submit::submit;
pub(super) use wait::wait;

/// Names the socket.
const SOCKET_VARIABLE: &str = "EXECUTOR_RUNTIME_SOCKET";

/// Where a host serves, unless it is told otherwise: as `--socket` says, else the variable, else the user's own place.
pub(super) fn socket(asked: Option<&PathBuf>) -> Result<PathBuf> {
    let variable = |name: &str| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    if let Some(socket) = asked.cloned().or_else(|| variable(SOCKET_VARIABLE)) {
        return Ok(socket);
    }
    match variable("XDG_RUNTIME_DIR").filter(|directory| directory.is_absolute()) {
        Some(directory) => Ok(directory.join("executor-runtime/api.sock")),
        None => bail!("which host is meant? $XDG_RUNTIME_DIR is not set; name its socket with --socket"),
    }
}

impl ServerOptions {
    fn client(&self) -> Result<Client> {
        Ok(Client::new(socket(self.socket.as_ref())?))
    }
}

/// Does what a client does, on this thread.
fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let executor = executor_runtime::executor().context("the host can't be asked")?;
    let done = executor.block_on(work);
    executor.shutdown_background();
    done
}

/// What became of several runs: how this process exits in the end.
#[derive(Debug, Default)]
struct Outcomes(Vec<u8>);

impl Outcomes {
    /// One that went as `code` says.
    fn add(&mut self, code: u8) {
        self.0.push(code);
    }

    /// One of which the host tells nothing: says why.
    fn failed(&mut self, error: ClientError) {
        let error = error.into();
        report(&error);
        self.add(exit::of_error(&error));
    }

    /// That of the only one; of several 0 if all have it, what kept the first from being told, or 1.
    fn code(&self) -> u8 {
        if let [only] = self.0[..] {
            return only;
        }
        let untold = [
            exit::UNUSABLE,
            exit::UNAVAILABLE,
            exit::UNDELIVERED,
            exit::UNFINISHED,
        ];
        let first = untold.into_iter().find(|code| self.0.contains(code));
        first.unwrap_or_else(|| u8::from(self.0.iter().any(|code| *code != 0)))
    }
}

/// Ids without those that are there already.
fn distinct(ids: &[String]) -> Vec<&String> {
    let mut distinct = Vec::new();
    for id in ids {
        if !distinct.contains(&id) {
            distinct.push(id);
        }
    }
    distinct
}

/// A runtime kind.
pub(super) fn kind(text: &str) -> Result<RuntimeKind, String> {
    RuntimeKind::new(text)
        .ok_or_else(|| "expected a lower-case letter, then at most 63 of a-z, 0-9 and _".to_owned())
}

/// The names that a status may have.
pub(super) fn status_names() -> [&'static str; Status::ALL.len()] {
    Status::ALL.map(Status::as_str)
}

/// A time, or how long ago it was.
pub(super) fn point_in_time(text: &str) -> Result<Timestamp, String> {
    if let Some(ago) = parse_duration(text) {
        let time = SystemTime::now().checked_sub(ago).unwrap_or(UNIX_EPOCH);
        return Ok(Timestamp::from_unix_micros(micros(time)));
    }
    Timestamp::parse(text).map_err(|_| {
        "expected a time, such as 2026-05-06T10:00:00Z, or how long ago it was, such as 90m or 2d".to_owned()
    })
}

/// Microseconds from 1970 to `time`, which is later.
fn micros(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_runs_have_one_exit_status() {
        for (codes, expected) in [
            (&[124][..], 124),
            (&[0, 0], 0),
            (&[0, 124, 130], 1),
            (&[5, 1], 5),
            (&[5, 6, 2], 2),
        ] {
            assert_eq!(Outcomes(codes.to_vec()).code(), expected, "{codes:?}");
        }
    }

    #[test]
    fn a_time_is_given_as_such_or_as_how_long_ago_it_was() {
        let exact = "2026-05-06T10:00:00+02:00";
        assert_eq!(point_in_time(exact).unwrap().as_str(), exact);
        let before = point_in_time("1h").unwrap().unix_micros();
        let ago = micros(SystemTime::now()) - before;
        assert!((3_600_000_000..3_660_000_000).contains(&ago), "{ago}");
        assert!(point_in_time("yesterday").is_err());
    }
}
