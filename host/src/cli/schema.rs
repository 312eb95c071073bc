//! `schema`: the JSON Schemas of the documents.

use super::args::SchemaOptions;
use anyhow::Result;
use executor_runtime::{config::Config, protocol::schema};
use std::{
    io::{self, Write},
    process::ExitCode,
};

/// A document that has a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Document {
    /// RuntimeInvocation, the input
    Invocation,
    /// RuntimeResult, the output
    Result,
    /// plugin.json, what a plugin declares
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
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &schema)?;
    writeln!(out)?;
    Ok(ExitCode::SUCCESS)
}
