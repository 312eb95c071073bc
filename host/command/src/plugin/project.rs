//! A plugin's folder, in the language that its files are in.

use super::{
    build::{Built, Package},
    python::PythonPlugin,
};
use anyhow::{Context, Result, bail};
use executor_runtime::plugin::Carrier;
use std::path::{Path, PathBuf};

/// The folder of a plugin.
pub(super) enum Project {
    /// A crate: there is a Cargo.toml.
    Rust(Package),
    /// There is a plugin.py.
    Python(PythonPlugin),
}

impl Project {
    pub(super) fn read(given: &Path) -> Result<Self> {
        let shown = given.display();
        let directory = given
            .canonicalize()
            .with_context(|| format!("'{shown}' can't be opened"))?;
        let has = |name: &str| directory.join(name).is_file();
        if has("Cargo.toml") {
            Ok(Self::Rust(Package::read(given)?))
        } else if has("plugin.py") {
            Ok(Self::Python(PythonPlugin::read(given, directory)?))
        } else {
            bail!(
                "no Cargo.toml in '{shown}', and no plugin.py, so it is not a plugin's folder; `executor-runtime plugin \
                 new NAME` creates one, with `--lang python` in Python"
            )
        }
    }

    /// The carriers that it is built for.
    pub(super) fn carriers(&self) -> &'static [Carrier] {
        match self {
            Self::Rust(_) => &[Carrier::Component, Carrier::Native],
            Self::Python(_) => &[Carrier::Component],
        }
    }

    /// Says so at once where there is nothing to build for a carrier.
    pub(super) fn need(&self, carrier: Carrier) -> Result<()> {
        match self.carriers().contains(&carrier) {
            true => Ok(()),
            false => bail!("a plugin in Python is always a component: leave out --native"),
        }
    }

    pub(super) fn build(&self, carrier: Carrier) -> Result<Built> {
        self.need(carrier)?;
        match self {
            Self::Rust(package) => package.build(carrier),
            Self::Python(plugin) => plugin.build(),
        }
    }

    /// Runs its own tests.
    pub(super) fn test(&self) -> Result<()> {
        match self {
            Self::Rust(package) => package.test(),
            Self::Python(plugin) => plugin.test(),
        }
    }

    /// The folder of what is built.
    pub(super) fn target_directory(&self) -> PathBuf {
        match self {
            Self::Rust(package) => package.target_directory(),
            Self::Python(plugin) => plugin.target(),
        }
    }

    /// Where the plugin file for a carrier is put.
    pub(super) fn plugin_path(&self, carrier: Carrier) -> PathBuf {
        match self {
            Self::Rust(package) => package.plugin_path(carrier),
            Self::Python(plugin) => plugin.plugin_path(),
        }
    }
}
