//! `schema`: the JSON Schemas of the documents.

use super::{args::SchemaOptions, print_json};
use anyhow::Result;
use executor_runtime::{config::Config, protocol::schema};
use std::process::ExitCode;

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
    print_json(&schema)?;
    Ok(ExitCode::SUCCESS)
}
