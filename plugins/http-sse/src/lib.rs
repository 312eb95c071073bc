//! The runtime kind `http_sse`: starts a run at a backend and follows its event stream to the end.
//!
//! The metadata keys are in `plugin.json`.
//!
//! - **Stream**: the kickoff's answer, or what `sse.stream_url_template` answers. It has to be 200 and `text/event-stream`.
//! - **End**: an event of a certain name (`sse.terminal_events`, `sse.success_events`), with a certain state in its data
//!   (`sse.terminal_path`) or certain data (`sse.success_data`). A stream that ends otherwise is no success, however
//!   cleanly it does.
//! - **Input**: a run whose stream said that it waits for a person (`sse.input_path`), and that ends with success, ends
//!   `failed`, `needs_input`.
//! - **Going on**: a stream that breaks off or ends is asked for again, with `Last-Event-ID`: at
//!   `sse.reconnect_url_template`, at the `Location` of the kickoff's answer if that is on the same server, at
//!   `sse.stream_url_template`, or where the kickoff went if that was a GET. Any other kickoff is sent once, whatever
//!   happens. What is repeated is left out (`state`). Where a stream brings nothing more, or can't be asked for again,
//!   `sse.status_url_template` tells how the run stands.
//! - **Failures**: a new event resets their number. Codes of 4xx are final, except 408, 425 and 429.
//! - **Silence**: a connection that brings no event within `sse.idle_timeout_seconds` is given up as a broken one; comments
//!   and pings don't count.
//! - **Stop**: a run that times out, is cancelled or can't be followed calls the cancel URL, once.
//! - **Another try**: where the backend may have started a run that is more than its stream (it has a URL for the stream, its
//!   state or its cancellation, a `Location`, or an id) and is still under way (the kickoff may have arrived, its end was not
//!   seen, and no cancel call was answered with success), the failure is not `error.transient`: another try would start a
//!   second run beside it. Nor is `needs_input`, or a failure after the backend's success. A kickoff that only asks, such as a GET, may be sent again.
//!
//! Every event is a line of artifact `events` as soon as it comes (`journal`). Its length is checkpointed together with the
//! place in the stream: a run whose host died goes on there, and has every event once if the server can go on from a place.
//!
//! The stream is parsed here (`parser`) and not by the crate `sse-stream`: that reads an asynchronous `http_body::Body`, and
//! a runner reads a blocking one with a time limit for silence; nor does it limit the length of an event. There is little in
//! it but the rules of the standard, whose cases are its tests.
//!
//! The receipt has:
//!
//! | key | value |
//! |---|---|
//! | `http.status` | the code of the last answer |
//! | `http.run_id` | the run's id, where a path for it is given |
//! | `http.resumed` | `true` where an earlier run had done the kickoff |
//! | `http.cancel_status` | the code of the answer to the cancel call |
//! | `http.cancel_error` | why the cancel call was not made, or not answered |
//! | `sse.events` | how many events came |
//! | `sse.cursor` | the last event's cursor or id |
//! | `sse.reconnects` | how often the stream was asked for again |
//! | `sse.end` | the event's name, the state or the data that ended the run |
//! | `sse.events_truncated` | `true` where the artifact has not all of the events, for its length |

mod connect;
mod follow;
mod journal;
mod parser;
mod plan;
mod run;
mod state;

use executor_runtime_sdk::{Context, Invocation, Outcome, RunError, Runner, export_runner};

struct HttpSse;

impl Runner for HttpSse {
    fn run(&self, invocation: &Invocation, ctx: &mut Context) -> Result<Outcome, RunError> {
        run::run(invocation, ctx)
    }
}

export_runner!(HttpSse);

#[cfg(test)]
mod tests;
