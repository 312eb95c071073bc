//! Loading a plugin's library: the one place where its code comes into a process.

use executor_runtime_plugin::Unusable;
use executor_runtime_protocol::native::{
    PluginRef,
    abi_stable::library::{AbiHeaderRef, LibHeader, LibraryError, ROOT_MODULE_LOADER_NAME_WITH_NUL},
    is_later, offers,
};
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use std::{error::Error, mem::ManuallyDrop, panic::catch_unwind, path::Path};

/// Loads the library and checks that this host offers all that its root module was built with.
///
/// By the header, not by `RootModule::load_from_file`, which keeps the first library of a process for all.
/// The library's constructors run in here.
pub(super) fn load(path: &Path) -> Result<PluginRef, String> {
    let loaded = catch_unwind(|| {
        let header = header(path)?;
        // Every 1.x has what 1.0 had.
        if !header.layout().is_some_and(offers) {
            return Err(match header.layout().is_some_and(is_later) {
                true => {
                    "it was built with a newer SDK than this host has; build it with the SDK of this host"
                        .to_owned()
                }
                false => format!("it {}", Unusable::PreRelease),
            });
        }
        // SAFETY: the layout is checked.
        let module = unsafe { header.init_root_module_with_unchecked_layout::<PluginRef>() };
        module.map_err(|error| words(&error))
    });
    loaded.unwrap_or_else(|_| Err("it panicked while it was loaded".to_owned()))
}

/// The header that `export_runner!` puts into a library.
fn header(path: &Path) -> Result<&'static LibHeader, String> {
    // SAFETY: what the library's constructors do is the library's business: this process is for nothing else.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }
        .map_err(|error| format!("the system can't load it: {}", reason(&error)))?;
    // It stays loaded as long as the process lives.
    let library = ManuallyDrop::new(library);
    // SAFETY: the symbol is a pointer to the header, which says itself which version of it this is.
    let found = unsafe { library.get::<AbiHeaderRef>(ROOT_MODULE_LOADER_NAME_WITH_NUL.as_bytes()) }
        .map_err(|_| "it exports no plugin; export one with the SDK's export_runner!".to_owned())?;
    (*found).upgrade().map_err(|error| words(&error))
}

/// What the system said, which is below what libloading says.
fn reason(error: &libloading::Error) -> String {
    match error.source() {
        Some(source) => source.to_string(),
        None => error.to_string(),
    }
}

fn words(error: &LibraryError) -> String {
    match error {
        LibraryError::InvalidAbiHeader(_) | LibraryError::InvalidCAbi { .. } => {
            "it was built with a different version of abi_stable than the host; build it with the SDK of this host"
                .to_owned()
        }
        LibraryError::IncompatibleVersionNumber {
            expected_version,
            actual_version,
            ..
        } => format!(
            "its native interface is version {actual_version}, the host's {expected_version}; build it with the SDK \
             of this host"
        ),
        LibraryError::RootModule { .. } => "its root module could not be created: it panicked".to_owned(),
        other => other.to_string(),
    }
}
