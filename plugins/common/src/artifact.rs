//! What the backend said last, kept as an artifact.

use executor_runtime_sdk::{Context, Invocation, Level, RunError};
use std::io::Write;

/// Keeps `content` as the artifact `name`, which is also its kind. Where the caller named an artifact
/// directory it has to work; elsewhere a warning tells that it did not.
pub fn keep_artifact(
    invocation: &Invocation,
    ctx: &Context,
    name: &str,
    content: &[u8],
) -> Result<(), RunError> {
    let write = || -> Result<(), String> {
        let mut artifact = ctx.artifact(name, name).map_err(|error| error.to_string())?;
        artifact.write_all(content).map_err(|error| error.to_string())?;
        artifact.finish().map_err(|error| error.to_string())?;
        Ok(())
    };
    let Err(reason) = write() else {
        return Ok(());
    };
    let summary = format!("artifact '{name}' can't be kept: {reason}");
    if invocation.artifact_directory.is_some() {
        return Err(RunError::failed("output_unwritable", summary));
    }
    ctx.log(Level::Warn, &summary);
    Ok(())
}
