//! What is in the plugins directories.

use crate::{
    Unusable,
    binary::{elf, wasm::ComponentFile},
    digest::hex,
    file::PluginFile,
    recipe::{self, RecipeFile},
};
use executor_runtime_config::{Config, PluginConfig};
use executor_runtime_protocol::{
    INTERFACE_VERSION, InterfaceVersion, PluginDescriptor, RuntimeKind, closest,
};
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What a plugin file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Carrier {
    /// A WebAssembly component, sandboxed.
    Component,
    /// A shared library, run in a worker process.
    Native,
    /// A file that makes a kind out of another plugin's.
    Recipe,
}

impl Carrier {
    /// Its name in receipts and listings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Component => "component",
            Self::Native => "native",
            Self::Recipe => "recipe",
        }
    }

    /// What a file of this name is; none if it is no plugin's.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension().and_then(OsStr::to_str) {
            _ if RecipeFile::is_name(path) => Some(Self::Recipe),
            Some("wasm") => Some(Self::Component),
            Some("so") => Some(Self::Native),
            _ => None,
        }
    }
}

/// A plugin file and what it says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Plugin {
    /// Where it is.
    pub path: PathBuf,
    /// What it is.
    pub carrier: Carrier,
    /// What it says of itself.
    pub descriptor: PluginDescriptor,
    /// What a recipe makes of its base.
    pub recipe: Option<Arc<RecipeFile>>,
}

/// One file in a plugins directory.
#[derive(Clone, Debug)]
pub struct Found {
    /// Where it is.
    pub path: PathBuf,
    /// What it says of itself, as far as that could be read.
    pub plugin: Option<Arc<Plugin>>,
    /// Whether it can be used.
    pub state: State,
}

/// Whether a plugin file can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs these kinds. They are all of its kinds, except those that a directory before has.
    Usable(Vec<RuntimeKind>),
    /// It runs nothing.
    Unusable(Unusable),
}

/// Reads what is in `directories`, of which the first that has a kind wins. One that does not exist is empty.
///
/// The files come in the order of directories and names, one that can't be used with its reason.
pub fn discover(directories: &[PathBuf], config: &Config) -> Vec<Found> {
    let mut all = Vec::new();
    let mut taken: BTreeMap<RuntimeKind, PathBuf> = BTreeMap::new();
    for directory in directories {
        let mut found = read_directory(directory, config);
        refuse_same_kinds(&mut found);
        for file in &mut found {
            shadow(file, &taken);
        }
        for file in &found {
            let (State::Usable(_) | State::Unusable(Unusable::SameKind { .. }), Some(plugin)) =
                (&file.state, &file.plugin)
            else {
                continue;
            };
            for kind in &plugin.descriptor.kinds {
                taken.entry(kind.clone()).or_insert_with(|| file.path.clone());
            }
        }
        all.extend(found);
    }
    find_bases(&mut all);
    all
}

/// Of the recipes, only those are used whose base is there and takes what they set.
fn find_bases(all: &mut [Found]) {
    let checked: Vec<_> = all.iter().map(|found| find_base(found, all)).collect();
    for (found, checked) in all.iter_mut().zip(checked) {
        if let Err(reason) = checked {
            found.state = State::Unusable(reason);
        }
    }
}

fn find_base(found: &Found, all: &[Found]) -> Result<(), Unusable> {
    let (State::Usable(_), Some(recipe)) = (
        &found.state,
        found.plugin.as_ref().and_then(|plugin| plugin.recipe.as_ref()),
    ) else {
        return Ok(());
    };
    let base = recipe.base();
    let has_base = |found: &&Found| matches!(&found.state, State::Usable(kinds) if kinds.contains(base));
    match all.iter().find(has_base).and_then(|found| found.plugin.as_ref()) {
        Some(plugin) => recipe::check_base(recipe, plugin),
        None => Err(no_base(base, all)),
    }
}

