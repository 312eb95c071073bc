//! The library of a native plugin, ready to be loaded.

use super::{
    Plugin, Unusable,
    discovery::{check_digest, check_enabled, read_descriptor},
    file::PluginFile,
};
use crate::{component::digest::hex, config::Config};
use std::fs::File;

/// The bytes of a native plugin: those that were checked, hashed and compared with the pin. They are a sealed copy in
/// memory, so what is loaded from here is what was hashed, whatever is written to the plugin's file or put in its
/// place meanwhile.
#[derive(Debug)]
pub(crate) struct Library {
    /// The copy.
    pub(crate) file: File,
    /// Its SHA-256, in hex.
    pub(crate) sha256: String,
}

impl Library {
    /// Reads the file of `plugin`, and checks it as it was when it was listed.
    pub(crate) fn read(plugin: &Plugin, config: &Config) -> Result<Self, Unusable> {
        let copy = PluginFile::open(&plugin.path)?.sealed_copy()?;
        // Between listing and now it may have been replaced; what was listed is what runs.
        if read_descriptor(&copy, plugin.carrier)? != plugin.descriptor {
            return Err(Unusable::Changed);
        }
        let name = &plugin.descriptor.name;
        check_enabled(name, config)?;
        let sha256 = hex(&copy.sha256()?);
        if let Some(pinned) = &config.plugin(name).sha256 {
            check_digest(&sha256, pinned)?;
        }
        Ok(Self {
            file: copy.into_file(),
            sha256,
        })
    }
}
