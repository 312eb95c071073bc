//! The fixture guests: a test asks for one by name and gets its file, built first if it is out of date.

use guest_build::{OutOfReach, Toolchain};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{LazyLock, Mutex, PoisonError},
};

/// The component of the fixture package `name`, such as `fixture-behaviours`.
///
/// # Panics
/// When it can't be built: there is nothing to test then.
pub fn component(name: &str) -> PathBuf {
    static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    once(&BUILT, name, guest_build::component)
}

/// The same, built with Debian's toolchain. None on a machine that can't have it, which then says so.
///
/// # Panics
/// When it can't be built although Debian's packages can be had.
pub fn component_of_debian(name: &str) -> Option<PathBuf> {
    static TOOLCHAIN: LazyLock<Option<Toolchain>> = LazyLock::new(|| match Toolchain::debian() {
        Ok(toolchain) => Some(toolchain),
        Err(error) if error.is::<OutOfReach>() => {
            crate::not_tested(
                "components that are built with Debian's toolchain",
                format!("{error:#}"),
            );
            None
        }
        Err(error) => panic!("{error:#}"),
    });
    static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let toolchain = TOOLCHAIN.as_ref()?;
    Some(once(&BUILT, name, |name| {
        guest_build::component_with(name, toolchain)
    }))
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
