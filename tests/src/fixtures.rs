//! The fixture guests: a test asks for one by name and gets its file, built first if it is out of date.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

/// The component of the fixture package `name`, such as `fixture-behaviours`.
///
/// # Panics
/// When it can't be built: there is nothing to test then.
pub fn component(name: &str) -> PathBuf {
    static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    once(&BUILT, name, guest_build::component)
}

/// The native plugin of the package `name`.
///
/// # Panics
/// When it can't be built: there is nothing to test then.
pub fn native(name: &str) -> PathBuf {
    static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    once(&BUILT, name, guest_build::native)
}

fn once(
    built: &Mutex<BTreeMap<String, PathBuf>>,
    name: &str,
    build: impl FnOnce(&str) -> anyhow::Result<PathBuf>,
) -> PathBuf {
    let mut built = built.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = built.get(name) {
        return path.clone();
    }
    let path = build(name).unwrap_or_else(|error| panic!("{name} could not be built: {error:#}"));
    built.insert(name.to_owned(), path.clone());
    path
}
