//! Plugins in Python: componentize-py, installed once for all tests, and what `plugin new` makes.

use crate::{
    guest_tools::{known, python_environment, run},
    home::Home,
};
use guest_build::target_directory;
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::LazyLock,
};

/// As `plugin new` names it.
pub const COMPONENTIZE: &str = "componentize-py==0.25.1";

/// An environment with componentize-py, kept from one run of the tests to the next. None on a machine that can't have it,
/// which then says so.
pub fn venv() -> Option<&'static Path> {
    static VENV: LazyLock<Result<PathBuf, String>> =
        LazyLock::new(|| python_environment("python/venv", COMPONENTIZE));
    known("components in Python", &VENV).map(PathBuf::as_path)
}

/// A plugin that `plugin new` has made in `home`, with the environment that is there for all.
///
/// # Panics
/// When there is no room for it.
pub fn new_plugin(home: &Home, name: &str, venv: &Path) {
    run(home, &["plugin", "new", name, "--lang", "python"]).succeeds();
    symlink(venv, home.join(name).join(".venv")).expect("a new plugin has no environment");
}

/// The component of a plugin `name` with these files, made with what `plugin new` makes; kept in the target directory, and
/// made again when one of them or the host has changed.
///
/// # Panics
/// When it can't be built although componentize-py is there.
pub fn component(name: &str, files: &[(&str, &str)]) -> Option<PathBuf> {
    let venv = venv()?;
    let kept = target_directory()
        .join("python")
        .join(name)
        .with_extension("wasm");
    let noted = kept.with_extension("inputs");
    let home = Home::new();
    new_plugin(&home, name, venv);
    let folder = home.join(name);
    for (file, text) in files {
        fs::write(folder.join(file), text).expect("a new plugin has room");
    }
    let inputs = run(&home, &["--version"]).stdout + &inputs(&folder);
    if kept.is_file() && fs::read_to_string(&noted).is_ok_and(|noted| noted == inputs) {
        return Some(kept);
    }
    let built = run(&home, &["plugin", "build", name]).succeeds().json();
    let path = built[0]["path"].as_str().expect("a file was built");
    // Not in place: another process of the tests may have it open.
    let copied = kept.with_extension(format!("{}.tmp", std::process::id()));
    fs::copy(path, &copied)
        .and_then(|_| fs::rename(&copied, &kept))
        .and_then(|()| fs::write(&noted, inputs))
        .expect("the target directory is writable");
    Some(kept)
}

/// The files of a plugin, each with its text.
fn inputs(folder: &Path) -> String {
    let mut folders = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).expect("it is a folder").flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(path),
                Ok(kind) if kind.is_file() => files.push(path),
                _ => {}
            }
        }
    }
    files.sort();
    let texts = files.iter().map(|file| {
        let name = file.strip_prefix(folder).unwrap_or(file).display();
        format!("{name}\n{}\n", fs::read_to_string(file).unwrap_or_default())
    });
    texts.collect()
}
