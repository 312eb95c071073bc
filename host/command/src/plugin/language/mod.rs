//! The languages that plugins are written in: what a new plugin has, and who builds and tests it.
//!
//! Each is a module with a [`Definition`]; another one is such a module, a line in [`Language`](crate::args::Language) and
//! one in [`definition`].

mod c;
mod folder;
mod javascript;
mod python;
mod rust;

use super::build::Built;
use crate::args::Language;
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use executor_runtime::{plugin::Carrier, protocol::PluginDescriptor};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// What the author tools know of a language.
pub(super) struct Definition {
    /// As in "a plugin in Rust".
    pub(super) name: &'static str,
    /// As the value of `--lang`.
    pub(super) option: &'static str,
    /// The file by which a plugin's folder is recognised.
    pub(super) marker: &'static str,
    /// The file that a new plugin's author edits.
    pub(super) source: &'static str,
    /// The files of a new plugin, with words in capitals for what is filled in.
    pub(super) template: &'static [(&'static str, &'static str)],
    /// Such words that are the language's own.
    pub(super) fills: &'static [(&'static str, &'static str)],
    pub(super) sdk: SdkForm,
    /// Refuses a plugin's name that the language can't have.
    pub(super) check_name: fn(&str) -> Result<()>,
    /// The command that the author of a new plugin in this folder has to run once.
    pub(super) setup: fn(folder: &str) -> Option<String>,
    /// What a plugin can be built for.
    pub(super) carriers: &'static [Carrier],
    /// Reads a plugin's folder: as it was given, and without links.
    pub(super) read: fn(given: &Path, directory: PathBuf) -> Result<Box<dyn Project>>,
}

/// How a new plugin gets the SDK.
pub(super) enum SdkForm {
    /// As crates, which are at this path if they are carried: those of a checkout need not be.
    Crates(&'static str),
    /// As a folder that this executable carries.
    Folder(SdkFolder),
}

/// An SDK that is written into each plugin.
pub(super) struct SdkFolder {
    /// Where it is in what is carried.
    pub(super) carried: &'static str,
    /// The folder of its sources there, whose files and folders become those of `folder`.
    pub(super) sources: &'static str,
    /// Where it is in the plugin.
    pub(super) folder: &'static str,
}

/// A plugin's folder.
pub(super) trait Project {
    /// Its plugin.json.
    fn descriptor(&self) -> &PluginDescriptor;
    fn build(&self, carrier: Carrier) -> Result<Built>;
    /// Runs its own tests.
    fn test(&self) -> Result<()>;
    /// The folder of what is built.
    fn target_directory(&self) -> PathBuf;
    /// Where the plugin file for a carrier is put.
    fn plugin_path(&self, carrier: Carrier) -> PathBuf;
}

pub(super) fn definition(language: Language) -> &'static Definition {
    match language {
        Language::Rust => &rust::RUST,
        Language::Python => &python::PYTHON,
        Language::Javascript => &javascript::JAVASCRIPT,
        Language::C => &c::C,
    }
}

pub(super) fn all() -> impl Iterator<Item = &'static Definition> {
    Language::value_variants().iter().map(|one| definition(*one))
}

/// A plugin's folder, and the language that its files are in.
pub(super) struct PluginFolder {
    language: &'static Definition,
    project: Box<dyn Project>,
}

impl PluginFolder {
    pub(super) fn read(given: &Path) -> Result<Self> {
        let shown = given.display();
        let directory = given
            .canonicalize()
            .with_context(|| format!("'{shown}' can't be opened"))?;
        let language = language_of(given, &directory)?;
        Ok(Self {
            language,
            project: (language.read)(given, directory)?,
        })
    }

    /// Says so where there is no plugin's folder.
    pub(super) fn need_marker(given: &Path) -> Result<()> {
        language_of(given, given).map(drop)
    }

    /// Whether an invocation with this metadata would be rejected for it.
    pub(super) fn check_metadata(&self, metadata: BTreeMap<String, String>) -> Result<()> {
        let problems = self.project.descriptor().check_metadata(&metadata).err();
        let problems: Vec<_> = problems.iter().flatten().map(ToString::to_string).collect();
        match problems.is_empty() {
            true => Ok(()),
            false => bail!(
                "invalid metadata: {}; give it with -m KEY=VALUE",
                problems.join("; ")
            ),
        }
    }

    /// The carriers that it is built for.
    pub(super) fn carriers(&self) -> &'static [Carrier] {
        self.language.carriers
    }

    /// Says so at once where there is nothing to build for a carrier.
    pub(super) fn need(&self, carrier: Carrier) -> Result<()> {
        match self.carriers().contains(&carrier) {
            true => Ok(()),
            false => bail!(
                "a plugin in {} is always a component: leave out --native",
                self.language.name
            ),
        }
    }

    pub(super) fn build(&self, carrier: Carrier) -> Result<Built> {
        self.need(carrier)?;
        self.project.build(carrier)
    }

    pub(super) fn test(&self) -> Result<()> {
        self.project.test()
    }

    pub(super) fn target_directory(&self) -> PathBuf {
        self.project.target_directory()
    }

    pub(super) fn plugin_path(&self, carrier: Carrier) -> PathBuf {
        self.project.plugin_path(carrier)
    }
}

fn language_of(given: &Path, directory: &Path) -> Result<&'static Definition> {
    let found = all().find(|one| directory.join(one.marker).is_file());
    found.with_context(|| {
        let markers: Vec<_> = all().map(|one| one.marker).collect();
        format!(
            "no {} in '{}', so it is not a plugin's folder; `executor-runtime plugin new NAME` creates one, with `--lang` in \
             another language than Rust",
            listed(&markers),
            given.display()
        )
    })
}

/// `a, b or c`.
fn listed(names: &[&str]) -> String {
    match names {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        names => names.concat(),
    }
}
