//! Makes the component that is put around a plugin in C. A part of the build script.
//!
//! A C compiler makes a core module, and its makers of components are programs of their own that an author would have to
//! install. But what is made with the SDK for C imports some of the functions that the SDK declares, and exports the same
//! ones, so one component fits all: it is made here, around a module that imports all of these functions and does nothing,
//! and `plugin build` puts the author's module in the place of that one.

use std::{
    collections::BTreeSet,
    fs,
    io::{Error, Result},
    path::Path,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{
    LiftLowerAbi, ManglingAndAbi, Resolve, ResourceIntrinsic, TypeDefKind, WasmExport, WasmExportKind,
    WasmImport, WorldId, WorldItem,
    abi::{WasmSignature, WasmType},
};

/// The world of the interface, and what C's own library needs: where it prints to.
const WORLD: &str = "package executor-runtime:c;
world c {
    include executor-runtime:plugin/runner@1.0.0;
    import wasi:cli/exit@0.2.12;
    import wasi:cli/stderr@0.2.12;
    import wasi:cli/stdout@0.2.12;
}";

const ABI: ManglingAndAbi = ManglingAndAbi::Legacy(LiftLowerAbi::Sync);

/// What declares an import in the SDK's source.
const DECLARED: &str = "IMPORT(\"";

/// The number of a custom section.
const CUSTOM: u8 = 0;

/// The component of a module that does nothing, for the world in the folder `wit`, as far as `source` declares its imports.
pub(crate) fn wrapper(wit: &Path, source: &Path) -> Result<Vec<u8>> {
    let mut resolve = Resolve::default();
    resolve.push_dir(wit).map_err(Error::other)?;
    let package = resolve.push_str("c.wit", WORLD).map_err(Error::other)?;
    let world = resolve
        .select_world(&[package], Some("c"))
        .map_err(Error::other)?;
    let declared = declared_imports(&fs::read_to_string(source)?);
    let module = Module::of(&resolve, world, &declared).map_err(Error::other)?;
    let mut module = module.bytes();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).map_err(Error::other)?;
    let component = ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(|mut encoder| encoder.encode())
        .map_err(Error::other)?;
    without_names(&component).ok_or_else(|| Error::other("the component is damaged"))
}

/// A component without its own custom sections: names for debuggers are as much as the rest.
fn without_names(component: &[u8]) -> Option<Vec<u8>> {
    // The magic number and the version.
    let (preamble, mut rest) = component.split_at_checked(8)?;
    let mut kept = preamble.to_vec();
    while let Some(id) = rest.first() {
        let (length, content) = read_leb128(&rest[1..])?;
        let (section, others) = rest.split_at_checked(rest.len() - content.len() + length)?;
        if *id != CUSTOM {
            kept.extend(section);
        }
        rest = others;
    }
    Some(kept)
}

/// Module and name of each import that is declared on a line of its own.
fn declared_imports(source: &str) -> BTreeSet<(String, String)> {
    let declarations = source.lines().filter_map(|line| line.strip_prefix(DECLARED));
    let names = declarations.filter_map(|names| {
        let (module, rest) = names.split_once("\", \"")?;
        Some((module.to_owned(), rest.split_once("\")")?.0.to_owned()))
    });
    names.collect()
}

/// A core module that imports functions of a world, and whose exports do nothing.
#[derive(Default)]
struct Module {
    types: Vec<Vec<u8>>,
    imports: Vec<Vec<u8>>,
    functions: Vec<Vec<u8>>,
    exports: Vec<Vec<u8>>,
    bodies: Vec<Vec<u8>>,
}

impl Module {
    /// With those imports of the world that are declared.
    fn of(
        resolve: &Resolve,
        world: WorldId,
        declared: &BTreeSet<(String, String)>,
    ) -> std::result::Result<Self, String> {
        let mut module = Self::default();
        let mut missing = declared.clone();
        for (import, signature) in imports(resolve, world) {
            if missing.remove(&import) {
                module.import(&import, &signature);
            }
        }
        if let Some((interface, name)) = missing.first() {
            return Err(format!("the world has no import {name} in {interface}"));
        }
        for (name, item) in &resolve.worlds[world].exports {
            let WorldItem::Interface { id, .. } = item else {
                continue;
            };
            for func in resolve.interfaces[*id].functions.values() {
                let (interface, kind) = (Some(name), WasmExportKind::Normal);
                let export = WasmExport::Func {
                    interface,
                    func,
                    kind,
                };
                let signature = resolve.wasm_signature(ABI.export_variant(), func);
                module.export(&resolve.wasm_export_name(ABI, export), &signature);
            }
        }
        let realloc = signature(&[WasmType::I32; 4], &[WasmType::I32]);
        module.export(&resolve.wasm_export_name(ABI, WasmExport::Realloc), &realloc);
        let initialize = resolve.wasm_export_name(ABI, WasmExport::Initialize);
        module.export(&initialize, &signature(&[], &[]));
        let mut memory = text(&resolve.wasm_export_name(ABI, WasmExport::Memory));
        // The first memory.
        memory.extend([2, 0]);
        module.exports.push(memory);
        Ok(module)
    }

