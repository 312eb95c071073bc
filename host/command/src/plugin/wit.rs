//! `plugin wit`: the interface that a component is built for, as files for another language's tools.

use super::sdk::Carried;
use crate::Executable;
use anyhow::Result;
use std::path::Path;

pub(super) fn wit(directory: &Path, executable: Executable) -> Result<()> {
    let count = Carried::by(executable)?.write_wit(directory)?;
    let shown = directory.display();
    say!("wrote {count} files to '{shown}': the world is `runner`, in the package executor-runtime:plugin");
    say!("build a component for it, then run `executor-runtime plugin embed COMPONENT PLUGIN.JSON`");
    Ok(())
}
