//! What is known of the stream, and kept for the case that the host dies.

use crate::parser::Event;
use executor_runtime_sdk::{Context, RunError};
use serde::{Deserialize, Serialize};
use std::hash::Hasher;

/// How many events without a place of their own are told apart after the last one that had one.
const MAX_TAIL: usize = 1000;

/// Everything a run needs to go on. A run that goes on from it sends no kickoff, unless that only asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct State {
    /// The run's id at the backend.
    pub(crate) run_id: Option<String>,
    /// What the last event had at the path for cursors.
    pub(crate) cursor: Option<String>,
    /// The last event's id.
    pub(crate) id: String,
    /// Where the kickoff's answer said that the stream is.
    pub(crate) location: Option<String>,
    /// Bytes of the artifact that hold these events.
    pub(crate) length: u64,
    pub(crate) events: u64,
    /// The first event.
    pub(crate) first: Option<u64>,
    /// The last event that had an id or a cursor of its own, and those after it.
    pub(crate) tail: Vec<u64>,
    /// Milliseconds that the stream wants to be left alone.
    pub(crate) retry: Option<u64>,
    /// What the run waits for from a person, in the backend's words.
    pub(crate) input: Option<String>,
    pub(crate) ended: Option<Ended>,
}

/// How the run ended at the backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ended {
    pub(crate) success: bool,
    /// The event's name, the state, or the data that said so.
    pub(crate) by: String,
    /// What the backend says about it.
    pub(crate) words: Option<String>,
}

impl State {
    /// What an interrupted run has kept; None if there was none.
    pub(crate) fn resumed(ctx: &Context) -> Result<Option<Self>, RunError> {
        let Some(bytes) = ctx.resumed() else {
            return Ok(None);
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            RunError::failed(
                "invalid_checkpoint",
                format!("the checkpoint of the earlier run can't be read: {error}"),
            )
            // What that run has started may still be under way.
            .transient(false)
        })
    }

    /// Where a stream is to go on: after this.
    pub(crate) fn place(&self) -> Option<&str> {
        match &self.cursor {
            Some(cursor) => Some(cursor),
            None if self.id.is_empty() => None,
            None => Some(&self.id),
        }
    }

    /// Takes in an event, with what it has at the path for cursors.
    pub(crate) fn see(&mut self, event: &Event, cursor: Option<String>) {
        let hash = hash(event);
        self.events += 1;
        self.first.get_or_insert(hash);
        if event.has_id || cursor.is_some() {
            self.tail.clear();
        } else if self.tail.len() == MAX_TAIL {
            self.tail.remove(0);
        }
        self.tail.push(hash);
        self.id.clone_from(&event.id);
        if cursor.is_some() {
            self.cursor = cursor;
        }
    }
}

