//! `plugin embed`: a component that another toolchain than cargo made becomes a plugin.
//!
//! A Rust crate embeds its descriptor by `export_runner!`. What componentize-py, jco or another tool builds from
//! `wit/` has none; it is appended here as the custom section that the host reads.

use super::build::{Built, print};
use crate::{Format, args::EmbedOptions};
use anyhow::{Context, Result, bail};
use executor_runtime::{
    config::{Config, trust::FileError},
    plugin::{self, Carrier, State, Unusable},
    protocol::{COMPONENT_SECTION, PluginDescriptor},
};
use std::{fs, path::Path};

pub(super) fn embed(options: &EmbedOptions, format: Format) -> Result<()> {
    let (component, descriptor) = (&options.component, &options.descriptor);
    let json = fs::read(descriptor).with_context(|| format!("'{}' can't be read", descriptor.display()))?;
    let parsed = PluginDescriptor::from_json(&json)
        .with_context(|| format!("'{}' can't be used", descriptor.display()))?;
    if let Some(plugin) = plugin::inspect(component, &Config::default()).plugin {
        bail!(
            "'{}' already has a descriptor, for plugin '{}'; give the component that its toolchain built, before \
             embedding",
            component.display(),
            plugin.descriptor.name
        );
    }
    let mut bytes =
        fs::read(component).with_context(|| format!("'{}' can't be read", component.display()))?;
    bytes.extend(custom_section(COMPONENT_SECTION, &json));
    // Beside its place, so that what stands there is whole at any moment, and only replaced by what loads.
    let partial = component.with_extension(format!("{}.partial.wasm", std::process::id()));
    let checked = fs::write(&partial, &bytes)
        .with_context(|| format!("'{}' can't be written", partial.display()))
        .and_then(|()| check(&partial, component));
    if let Err(error) = checked {
        let _ = fs::remove_file(&partial);
        return Err(error);
    }
    fs::rename(&partial, component)
        .with_context(|| format!("'{}' can't be replaced", component.display()))?;
    let built = Built {
        path: component.clone(),
        carrier: Carrier::Component,
        bytes: bytes.len() as u64,
        kinds: parsed.kinds,
    };
    print(&[built], format)
}

fn check(partial: &Path, component: &Path) -> Result<()> {
    let shown = component.display();
    match plugin::inspect(partial, &Config::default()).state {
        State::Usable(_)
        | State::Unusable(Unusable::File(
            FileError::WritableByOthers { .. } | FileError::ForeignOwner { .. },
        )) => Ok(()),
        State::Unusable(reason) => bail!("'{shown}' {reason}; nothing was changed"),
    }
}

/// A section as the binary format has it (WebAssembly core specification, 5.5.3): id 0, the length of what
/// follows, the length of the name, the name, the content.
fn custom_section(name: &str, content: &[u8]) -> Vec<u8> {
    let mut body = leb128(name.len());
    body.extend(name.as_bytes());
    body.extend(content);
    let mut section = vec![0];
    section.extend(leb128(body.len()));
    section.extend(body);
    section
}

/// An unsigned integer in LEB128.
fn leb128(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}