/// Why a recipe without its base is not used, where these are all plugin files.
pub(super) fn no_base(base: &RuntimeKind, all: &[Found]) -> Unusable {
    if base.as_str() == "subprocess" {
        let problem = "its base is 'subprocess', which is built in; a base is a plugin's kind";
        return Unusable::Recipe(problem.to_owned());
    }
    let is_recipe = |found: &&Found| {
        found
            .plugin
            .as_ref()
            .is_some_and(|plugin| plugin.recipe.is_some())
    };
    let kinds = all.iter().filter(|found| !is_recipe(found));
    let kinds = kinds.filter_map(|found| match &found.state {
        State::Usable(kinds) => Some(kinds.iter().map(RuntimeKind::as_str)),
        State::Unusable(_) => None,
    });
    let hint = match closest(base.as_str(), kinds.flatten()) {
        Some(meant) => format!("did you mean '{meant}'?"),
        None => "`plugin list` shows the kinds that there are".to_owned(),
    };
    Unusable::Recipe(format!(
        "no plugin that can be used here runs its base '{base}'; {hint}"
    ))
}

/// Reads one file as [`discover`] does, wherever it is.
pub fn inspect(path: &Path, config: &Config) -> Found {
    let carrier = Carrier::of(path).ok_or(Unusable::WrongFormat {
        expected: "file named *.wasm, *.so or *.kind.toml",
    });
    let read = carrier.and_then(|carrier| {
        let file = PluginFile::open(path)?;
        let (plugin, release) = read_any(path, &file, carrier)?;
        Ok((plugin, file, release))
    });
    let (plugin, state) = match read {
        Err(reason) => (None, State::Unusable(reason)),
        Ok((plugin, file, release)) => {
            let checked = match release {
                Release::Before => Err(Unusable::PreRelease),
                Release::Current => check(&plugin, &file, config),
            };
            let state = match checked {
                Ok(()) => State::Usable(plugin.descriptor.kinds.clone()),
                Err(reason) => State::Unusable(reason),
            };
            (Some(Arc::new(plugin)), state)
        }
    };
    Found {
        path: path.to_owned(),
        plugin,
        state,
    }
}

