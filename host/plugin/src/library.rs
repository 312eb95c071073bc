//! The library of a native plugin, ready to be loaded.

use crate::{
    Plugin, Unusable,
    digest::hex,
    discovery::{check_digest, check_enabled, read_descriptor},
    file::PluginFile,
};
use executor_runtime_config::PluginConfig;
use std::fs::File;

/// The bytes of a native plugin: those that were checked, hashed and compared with the pin. They are a sealed copy in
/// memory, so what is loaded from here is what was hashed, whatever is written to the plugin's file or put in its
/// place meanwhile.
#[derive(Debug)]
pub struct Library {
    /// The copy.
    pub file: File,
    /// Its SHA-256, in hex.
    pub sha256: String,
}

impl Library {
    /// Reads the file of `plugin`, and checks it as it was when it was listed. Blocks.
    ///
    /// # Errors
    /// When it has changed since, or the configuration has something against it.
    pub fn read(plugin: &Plugin, config: &PluginConfig) -> Result<Self, Unusable> {
        let copy = PluginFile::open(&plugin.path)?.sealed_copy()?;
        // Between listing and now it may have been replaced; what was listed is what runs.
        if read_descriptor(&plugin.path, &copy, plugin.carrier)? != plugin.descriptor {
            return Err(Unusable::Changed);
        }
        let name = &plugin.descriptor.name;
        check_enabled(name, config)?;
        let sha256 = hex(&copy.sha256()?);
        if let Some(pinned) = &config.sha256 {
            check_digest(&sha256, pinned)?;
        }
        Ok(Self {
            file: copy.into_file(),
            sha256,
        })
    }
}
