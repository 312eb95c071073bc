//! What a run in a host that serves tells of itself: the line with its progress, as `run` has it for its own, and above it
//! what its plugin logs.

use crate::{live, logging, stderr, style};
use executor_runtime_client::{Client, RunEvent};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Time between two states of the line.
const INTERVAL: Duration = Duration::from_millis(100);
/// The same on a terminal on which each is a line of its own.
const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// Shows the progress of a run until `work` is done, and returns what that has come to.
pub(super) async fn beside<T>(client: &Client, id: &str, kind: &str, work: impl Future<Output = T>) -> T {
    let done = tokio::select! {
        biased;
        done = work => done,
        never = show(client, id, kind) => match never {},
    };
    stderr::clear_status();
    done
}

/// Never completes: what waits for the run is polled beside it, and does.
async fn show(client: &Client, id: &str, kind: &str) -> std::convert::Infallible {
    let mut events = client.events(id);
    let mut next_line = Instant::now();
    let mut pending = None;
    loop {
        tokio::select! {
            event = events.next() => match event {
                Ok(Some(event)) => {
                    if let Some(text) = log_line(&event) {
                        stderr::clear_status();
                        tell!("{}", style::stderr().wrap(&format!("{kind}: {text}"), 0, "  "));
                    }
                    pending = progress(&event).or(pending);
                }
                // Where it can't be told, nothing is.
                Ok(None) | Err(_) => std::future::pending().await,
            },
            () = sleep_until(next_line), if pending.is_some() => {
                if let Some(text) = pending.take() {
                    next_line = Instant::now() + print(kind, &text);
                }
            }
        }
    }
}

/// Shows it; returns how long it stays.
fn print(kind: &str, text: &str) -> Duration {
    let line = style::stderr().fit(&format!("{kind}: {text}"));
    if style::is_dumb() {
        tell!("{line}");
        return LINE_INTERVAL;
    }
    stderr::show_status(&line);
    INTERVAL
}

/// A line that is for people; of warnings and errors, with their level.
fn log_line(event: &RunEvent) -> Option<String> {
    let text = |name: &str| event.body.get(name).and_then(|text| text.as_str());
    let message = crate::shown::value(text("message").filter(|_| event.kind == "log")?);
    match text("level").filter(|level| logging::is_wanted(level))? {
        "info" => Some(message),
        level => Some(format!("{level}: {message}")),
    }
}

fn progress(event: &RunEvent) -> Option<String> {
    if event.kind != "progress" {
        return None;
    }
    let fraction = event.body.get("fraction").and_then(|fraction| fraction.as_f64());
    let message = event.body.get("message").and_then(|message| message.as_str());
    let message = crate::shown::value(message.unwrap_or_default());
    Some(live::progress(fraction, &message))
}