    fn add_type(&mut self, signature: &WasmSignature) -> Vec<u8> {
        // A function type, in the binary format's number.
        let mut bytes = vec![0x60];
        for types in [&signature.params, &signature.results] {
            bytes.extend(leb128(types.len()));
            bytes.extend(types.iter().map(|one| match one {
                WasmType::I32 | WasmType::Pointer | WasmType::Length => 0x7f,
                WasmType::I64 | WasmType::PointerOrI64 => 0x7e,
                WasmType::F32 => 0x7d,
                WasmType::F64 => 0x7c,
            }));
        }
        self.types.push(bytes);
        leb128(self.types.len() - 1)
    }

    fn import(&mut self, (module, name): &(String, String), signature: &WasmSignature) {
        let kind = self.add_type(signature);
        self.imports
            .push([text(module), text(name), vec![0], kind].concat());
    }

    fn export(&mut self, name: &str, signature: &WasmSignature) {
        let kind = self.add_type(signature);
        let index = leb128(self.imports.len() + self.functions.len());
        self.functions.push(kind);
        self.exports.push([text(name), vec![0], index].concat());
        // No local variables, `unreachable`, `end`.
        self.bodies.push(vec![3, 0, 0, 0x0b]);
    }

    fn bytes(&self) -> Vec<u8> {
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        // One memory, of no pages and without a limit.
        let memories = [vec![0, 0]];
        for (id, items) in [
            (1, self.types.as_slice()),
            (2, &self.imports),
            (3, &self.functions),
            (5, &memories),
            (7, &self.exports),
            (10, &self.bodies),
        ] {
            let body = [leb128(items.len()), items.concat()].concat();
            module.push(id);
            module.extend(leb128(body.len()));
            module.extend(body);
        }
        module
    }
}

/// Every function that a module of the world can import.
fn imports(resolve: &Resolve, world: WorldId) -> Vec<((String, String), WasmSignature)> {
    let mut imports = Vec::new();
    for (name, item) in &resolve.worlds[world].imports {
        let WorldItem::Interface { id, .. } = item else {
            continue;
        };
        let interface = Some(name);
        for func in resolve.interfaces[*id].functions.values() {
            let import = resolve.wasm_import_name(ABI, WasmImport::Func { interface, func });
            imports.push((import, resolve.wasm_signature(ABI.import_variant(), func)));
        }
        for resource in resolve.interfaces[*id].types.values().copied() {
            if matches!(resolve.types[resource].kind, TypeDefKind::Resource) {
                let drop = WasmImport::ResourceIntrinsic {
                    interface,
                    resource,
                    intrinsic: ResourceIntrinsic::ImportedDrop,
                };
                let import = resolve.wasm_import_name(ABI, drop);
                imports.push((import, signature(&[WasmType::I32], &[])));
            }
        }
    }
    imports
}

fn signature(params: &[WasmType], results: &[WasmType]) -> WasmSignature {
    WasmSignature {
        params: params.to_vec(),
        results: results.to_vec(),
        indirect_params: false,
        retptr: false,
    }
}

fn text(text: &str) -> Vec<u8> {
    [leb128(text.len()), text.as_bytes().to_vec()].concat()
}

/// An unsigned integer in LEB128.
fn leb128(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// An unsigned integer in LEB128, and what comes after it.
fn read_leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let length = bytes.iter().position(|byte| byte & 0x80 == 0)? + 1;
    let value = bytes[..length]
        .iter()
        .rev()
        .fold(0, |value, byte| value << 7 | usize::from(byte & 0x7f));
    Some((value, &bytes[length..]))
}
