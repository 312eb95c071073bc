//! Where a host of this user keeps what has to survive it.

use std::{env, path::PathBuf};

/// The state directory of this user, which need not be there yet; none if neither XDG_STATE_HOME nor HOME is set.
pub fn state_directory() -> Option<PathBuf> {
    let absolute = |name: &str| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_STATE_HOME")
        .or_else(|| Some(absolute("HOME")?.join(".local/state")))
        .map(|base| base.join("executor-runtime"))
}
