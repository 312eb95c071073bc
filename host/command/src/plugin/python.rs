//! A plugin in Python: `plugin.py`, the SDK beside it, and componentize-py, which makes a component of both.

use super::{
    build::{Built, make_directory, plugin_path, read_descriptor},
    embed,
    files::Files,
};
use anyhow::{Context, Result, anyhow, bail};
use executor_runtime::{plugin::Carrier, protocol::PluginDescriptor};
use std::{
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The version of componentize-py that this was tested with.
pub(super) const COMPONENTIZE: &str = "0.25.1";

/// Where the SDK is in a plugin's folder.
pub(super) const SDK: &str = "executor_runtime";

/// The module of the SDK that componentize-py starts from.
const ENTRY: &str = "executor_runtime.component";

/// A plugin's own Python, which need not be activated.
const VENV: &str = ".venv";

/// The folder of a plugin in Python.
pub(super) struct PythonPlugin {
    /// Without links.
    directory: PathBuf,
    descriptor: PluginDescriptor,
    json: Vec<u8>,
}

impl PythonPlugin {
    pub(super) fn read(given: &Path, directory: PathBuf) -> Result<Self> {
        let (descriptor, json) = read_descriptor(&directory, given, "plugin.py")?;
        if !directory.join(SDK).join("component.py").is_file() {
            bail!(
                "no {SDK} in '{}': copy that folder from a plugin that `executor-runtime plugin new NAME --lang python` \
                 makes",
                given.display()
            );
        }
        Ok(Self {
            directory,
            descriptor,
            json,
        })
    }

    pub(super) fn plugin_path(&self) -> PathBuf {
        plugin_path(&self.target(), &self.descriptor, Carrier::Component)
    }

    pub(super) fn target(&self) -> PathBuf {
        self.directory.join("target")
    }

    /// Has componentize-py make a component, and embeds the descriptor in a copy.
    pub(super) fn build(&self) -> Result<Built> {
        make_directory(&self.target())?;
        let made = self.target().join(&self.descriptor.name).with_extension("wasm");
        let noted = made.with_extension("inputs");
        let inputs = self.inputs();
        let is_current = made.is_file()
            && inputs
                .as_ref()
                .is_some_and(|inputs| fs::read_to_string(&noted).is_ok_and(|noted| noted == *inputs));
        if !is_current {
            // Of a build that fails or is broken off, nothing is current.
            let _ = fs::remove_file(&noted);
            self.componentize(&made)?;
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

    /// What a component is made of: the plugin's files and the packages in its own environment. None without one: which
    /// packages there are is not known then.
    fn inputs(&self) -> Option<String> {
        let library = self.directory.join(VENV).join("lib");
        let mut packages: Vec<_> = fs::read_dir(library)
            .ok()?
            .filter_map(|python| fs::read_dir(python.ok()?.path().join("site-packages")).ok())
            .flatten()
            .filter_map(|package| {
                let package = package.ok()?;
                Some((package.file_name(), package.metadata().ok()?.modified().ok()?))
            })
            .collect();
        packages.sort();
        Some(format!(
            "{COMPONENTIZE} {packages:?} {:?}",
            Files::of(&self.directory)
        ))
    }

    fn componentize(&self, made: &Path) -> Result<()> {
        let mut tool = self.command("componentize-py");
        let ended = tool
            .args(["--quiet", "--world", "runner", "--wit-path"])
            .arg(Path::new(SDK).join("wit"))
            .args(["componentize", "--python-path", ".", "--output"])
            .arg(made)
            .arg(ENTRY)
            .stdin(Stdio::null())
            .stdout(io::stderr())
            .status()
            .map_err(|error| self.no_componentize(error))?;
        if !ended.success() {
            bail!("the component was not built: componentize-py failed; see its output above");
        }
        Ok(())
    }

    /// Runs the tests in `test*.py`, on the machine's Python.
    pub(super) fn test(&self) -> Result<()> {
        let ended = self
            .command("python3")
            .args(["-m", "unittest"])
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .status()
            .map_err(|error| match error.kind() {
                ErrorKind::NotFound => anyhow!("python3 is not installed, or not in PATH"),
                _ => anyhow::Error::new(error).context("python3 can't be started"),
            })?;
        match ended.success() {
            true => Ok(()),
            false => bail!("the plugin's own tests did not pass; see the output above"),
        }
    }

    /// A program of Python's, first looked for in the plugin's own environment.
    fn command(&self, program: &str) -> Command {
        let venv = self.directory.join(VENV);
        let own = venv.join("bin").join(program);
        let mut command = Command::new(if own.is_file() {
            own.as_path()
        } else {
            Path::new(program)
        });
        if own.is_file() {
            // componentize-py looks there for the packages that a plugin imports.
            command.env("VIRTUAL_ENV", &venv);
        }
        command.current_dir(&self.directory);
        command
    }

    fn no_componentize(&self, error: io::Error) -> anyhow::Error {
        if error.kind() != ErrorKind::NotFound {
            return anyhow::Error::new(error).context("componentize-py can't be started");
        }
        let venv = self.directory.join(VENV);
        let venv = venv.display();
        anyhow!(
            "componentize-py is not installed, or not in PATH: it makes a component of Python\n  \
             install it for this plugin with: python3 -m venv '{venv}' && '{venv}/bin/pip' install \
             componentize-py=={COMPONENTIZE}\n  \
             or with: pip install componentize-py=={COMPONENTIZE}"
        )
    }
}
