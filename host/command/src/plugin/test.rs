//! `plugin test`: a plugin's own tests, then the checks of the host.

use super::{check, language::PluginFolder};
use crate::{
    Format,
    args::{HostOptions, TestOptions},
};
use anyhow::Result;
use executor_runtime::plugin::Carrier;
use std::{path::Path, process::ExitCode};

pub(super) fn test(options: &TestOptions, host: &HostOptions, format: Format) -> Result<ExitCode> {
    let carrier = if options.native {
        Carrier::Native
    } else {
        Carrier::Component
    };
    // It starts from the beginning there.
    host.executable.need_engine()?;
    let project = PluginFolder::read(options.directory.as_deref().unwrap_or(Path::new(".")))?;
    project.need(carrier)?;
    project.test()?;
    let built = project.build(carrier)?;
    say!("checking '{}'", built.path.display());
    check::check_file(&built.path, host, format)
}
