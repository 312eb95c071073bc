//! A plugin's folder whose component a tool of its language makes, and whose SDK is in it.

use super::super::{
    build::{Built, make_directory, plugin_path, read_descriptor},
    embed,
    files::Files,
    partial::Partial,
};
use super::{Definition, SdkForm};
use anyhow::{Context, Result, anyhow, bail};
use executor_runtime::{plugin::Carrier, protocol::PluginDescriptor};
use nix::fcntl::{Flock, FlockArg};
use std::{
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

pub(super) struct Folder {
    /// Without links.
    pub(super) directory: PathBuf,
    pub(super) descriptor: PluginDescriptor,
    json: Vec<u8>,
}

impl Folder {
    /// Reads the folder of a plugin in a language, with its SDK in it.
    pub(super) fn read(language: &Definition, given: &Path, directory: PathBuf) -> Result<Self> {
        let (descriptor, json) = read_descriptor(&directory, given, language.marker)?;
        if let SdkForm::Folder(sdk) = &language.sdk
            && !directory.join(sdk.folder).join("wit").is_dir()
        {
            bail!(
                "no {} in '{}': copy that folder from a plugin that `executor-runtime plugin new NAME --lang {}` makes",
                sdk.folder,
                given.display(),
                language.option
            );
        }
        Ok(Self {
            directory,
            descriptor,
            json,
        })
    }

    pub(super) fn target(&self) -> PathBuf {
        self.directory.join("target")
    }

    pub(super) fn plugin_path(&self) -> PathBuf {
        plugin_path(&self.target(), &self.descriptor, Carrier::Component)
    }

    /// Has `make` write a component to the path that it is given, and embeds the descriptor in a copy. It is not made again
    /// while the plugin's files are the same, and `tools`: what else it is made by and of; None if that is not known.
    pub(super) fn build(
        &self,
        tools: Option<String>,
        make: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Built> {
        make_directory(&self.target())?;
        let _lock = self
            .lock()
            .with_context(|| format!("'{}' can't be locked", self.target().display()))?;
        let made = self.target().join(&self.descriptor.name).with_extension("wasm");
        let noted = made.with_extension("inputs");
        let inputs = tools.map(|tools| format!("{tools} {:?}", Files::of(&self.directory)));
        let is_current = made.is_file()
            && inputs
                .as_ref()
                .is_some_and(|inputs| fs::read_to_string(&noted).is_ok_and(|noted| noted == *inputs));
        if !is_current {
            // Of a build that fails or is broken off, nothing is current.
            let _ = fs::remove_file(&noted);
            say!("making a component of '{}'", self.directory.display());
            // In a place of its own, so that what is broken off is never taken for a component.
            let cannot = || format!("'{}' can't be written", made.display());
            let partial = Partial::beside(&made).with_context(cannot)?;
            make(&partial.path())?;
            partial.finish(&made).with_context(cannot)?;
            if let Some(inputs) = inputs {
                fs::write(&noted, inputs)
                    .with_context(|| format!("'{}' can't be written", noted.display()))?;
            }
        }
        let bytes = fs::read(&made).with_context(|| format!("'{}' can't be read", made.display()))?;
        let path = self.plugin_path();
        make_directory(path.parent().unwrap_or(&path))?;
        embed::embedded(&made, &bytes, (self.descriptor.clone(), &self.json), &path)
    }
}

impl Folder {
    /// Keeps other builds of this folder waiting until it is dropped.
    fn lock(&self) -> io::Result<Flock<fs::File>> {
        let target = fs::File::open(self.target())?;
        Flock::lock(target, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into())
    }
}

/// Runs the tool that makes a component; `missing` is the error if it is not there.
pub(super) fn run_builder(
    tool: &mut Command,
    name: &str,
    missing: impl FnOnce() -> anyhow::Error,
) -> Result<()> {
    let ended = tool.stdin(Stdio::null()).stdout(io::stderr()).status();
    match ended {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => bail!("the component was not built: {name} failed; see its output above"),
        Err(error) => Err(not_started(error, name, missing)),
    }
}

/// Runs a plugin's own tests; `missing` is the error if the program is not there.
pub(super) fn run_tests(
    program: &mut Command,
    name: &str,
    missing: impl FnOnce() -> anyhow::Error,
) -> Result<()> {
    // What is printed on stdout is the report.
    match program.stdin(Stdio::null()).stdout(io::stderr()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => bail!("the plugin's own tests did not pass; see the output above"),
        Err(error) => Err(not_started(error, name, missing)),
    }
}

pub(super) fn not_started(
    error: io::Error,
    name: &str,
    missing: impl FnOnce() -> anyhow::Error,
) -> anyhow::Error {
    match error.kind() {
        ErrorKind::NotFound => missing(),
        _ => anyhow!(error).context(format!("{name} can't be started")),
    }
}