/// An event's name, id and data as a number (FNV-1a), the same in every version.
fn hash(event: &Event) -> u64 {
    struct Fnv(u64);
    impl Hasher for Fnv {
        fn finish(&self) -> u64 {
            self.0
        }
        fn write(&mut self, bytes: &[u8]) {
            for byte in bytes {
                self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
    }
    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    for part in [&event.name, &event.id, &event.data] {
        hasher.write(part.as_bytes());
        hasher.write(&[0]);
    }
    hasher.finish()
}

/// Recognises what a stream that was asked for again repeats: events that are known already.
///
/// - Events after the last one with a place of its own, and that one: a server that can only go on from places repeats them.
/// - All of them, if it begins with the very first event, or is expected to begin anew.
/// - With numbers as cursors, whatever is not beyond the last.
#[derive(Debug)]
pub(crate) struct Known {
    tail: Vec<u64>,
    /// How many of `tail` have gone by.
    passed: usize,
    /// Events that are left out, whichever they are.
    skip: u64,
    /// What a stream begins with that begins anew, and how many events it repeats.
    first: Option<(u64, u64)>,
    number: Option<i128>,
}

impl Known {
    /// For the connection that follows; `replays` if it begins anew.
    pub(crate) fn of(state: &State, replays: bool) -> Self {
        let has_place = state.place().is_some();
        Self {
            tail: if has_place { state.tail.clone() } else { Vec::new() },
            passed: 0,
            skip: if replays { state.events } else { 0 },
            first: state
                .first
                .filter(|first| has_place && !state.tail.contains(first))
                .map(|first| (first, state.events)),
            number: state.cursor.as_ref().and_then(|cursor| cursor.parse().ok()),
        }
    }

    /// Whether the next event of the connection is known.
    pub(crate) fn has(&mut self, event: &Event, cursor: Option<&str>) -> bool {
        if self.first.is_none() && self.skip == 0 && self.passed == self.tail.len() {
            return self.is_behind(cursor);
        }
        let hash = hash(event);
        if let Some((first, events)) = self.first.take()
            && first == hash
        {
            self.skip = events;
        }
        if self.skip > 0 {
            self.skip -= 1;
            if self.skip == 0 {
                self.passed = self.tail.len();
            }
            return true;
        }
        if let Some(known) = self.tail[self.passed..].iter().position(|known| *known == hash) {
            self.passed += known + 1;
            return true;
        }
        // What is new ends the repetition.
        self.passed = self.tail.len();
        self.is_behind(cursor)
    }

    /// Whether a cursor is a number that is not beyond the last.
    fn is_behind(&self, cursor: Option<&str>) -> bool {
        match (self.number, cursor.and_then(|cursor| cursor.parse::<i128>().ok())) {
            (Some(last), Some(this)) => this <= last,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str, data: &str) -> Event {
        Event {
            name: "message".to_owned(),
            data: data.to_owned(),
            id: id.to_owned(),
            has_id: !id.is_empty(),
        }
    }

    /// What is new of `again` after `before`. An id that begins with `=` is that of the event before.
    fn new(before: &[(&str, &str)], again: &[(&str, &str)], replays: bool) -> Vec<String> {
        let of = |(id, data): &(&str, &str)| match id.strip_prefix('=') {
            Some(id) => Event {
                has_id: false,
                ..event(id, data)
            },
            None => event(id, data),
        };
        let mut state = State::default();
        for event in before {
            state.see(&of(event), None);
        }
        let mut known = Known::of(&state, replays);
        let news = again.iter().map(of).filter(|event| !known.has(event, None));
        news.map(|event| event.data).collect()
    }

    #[test]
    fn what_a_stream_repeats_is_known() {
        let before = [("1", "a"), ("2", "b"), ("=2", "c"), ("=2", "d")];
        for (what, again, expected) in [
            ("goes on", vec![("3", "e"), ("4", "f")], vec!["e", "f"]),
            (
                "repeats what has no place",
                vec![("=2", "c"), ("=2", "d"), ("3", "e")],
                vec!["e"],
            ),
            (
                "and the place itself",
                vec![("2", "b"), ("=2", "c"), ("=2", "d"), ("3", "e")],
                vec!["e"],
            ),
            ("only the last of them", vec![("=2", "d"), ("3", "e")], vec!["e"]),
            ("begins anew", [&before[..], &[("3", "e")]].concat(), vec!["e"]),
            (
                "has the same data later",
                vec![("3", "e"), ("=3", "c"), ("=3", "d")],
                vec!["e", "c", "d"],
            ),
            ("has a second event of that id", vec![("2", "x")], vec!["x"]),
        ] {
            assert_eq!(new(&before, &again, false), expected, "a stream that {what}");
        }
    }

    #[test]
    fn without_places_only_a_replay_is_known() {
        let before = [("", "a"), ("", "b")];
        let again = [("", "a"), ("", "b"), ("", "c")];
        assert_eq!(new(&before, &again, true), ["c"]);
        assert_eq!(new(&before, &again, false), ["a", "b", "c"]);
    }

    #[test]
    fn numbers_tell_what_is_beyond() {
        let mut state = State::default();
        for n in 0..5 {
            state.see(&event("", &n.to_string()), Some(n.to_string()));
        }
        let mut known = Known::of(&state, false);
        let mut has = |n: &str| known.has(&event("", n), Some(n));
        assert!(has("3") && has("4") && !has("5") && has("2") && !has("6"));
    }

    #[test]
    fn the_tail_fits_into_a_checkpoint() {
        let mut state = State::default();
        state.see(&event("1", "a"), None);
        for n in 0..5000 {
            state.see(&event("", &n.to_string()), None);
        }
        assert!(serde_json::to_vec(&state).unwrap().len() < 40_000);
    }
}