fn read_directory(directory: &Path, config: &Config) -> Vec<Found> {
    let paths = fs::read_dir(directory).and_then(|entries| {
        entries
            .map(|entry| Ok(entry?.path()))
            .filter(|path| path.as_ref().map_or(true, |path| Carrier::of(path).is_some()))
            .collect::<io::Result<Vec<PathBuf>>>()
    });
    match paths {
        Ok(mut paths) => {
            paths.sort();
            paths.iter().map(|path| inspect(path, config)).collect()
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => vec![Found {
            path: directory.to_owned(),
            plugin: None,
            state: State::Unusable(Unusable::unreadable(&error)),
        }],
    }
}

/// The descriptor in a file, and the file.
pub(super) fn read_plugin(path: &Path, carrier: Carrier) -> Result<(Plugin, PluginFile), Unusable> {
    let file = PluginFile::open(path)?;
    match read_any(path, &file, carrier)? {
        (plugin, Release::Current) => Ok((plugin, file)),
        (_, Release::Before) => Err(Unusable::PreRelease),
    }
}

/// The descriptor in an open file that can be loaded.
pub(super) fn read_descriptor(
    path: &Path,
    file: &PluginFile,
    carrier: Carrier,
) -> Result<PluginDescriptor, Unusable> {
    match read_any(path, file, carrier)? {
        (plugin, Release::Current) => Ok(plugin.descriptor),
        (_, Release::Before) => Err(Unusable::PreRelease),
    }
}

/// Whether a file was built for an interface that was published.
enum Release {
    Current,
    Before,
}

/// The plugin in an open file, also in one that is known to be for an interface before the first that was published.
fn read_any(path: &Path, file: &PluginFile, carrier: Carrier) -> Result<(Plugin, Release), Unusable> {
    let (descriptor, release, recipe) = match carrier {
        Carrier::Recipe => {
            let recipe = RecipeFile::read(path, file)?;
            (
                recipe.recipe.descriptor().clone(),
                Release::Current,
                Some(Arc::new(recipe)),
            )
        }
        Carrier::Component | Carrier::Native => {
            let (descriptor, release) = read_binary(file, carrier)?;
            (descriptor, release, None)
        }
    };
    let plugin = Plugin {
        path: path.to_owned(),
        carrier,
        descriptor,
        recipe,
    };
    Ok((plugin, release))
}

/// What is in the file of a component, or else of a library.
fn read_binary(file: &PluginFile, carrier: Carrier) -> Result<(PluginDescriptor, Release), Unusable> {
    match carrier {
        Carrier::Component => {
            let component = ComponentFile::read(file)?;
            let descriptor = parse_descriptor(&component.descriptor)?;
            if component.is_pre_release() {
                return Ok((descriptor, Release::Before));
            }
            component.check_interface()?;
            Ok((descriptor, Release::Current))
        }
        _ => {
            let (bytes, is_pre_release) = elf::read_descriptor(file)?;
            let release = match is_pre_release {
                true => Release::Before,
                false => Release::Current,
            };
            Ok((parse_descriptor(&bytes)?, release))
        }
    }
}

/// Reads a descriptor. One for a newer interface may have fields that this host does not know, so the version
/// is looked at first.
fn parse_descriptor(bytes: &[u8]) -> Result<PluginDescriptor, Unusable> {
    #[derive(serde::Deserialize)]
    struct Version {
        interface: InterfaceVersion,
    }
    if let Ok(Version { interface }) = serde_json::from_slice(bytes)
        && !interface.loads_in(INTERFACE_VERSION)
    {
        return Err(Unusable::Interface { needs: interface });
    }
    PluginDescriptor::from_json(bytes).map_err(|invalid| Unusable::InvalidDescriptor(invalid.to_string()))
}

/// What the operator's configuration says about it.
fn check(plugin: &Plugin, file: &PluginFile, config: &Config) -> Result<(), Unusable> {
    let config = config.plugin(&plugin.descriptor.name);
    check_enabled(&plugin.descriptor.name, config)?;
    if let Some(pinned) = &config.sha256 {
        match &plugin.recipe {
            Some(recipe) => check_digest(&recipe.sha256, pinned)?,
            None => check_digest(&hex(&file.sha256()?), pinned)?,
        }
    }
    let recipe = plugin.recipe.as_ref();
    match recipe.and_then(|recipe| recipe.config_problem(config)) {
        Some(problem) => Err(Unusable::Recipe(problem)),
        None => Ok(()),
    }
}

pub(super) fn check_enabled(name: &str, config: &PluginConfig) -> Result<(), Unusable> {
    if config.enabled {
        Ok(())
    } else {
        Err(Unusable::Disabled(name.to_owned()))
    }
}

/// Compares a SHA-256 with the one that the configuration pins.
///
/// # Errors
/// When they differ.
pub fn check_digest(found: &str, pinned: &str) -> Result<(), Unusable> {
    if found == pinned {
        Ok(())
    } else {
        Err(Unusable::OtherDigest {
            found: found.to_owned(),
            pinned: pinned.to_owned(),
        })
    }
}

/// Of files in one directory, none is used that has a kind of another.
fn refuse_same_kinds(found: &mut [Found]) {
    let mut owners: BTreeMap<RuntimeKind, Vec<usize>> = BTreeMap::new();
    for (index, file) in found.iter().enumerate() {
        if let State::Usable(kinds) = &file.state {
            for kind in kinds {
                owners.entry(kind.clone()).or_default().push(index);
            }
        }
    }
    for (kind, indices) in owners {
        let (Some(&first), Some(&second)) = (indices.first(), indices.get(1)) else {
            continue;
        };
        let (first, second) = (found[first].path.clone(), found[second].path.clone());
        for index in indices {
            let other = if found[index].path == first {
                &second
            } else {
                &first
            };
            found[index].state = State::Unusable(Unusable::SameKind {
                kind: kind.clone(),
                other: other.clone(),
            });
        }
    }
}

/// Takes the kinds from a file that directories before have.
fn shadow(file: &mut Found, taken: &BTreeMap<RuntimeKind, PathBuf>) {
    let State::Usable(kinds) = &mut file.state else {
        return;
    };
    let shadowed = kinds
        .iter()
        .find_map(|kind| Some((kind.clone(), taken.get(kind)?.clone())));
    kinds.retain(|kind| !taken.contains_key(kind));
    if let (true, Some((kind, by))) = (kinds.is_empty(), shadowed) {
        file.state = State::Unusable(Unusable::Shadowed { kind, by });
    }
}
