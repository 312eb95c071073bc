//! Loading a plugin's library: the one place where its code comes into a process.

use executor_runtime_protocol::native::{
    PluginRef,
    abi_stable::library::{LibraryError, lib_header_from_path},
};
use std::{panic::catch_unwind, path::Path};

/// Loads the library and checks that its root module has the layout that this host was built with.
///
/// By the header, not by `RootModule::load_from_file`, which keeps the first library of a process for all.
/// The library's constructors run in here.
pub(super) fn load(path: &Path) -> Result<PluginRef, String> {
    let loaded = catch_unwind(|| {
        let header = lib_header_from_path(path)?;
        header.init_root_module::<PluginRef>()
    });
    match loaded {
        Ok(Ok(plugin)) => Ok(plugin),
        Ok(Err(error)) => Err(words(&error)),
        Err(_) => Err("it panicked while it was loaded".to_owned()),
    }
}

fn words(error: &LibraryError) -> String {
    match error {
        LibraryError::OpenError { err, .. } => format!("the system can't load it: {err}"),
        LibraryError::GetSymbolError { .. } => {
            "it exports no plugin; export one with the SDK's export_runner!".to_owned()
        }
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
        LibraryError::AbiInstability(_) => {
            "its interface has a different layout than the host's; build it with the SDK of this host".to_owned()
        }
        LibraryError::RootModule { .. } => "its root module could not be created: it panicked".to_owned(),
        other => other.to_string(),
    }
}
