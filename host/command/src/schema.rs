//! `schema` and `completions`: documents about the documents and about the command line.

use super::{
    args::{Arguments, SchemaOptions},
    print, print_json,
};
use anyhow::Result;
use clap::CommandFactory;
use executor_runtime::{config::Config, protocol::schema};
use std::process::ExitCode;

/// A document that has a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Document {
    /// RuntimeInvocation, the input
    Invocation,
    /// RuntimeResult, the output
    Result,
    /// plugin.json, what a plugin says of itself
    Descriptor,
    /// executor-runtime.toml, what the operator allows
    Config,
}

pub(super) fn schema(options: SchemaOptions) -> Result<ExitCode> {
    let schema = match options.document {
        Document::Invocation => schema::invocation(),
        Document::Result => schema::result(),
        Document::Descriptor => schema::descriptor(),
        Document::Config => serde_json::to_value(Config::schema())?,
    };
    print_json(&schema)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn completions(shell: clap_complete::Shell) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "executor-runtime", &mut script);
    print(&script)?;
    Ok(ExitCode::SUCCESS)
}
