//! The file of a plugin that is a component, ready to be loaded.

use crate::{Plugin, Unusable, discovery::read_plugin, file::PluginFile};
use std::fs::File;

/// The open file of a plugin that is a component, as it was when it was listed.
#[derive(Debug)]
pub struct ComponentSource(PluginFile);

impl ComponentSource {
    /// Opens the file of `plugin`, and checks it as it was when it was listed. Blocks.
    ///
    /// # Errors
    /// When the file can't be read, or has changed since.
    pub fn open(plugin: &Plugin) -> Result<Self, Unusable> {
        // Between listing and now it may have been replaced; what was listed is what runs.
        let (now, file) = read_plugin(&plugin.path, plugin.carrier)?;
        if now != *plugin {
            return Err(Unusable::Changed);
        }
        Ok(Self(file))
    }

    /// The file itself.
    pub fn file(&self) -> &File {
        self.0.file()
    }

    /// Its SHA-256. The file is not held in memory for it. Blocks.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn sha256(&self) -> Result<[u8; 32], Unusable> {
        self.0.sha256()
    }

    /// Its bytes. Blocks.
    ///
    /// # Errors
    /// When it can't be read, or is longer than what is loaded.
    pub fn read(&self) -> Result<Vec<u8>, Unusable> {
        self.0.read_all()
    }
}
