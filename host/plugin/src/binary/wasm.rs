//! WebAssembly components: the descriptor, and whether the interface fits.
//!
//! A component is a list of sections. The descriptor stands in a custom section, of the component itself or of
//! a core module directly inside it (which is where a compiler puts it when no tool has moved it up). The names
//! of the component's imports and exports tell, before anything is compiled, whether it fits the host.

use super::reader::{Malformed, Reader};
use crate::{Unusable, file::PluginFile};
use executor_runtime_protocol::{
    COMPONENT_INTERFACE_VERSION, COMPONENT_SECTION, InterfaceVersion, MAX_DESCRIPTOR_BYTES,
};

const MAGIC: [u8; 4] = *b"\0asm";
const MODULE: [u8; 4] = [1, 0, 0, 0];
const COMPONENT: [u8; 4] = [0x0d, 0, 1, 0];
const PREAMBLE: u64 = 8;

/// Section numbers of the binary format.
mod section {
    pub(super) const CUSTOM: u8 = 0;
    pub(super) const CORE_MODULE: u8 = 1;
    pub(super) const IMPORT: u8 = 10;
    pub(super) const EXPORT: u8 = 11;
}

/// Sections that are looked at, nested ones included. A component with an interpreter in it has hundreds.
const MAX_SECTIONS: u32 = 20_000;

/// Bytes of an import or export section that are read.
const MAX_NAMES: u64 = 1 << 20;

/// A section's number, its length in at most five bytes, and the beginning of a name.
const HEADER_BYTES: usize = 64;

/// The interface that a plugin exports, without its version.
const RUN: &str = "executor-runtime:plugin/run";

/// What the host links, without the versions: WASI at 0.2, its own package at its own version.
const WASI: [&str; 7] = ["cli", "clocks", "filesystem", "http", "io", "random", "sockets"];
const OWN: [&str; 2] = [
    "executor-runtime:plugin/host",
    "executor-runtime:plugin/runner-types",
];
/// What only components import that were built before the interface was published.
const PRE_RELEASE: &str = "executor-runtime:plugin/types";

/// What the headers of a component say.
#[derive(Debug, Default)]
pub(crate) struct ComponentFile {
    /// The bytes of the descriptor.
    pub(crate) descriptor: Vec<u8>,
    imports: Vec<String>,
    exports: Vec<String>,
}

impl ComponentFile {
    /// Reads the headers of `file`.
    pub(crate) fn read(file: &PluginFile) -> Result<Self, Unusable> {
        let preamble = file.read_at(0, PREAMBLE as usize)?;
        if !preamble.starts_with(&MAGIC) {
            return Err(Unusable::WrongFormat {
                expected: "WebAssembly component",
            });
        }
        if preamble[4..] == MODULE {
            return Err(Unusable::CoreModule);
        }
        if preamble[4..] != COMPONENT {
            return Err(Unusable::Damaged(
                "it has an unknown version of WebAssembly".to_owned(),
            ));
        }
        let mut scan = Scan {
            file,
            window: Window::default(),
            sections: 0,
            found: Self::default(),
            descriptor: None,
        };
        scan.component(PREAMBLE, file.length())?;
        let Scan {
            mut found,
            descriptor,
            ..
        } = scan;
        found.descriptor = descriptor.ok_or(Unusable::NoDescriptor {
            section: COMPONENT_SECTION,
        })?;
        Ok(found)
    }

    /// Whether it was built for the interface as it was before it was published.
    pub(crate) fn is_pre_release(&self) -> bool {
        let mut imports = self.imports.iter();
        imports.any(|name| interface(name) == PRE_RELEASE)
    }

    /// Checks that the host offers what the component imports and calls what it exports.
    pub(crate) fn check_interface(&self) -> Result<(), Unusable> {
        let run = self.exports.iter().find_map(|name| {
            let (interface, version) = name.split_once('@')?;
            (interface == RUN).then(|| parse_version(version))
        });
        match run {
            None => {
                return Err(Unusable::MissingExport(format!(
                    "{RUN}@{COMPONENT_INTERFACE_VERSION}.0"
                )));
            }
            Some(Some(needs)) if !needs.loads_in(COMPONENT_INTERFACE_VERSION) => {
                return Err(Unusable::Interface { needs });
            }
            Some(_) => {}
        }
        match self.imports.iter().find(|name| !is_offered(name)) {
            Some(name) => Err(Unusable::UnknownImport(name.clone())),
            None => Ok(()),
        }
    }
}

/// The name of an import or export without its version.
fn interface(name: &str) -> &str {
    name.split_once('@').map_or(name, |(interface, _)| interface)
}

/// Whether the host links an import of this name.
fn is_offered(name: &str) -> bool {
    let (interface, version) = name.split_once('@').unwrap_or((name, ""));
    if OWN.contains(&interface) {
        return parse_version(version).is_some_and(|needs| needs.loads_in(COMPONENT_INTERFACE_VERSION));
    }
    let package = interface
        .strip_prefix("wasi:")
        .and_then(|rest| rest.split_once('/'));
    package.is_some_and(|(package, _)| WASI.contains(&package)) && version.starts_with("0.2.")
}

/// `major.minor` of `major.minor.patch`.
fn parse_version(text: &str) -> Option<InterfaceVersion> {
    InterfaceVersion::parse(text.rsplit_once('.')?.0)
}

