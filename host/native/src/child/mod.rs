//! The process of one invocation, from its fork off the template to the result.
//!
//! It is the host's code and the plugin's in one process. Whatever the plugin breaks here, the host outside
//! finds out by the supervisor's report.

mod artifacts;
mod functions;
mod link;

use super::wire::{MAX_FRAME, Message};
use executor_runtime_protocol::native::{Host, HostRef, PluginRef, abi_stable::prefix_type::PrefixTypeTrait};
use executor_runtime_run::trace;
use link::Link;
use std::{collections::BTreeMap, env, sync::OnceLock};

/// How a child ends that could not tell the result.
const NO_CHANNEL: i32 = 125;

static PLUGIN: OnceLock<PluginRef> = OnceLock::new();
static LINK: OnceLock<Link> = OnceLock::new();

/// Keeps the loaded plugin for the children.
pub(super) fn hold(plugin: PluginRef) {
    // The template loads one.
    let _ = PLUGIN.set(plugin);
}

/// Runs the invocation that comes over the channel.
pub(super) fn main() -> ! {
    let status = match run() {
        Some(()) => 0,
        None => NO_CHANNEL,
    };
    // SAFETY: ends the process. Not `exit`, which would run what the plugin has registered for that.
    unsafe { libc::_exit(status) }
}

fn run() -> Option<()> {
    // A program written in Rust starts with this; the fork of the template does not.
    // SAFETY: this process has one thread, and no handler is installed.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    let plugin = PLUGIN.get()?;
    let link = Link::accept()?;
    name_trace(&link.request.invocation.metadata);
    let invocation = serde_json::to_vec(&link.request.invocation).ok()?;
    if LINK.set(link).is_err() {
        return None;
    }
    let host: HostRef = HOST.leak_into_prefix();
    let reply = plugin.invoke()(invocation.as_slice().into(), host);
    let message = if reply.len() > MAX_FRAME / 2 {
        Message::TooLong {
            bytes: reply.len() as u64,
        }
    } else {
        Message::Result {
            reply: String::from_utf8_lossy(&reply).into_owned(),
        }
    };
    LINK.get()?.say(&message).ok()
}

/// Has libraries and programs that the plugin uses find the trace where they look for it.
fn name_trace(metadata: &BTreeMap<String, String>) {
    let Some(context) = metadata.get(trace::TRACEPARENT) else {
        return;
    };
    // SAFETY: this process has one thread.
    unsafe {
        env::set_var(trace::TRACEPARENT_VARIABLE, context);
        match metadata.get(trace::TRACESTATE) {
            Some(state) => env::set_var(trace::TRACESTATE_VARIABLE, state),
            None => env::remove_var(trace::TRACESTATE_VARIABLE),
        }
    }
}

/// The functions that the plugin is given.
const HOST: Host = Host {
    log: functions::log,
    progress: functions::progress,
    stop_requested: functions::stop_requested,
    wait_stop: functions::wait_stop,
    stop_descriptor: functions::stop_descriptor,
    remaining: functions::remaining,
    grace: functions::grace,
    config: functions::config,
    open_input: functions::open_input,
    create_artifact: functions::create_artifact,
    write_artifact: functions::write_artifact,
    finish_artifact: functions::finish_artifact,
    drop_artifact: functions::drop_artifact,
    checkpoint: functions::checkpoint,
    resumed: functions::resumed,
    reopen_artifact: functions::reopen_artifact,
    last_will: functions::last_will,
};
