//! Packs what an author needs into one file, for the executable to carry: the SDK's crates and `wit/`, as a workspace of
//! their own, and the SDKs for other languages. A part of the build script.
//!
//! The file is a sequence of entries, compressed as one (zlib): the length of the path (two bytes, little-endian), the path,
//! the length of the content (four bytes), the content.

use crate::wrapper::wrapper;
use std::{
    fs,
    io::{Error, Result},
    path::Path,
};

/// The crates, seen from the workspace.
const CRATES: [&str; 4] = [
    "plugin-sdk",
    "plugin-sdk/protocol",
    "plugin-sdk/testing",
    "plugin-sdk/tls",
];

/// What is taken of each.
const TAKEN: [&str; 4] = ["Cargo.toml", "LICENSE", "src", "wit"];

/// The SDKs for other languages, and what is taken of each.
const OTHERS: [(&str, &[&str]); 3] = [
    ("plugin-sdk/c", &["LICENSE", "README.md", "executor_runtime"]),
    (
        "plugin-sdk/javascript",
        &["LICENSE", "README.md", "executor_runtime"],
    ),
    ("plugin-sdk/python", &["LICENSE", "README.md", "executor_runtime"]),
];

/// What is made for the SDK for C, and of which of its sources.
const WRAPPER: &str = "plugin-sdk/c/executor_runtime/component.wasm";
const WRAPPED: &str = "plugin-sdk/c/executor_runtime/component.h";

/// Packs what is in `workspace` into the file `packed`.
pub(crate) fn pack(workspace: &Path, packed: &Path) -> Result<()> {
    let manifest = workspace.join("Cargo.toml");
    println!("cargo::rerun-if-changed={}", manifest.display());
    let mut entries = Vec::new();
    add_entry(
        "Cargo.toml",
        workspace_manifest(&fs::read_to_string(manifest)?)?.as_bytes(),
        &mut entries,
    )?;
    for folder in CRATES {
        for name in TAKEN {
            add(workspace, &format!("{folder}/{name}"), &mut entries)?;
        }
    }
    for (folder, taken) in OTHERS {
        for name in taken {
            add(workspace, &format!("{folder}/{name}"), &mut entries)?;
        }
    }
    let component = wrapper(&workspace.join("wit"), &workspace.join(WRAPPED))?;
    add_entry(WRAPPER, &component, &mut entries)?;
    fs::write(packed, miniz_oxide::deflate::compress_to_vec_zlib(&entries, 9))
}

fn add(workspace: &Path, name: &str, entries: &mut Vec<u8>) -> Result<()> {
    let path = workspace.join(name);
    if path.is_dir() {
        println!("cargo::rerun-if-changed={}", path.display());
        let mut names = Vec::new();
        for entry in fs::read_dir(&path)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        // Tests leave files there that are not part of the package.
        for below in names.iter().filter(|name| *name != "__pycache__") {
            add(workspace, &format!("{name}/{below}"), entries)?;
        }
    } else if path.exists() {
        println!("cargo::rerun-if-changed={}", path.display());
        add_entry(name, &fs::read(path)?, entries)?;
    }
    Ok(())
}

fn add_entry(name: &str, content: &[u8], entries: &mut Vec<u8>) -> Result<()> {
    let name_length = u16::try_from(name.len()).map_err(Error::other)?;
    let length = u32::try_from(content.len()).map_err(Error::other)?;
    entries.extend(name_length.to_le_bytes());
    entries.extend(name.as_bytes());
    entries.extend(length.to_le_bytes());
    entries.extend(content);
    Ok(())
}

/// The manifest of the workspace that has these crates alone: with what they inherit from this one.
fn workspace_manifest(text: &str) -> Result<String> {
    let inherited = text.find("[workspace.package]").zip(text.find("[profile."));
    let (from, to) = inherited.ok_or_else(|| Error::other("Cargo.toml is not laid out as it was"))?;
    let kept = text[from..to].lines().filter(|line| {
        !["path = \"host", "path = \"tests"]
            .iter()
            .any(|other| line.contains(other))
    });
    let mut manifest = format!("[workspace]\nresolver = \"3\"\nmembers = {CRATES:?}\n\n");
    for line in kept {
        manifest.push_str(line);
        manifest.push('\n');
    }
    Ok(manifest)
}