struct Scan<'a> {
    file: &'a PluginFile,
    window: Window,
    sections: u32,
    found: ComponentFile,
    descriptor: Option<Vec<u8>>,
}

/// The part of the file that was read last. Headers stand close together at the beginning and the end of a
/// component, so that one read serves dozens of them.
#[derive(Default)]
struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    const LENGTH: usize = 16 * 1024;

    /// Up to `length` bytes at `at`; fewer at the end of the file.
    fn at(&mut self, file: &PluginFile, at: u64, length: usize) -> Result<&[u8], Unusable> {
        let end = at.saturating_add(length as u64).min(file.length());
        if at < self.start || end > self.start + self.bytes.len() as u64 {
            self.bytes = file.read_at(at, Self::LENGTH.max(length))?;
            self.start = at;
        }
        // `at` is in the window or at its end now; what is in memory has a length that fits.
        let from = (at - self.start) as usize;
        let bytes = self.bytes.get(from..).unwrap_or_default();
        Ok(&bytes[..length.min(bytes.len())])
    }
}

/// The header of one section; `name` is a custom section's.
struct Section {
    id: u8,
    name: Option<String>,
    start: u64,
    end: u64,
}

impl Scan<'_> {
    fn component(&mut self, mut at: u64, end: u64) -> Result<(), Unusable> {
        while at < end {
            let section = self.section(at, end)?;
            match section.id {
                section::CUSTOM => self.custom(&section)?,
                section::CORE_MODULE => self.module(&section)?,
                section::IMPORT => self.imports(&section)?,
                section::EXPORT => self.exports(&section)?,
                _ => {}
            }
            at = section.end;
        }
        Ok(())
    }

    /// Looks for custom sections in a core module.
    fn module(&mut self, module: &Section) -> Result<(), Unusable> {
        if self.descriptor.is_some() {
            return Ok(());
        }
        let mut at = module.start.saturating_add(PREAMBLE);
        while at < module.end {
            let section = self.section(at, module.end)?;
            if section.id == section::CUSTOM {
                self.custom(&section)?;
            }
            at = section.end;
        }
        Ok(())
    }

    fn custom(&mut self, section: &Section) -> Result<(), Unusable> {
        if section.name.as_deref() != Some(COMPONENT_SECTION) || self.descriptor.is_some() {
            return Ok(());
        }
        let length = section.end - section.start;
        if length > MAX_DESCRIPTOR_BYTES as u64 {
            return Err(Unusable::InvalidDescriptor(format!("it has {length} bytes")));
        }
        self.descriptor = Some(self.file.read_exact_at(section.start, length as usize)?);
        Ok(())
    }

    fn imports(&mut self, section: &Section) -> Result<(), Unusable> {
        let bytes = self.names(section)?;
        let imports = Reader::new(&bytes).imports().map_err(damaged)?;
        self.found.imports.extend(imports);
        Ok(())
    }

    fn exports(&mut self, section: &Section) -> Result<(), Unusable> {
        let bytes = self.names(section)?;
        let exports = Reader::new(&bytes).exports().map_err(damaged)?;
        self.found.exports.extend(exports);
        Ok(())
    }

    fn names(&mut self, section: &Section) -> Result<Vec<u8>, Unusable> {
        let length = section.end - section.start;
        if length > MAX_NAMES {
            return Err(Unusable::Damaged("its list of names is too long".to_owned()));
        }
        // A section ends within the file.
        let bytes = self.window.at(self.file, section.start, length as usize)?;
        Ok(bytes.to_vec())
    }

    fn section(&mut self, at: u64, end: u64) -> Result<Section, Unusable> {
        self.sections += 1;
        if self.sections > MAX_SECTIONS {
            return Err(Unusable::Damaged("it has too many sections".to_owned()));
        }
        let bytes = self.window.at(self.file, at, HEADER_BYTES)?;
        let mut reader = Reader::new(bytes);
        let id = reader.byte().map_err(damaged)?;
        let length = reader.number().map_err(damaged)?;
        let mut start = at + reader.position() as u64;
        let section_end = start.saturating_add(u64::from(length));
        if section_end > end {
            return Err(Unusable::Damaged("it is truncated".to_owned()));
        }
        let mut name = None;
        if id == section::CUSTOM {
            // A name that is longer than what was read is none that matters.
            if let Ok(text) = reader.string() {
                let after = at + reader.position() as u64;
                if after <= section_end {
                    name = Some(text.to_owned());
                    start = after;
                }
            }
        }
        Ok(Section {
            id,
            name,
            start,
            end: section_end,
        })
    }
}

fn damaged(reason: Malformed) -> Unusable {
    Unusable::Damaged(reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_offered_by_name_and_version() {
        for offered in [
            "wasi:io/streams@0.2.0",
            "wasi:http/types@0.2.12",
            "executor-runtime:plugin/host@1.0.0",
            "executor-runtime:plugin/runner-types@1.0.3",
        ] {
            assert!(is_offered(offered), "{offered}");
        }
        for unknown in [
            "wasi:io/streams@0.3.0",
            "wasi:keyvalue/store@0.2.0",
            "wasi:io/streams",
            "executor-runtime:plugin/host@1.1.0",
            "executor-runtime:plugin/host@2.0.0",
            "acme:x/y@1.0.0",
        ] {
            assert!(!is_offered(unknown), "{unknown}");
        }
    }
}
