//! Four small kinds to copy from, each in a file of its own; a plugin needs no more than one.

mod download;
mod fetch;
mod greet;
mod outcomes;

use executor_runtime_sdk::{Context, Invocation, Outcome, RunError, Runner, export_runner};

struct Examples;

impl Runner for Examples {
    fn run(&self, invocation: &Invocation, ctx: &mut Context) -> Result<Outcome, RunError> {
        match invocation.runtime_kind.as_str() {
            "greet" => greet::run(invocation, ctx),
            "fetch" => fetch::run(invocation, ctx),
            "download" => download::run(invocation, ctx),
            _ => outcomes::run(invocation, ctx),
        }
    }
}

export_runner!(Examples);
