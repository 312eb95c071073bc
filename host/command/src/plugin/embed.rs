//! `plugin embed`: a component that another toolchain than cargo made becomes a plugin.
//!
//! A Rust crate embeds its descriptor by `export_runner!`. What componentize-py, componentize-js or another tool builds from
//! `wit/` has none; it is appended here as the custom section that the host reads, in the place of an earlier one.

use super::{
    build::{Built, print},
    partial::Partial,
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

/// The magic number and the version, which no section is part of.
const PREAMBLE_BYTES: usize = 8;

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

/// A component without its own custom sections of this name: those of the modules in it stay. What is no component is
/// left as it is.
fn without_section(component: &[u8], name: &str) -> Vec<u8> {
    let mut kept = Vec::with_capacity(component.len());
    let mut rest = component;
    let preamble = rest
        .split_off(..PREAMBLE_BYTES.min(rest.len()))
        .unwrap_or_default();
    kept.extend(preamble);
    while let Some((section, after)) = next_section(rest) {
        if section_name(section) != Some(name.as_bytes()) {
            kept.extend(section);
        }
        rest = after;
    }
    kept.extend(rest);
    kept
}

/// The first section, and what comes after it; None at the end, or if it is damaged.
fn next_section(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, content) = read_leb128(bytes.get(1..)?)?;
    let header = bytes.len() - content.len();
    bytes.split_at_checked(header.checked_add(length)?)
}

/// The name of a custom section.
fn section_name(section: &[u8]) -> Option<&[u8]> {
    let (0, rest) = section.split_first().map(|(id, rest)| (*id, rest))? else {
        return None;
    };
    let (_, content) = read_leb128(rest)?;
    let (length, name) = read_leb128(content)?;
    name.get(..length)
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

/// An unsigned integer in LEB128 of 32 bits at most, and what comes after it.
fn read_leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate().take(5) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, &bytes[index + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_taken_out_wherever_it_stands_and_nothing_else() {
        let preamble = b"\0asm\x0d\0\x01\0";
        let (mine, other) = (
            custom_section("mine", &[7; 300]),
            custom_section("other", b"mine"),
        );
        // A core module with a section of that name in it.
        let module = [&[1, 16][..], b"\0asm\x01\0\0\0", &custom_section("mine", b"x")].concat();
        let with = [preamble, &mine[..], &other, &mine, &module, &mine].concat();
        assert_eq!(
            without_section(&with, "mine"),
            [preamble, &other[..], &module].concat()
        );
        for damaged in [
            &b""[..],
            b"\0asm",
            &with[..with.len() - 1],
            b"\0asm\x0d\0\x01\0\0\xff\xff\xff\xff\xff",
        ] {
            let left = without_section(damaged, "none");
            assert_eq!(left, damaged);
        }
    }
}
