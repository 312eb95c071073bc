//! `plugin embed`: a component that another toolchain than cargo made becomes a plugin.
//!
//! A Rust crate embeds its descriptor by `export_runner!`. What componentize-py, componentize-js or another tool builds from
//! `wit/` has none; it is appended here as the custom section that the host reads, in the place of an earlier one.

use super::{
    build::{Built, print},
    partial::Partial,
    sections::{custom_section, without_section},
};
use crate::{Format, args::EmbedOptions};
use anyhow::{Context, Result, bail};
use executor_runtime::{
    config::{Config, trust::FileError},
    plugin::{self, Carrier, State, Unusable},
    protocol::{COMPONENT_SECTION, MAX_DESCRIPTOR_BYTES, PluginDescriptor},
};
use std::{fs, io::Read, os::unix::fs::PermissionsExt, path::Path};

/// How a module or component begins.
const MAGIC: &[u8] = b"\0asm";

/// The longest component that a host loads.
const MAX_COMPONENT_BYTES: usize = 512 << 20;

pub(super) fn embed(options: &EmbedOptions, format: Format) -> Result<()> {
    let (component, descriptor) = (&options.component, &options.descriptor);
    let output = options.output.as_ref().unwrap_or(component);
    let json = read(descriptor, MAX_DESCRIPTOR_BYTES)?;
    if json.starts_with(MAGIC) {
        bail!(
            "'{}' is a component, and stands where its descriptor is expected: give the component first, then its \
             plugin.json",
            descriptor.display()
        );
    }
    let parsed = PluginDescriptor::from_json(&json)
        .with_context(|| format!("'{}' can't be used", descriptor.display()))?;
    if output.extension().is_none_or(|extension| extension != "wasm") {
        bail!(
            "'{}' is no name for a component: call it *.wasm",
            output.display()
        );
    }
    let built = read(component, MAX_COMPONENT_BYTES)?;
    // What a link leads to is replaced, and not the link.
    let output = output.canonicalize().unwrap_or_else(|_| output.clone());
    let built = embedded(component, &built, (parsed, &json), &output)?;
    print(&[built], format)
}

/// The content of a regular file of at most so many bytes.
fn read(path: &Path, max: usize) -> Result<Vec<u8>> {
    let shown = path.display();
    let is_file = fs::metadata(path)
        .with_context(|| format!("'{shown}' can't be read"))?
        .is_file();
    if !is_file {
        bail!("'{shown}' is not a regular file");
    }
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(max as u64 + 1).read_to_end(&mut bytes))
        .with_context(|| format!("'{shown}' can't be read"))?;
    if bytes.len() > max {
        bail!("'{shown}' is longer than {max} bytes");
    }
    Ok(bytes)
}

/// Writes the component `built`, which is called `component`, to `output` with this descriptor, if a plugin comes of it.
pub(super) fn embedded(
    component: &Path,
    built: &[u8],
    (parsed, json): (PluginDescriptor, &[u8]),
    output: &Path,
) -> Result<Built> {
    let mut bytes = without_section(built, COMPONENT_SECTION);
    bytes.extend(custom_section(COMPONENT_SECTION, json));
    // Beside its place, so that what stands there is whole at any moment, and only replaced by what loads.
    let cannot = || format!("'{}' can't be written", output.display());
    let partial = Partial::beside(output).with_context(cannot)?;
    fs::write(partial.path(), &bytes).with_context(cannot)?;
    check(&partial.path(), component, &parsed)?;
    let mode = fs::metadata(component)?.permissions().mode() & 0o777;
    fs::set_permissions(partial.path(), fs::Permissions::from_mode(mode)).with_context(cannot)?;
    partial.finish(output).with_context(cannot)?;
    Ok(Built {
        path: output.to_owned(),
        carrier: Carrier::Component,
        bytes: bytes.len() as u64,
        kinds: parsed.kinds,
    })
}

fn check(partial: &Path, component: &Path, descriptor: &PluginDescriptor) -> Result<()> {
    let shown = component.display();
    let found = plugin::inspect(partial, &Config::default());
    match found.state {
        State::Usable(_)
        | State::Unusable(Unusable::File(
            FileError::WritableByOthers { .. } | FileError::ForeignOwner { .. },
        )) => {}
        State::Unusable(reason @ (Unusable::MissingExport(_) | Unusable::UnknownImport(_))) => bail!(
            "'{shown}' {reason}; build it for the world `runner` of the interface that `executor-runtime plugin wit DIR` \
             writes; nothing was written"
        ),
        State::Unusable(reason) => bail!("'{shown}' {reason}; nothing was written"),
    }
    match found.plugin {
        // The host takes the first descriptor of a file, and a module in it comes before what is appended.
        Some(plugin) if plugin.descriptor != *descriptor => bail!(
            "'{shown}' already has a descriptor in its code, for plugin '{}', which can't be replaced: change its \
             plugin.json and build it again; nothing was written",
            plugin.descriptor.name
        ),
        _ => Ok(()),
    }
}
