//! `plugin build`: from a plugin's folder to plugin files that are known to load.
//!
//! They are put into `plugins/component` and `plugins/native` in its target directory: two directories, because two files
//! for one kind in one directory are refused.

use super::{files::Files, language::PluginFolder};
use crate::{Format, args::BuildOptions, print_json};
use anyhow::{Context, Result, bail};
use executor_runtime::{
    plugin::Carrier,
    protocol::{PluginDescriptor, RuntimeKind},
};
use std::{
    fs,
    io::{self, ErrorKind, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

/// A plugin file that was built.
#[derive(serde::Serialize)]
pub(super) struct Built {
    pub(super) path: PathBuf,
    pub(super) carrier: Carrier,
    pub(super) bytes: u64,
    pub(super) kinds: Vec<RuntimeKind>,
}

pub(super) fn build(options: &BuildOptions, format: Format) -> Result<()> {
    let plugin = PluginFolder::read(options.directory.as_deref().unwrap_or(Path::new(".")))?;
    let carriers = match (options.component, options.native) {
        (true, false) => &[Carrier::Component],
        (false, true) => &[Carrier::Native],
        _ => plugin.carriers(),
    };
    let built: Vec<_> = carriers
        .iter()
        .map(|carrier| plugin.build(*carrier))
        .collect::<Result<_>>()?;
    print(&built, format)
}

/// The component that was built of the plugin in the current directory.
pub(super) fn built_here() -> Result<PathBuf> {
    let here = Path::new(".");
    let plugin = PluginFolder::read(here)?;
    let path = plugin.plugin_path(Carrier::Component);
    let built = fs::metadata(&path).ok().filter(fs::Metadata::is_file);
    let Some(built) = built.and_then(|built| built.modified().ok()) else {
        bail!(
            "the plugin in the current directory has not been built as a component: '{}' is missing; run \
             `executor-runtime plugin build`, or give the FILE to install",
            path.display()
        );
    };
    let files = Files::of(here).without(Some(&plugin.target_directory()));
    if let Some(newer) = files.newer_than(built) {
        bail!(
            "'{}' was changed after the plugin was built: run `executor-runtime plugin build`, or give the FILE to install",
            newer.display()
        );
    }
    Ok(path)
}

/// Prints what was built, and what comes next.
pub(super) fn print(built: &[Built], format: Format) -> Result<()> {
    match format {
        Format::Json => print_json(&built)?,
        Format::Human => {
            let mut out = io::stdout().lock();
            for file in built {
                let kinds: Vec<_> = file.kinds.iter().map(RuntimeKind::as_str).collect();
                writeln!(
                    out,
                    "{}  {}  {}  {}",
                    file.carrier.as_str(),
                    size(file.bytes),
                    kinds.join(", "),
                    file.path.display()
                )?;
            }
        }
    }
    if let Some(file) = built.first() {
        let path = file.path.display();
        say!(
            "next: `executor-runtime plugin check '{path}'`, then `executor-runtime plugin install '{path}'`"
        );
    }
    Ok(())
}

/// The descriptor in a plugin's directory, which is called `shown`, and its text. `beside` is the file that it stands
/// beside.
pub(super) fn read_descriptor(
    directory: &Path,
    shown: &Path,
    beside: &str,
) -> Result<(PluginDescriptor, Vec<u8>)> {
    let file = directory.join("plugin.json");
    let json = match fs::read(&file) {
        Ok(json) => json,
        Err(error) if error.kind() == ErrorKind::NotFound => bail!(
            "no plugin.json in '{}': the plugin's descriptor has to be beside {beside}; `executor-runtime schema \
             descriptor` prints its JSON Schema",
            shown.display()
        ),
        Err(error) => return Err(error).with_context(|| format!("'{}' can't be read", file.display())),
    };
    let descriptor =
        PluginDescriptor::from_json(&json).with_context(|| format!("'{}' can't be used", file.display()))?;
    Ok((descriptor, json))
}

/// Where the plugin file for a carrier is put.
pub(super) fn plugin_path(
    target_directory: &Path,
    descriptor: &PluginDescriptor,
    carrier: Carrier,
) -> PathBuf {
    let directory = target_directory.join("plugins").join(carrier.as_str());
    directory
        .join(&descriptor.name)
        .with_extension(extension(carrier))
}

pub(super) fn extension(carrier: Carrier) -> &'static str {
    match carrier {
        Carrier::Component => "wasm",
        Carrier::Native => "so",
        Carrier::Recipe => "kind.toml",
    }
}

pub(super) fn make_directory(directory: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(directory)
        .with_context(|| format!("'{}' can't be created", directory.display()))
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.0} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
