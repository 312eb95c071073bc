//! The receipt: what a result's `metadata` tells about the run, for machines.
//!
//! [`KEYS`] is the only place that documents a key; `host/ORCHESTRATORS.md` and tests read it. A plugin may add keys of its
//! own under a prefix that no row here claims.

use std::{collections::BTreeMap, time::Duration};

/// How a receipt writes a duration: seconds with microseconds.
pub fn seconds(duration: Duration) -> String {
    format!("{:.6}", duration.as_secs_f64())
}

/// A string map that becomes the result's `metadata`.
pub type Receipt = BTreeMap<String, String>;

macro_rules! receipt_keys {
    ($( $(#[doc = $doc:literal])+ $name:ident = $key:literal; )+) => {
        $( $(#[doc = $doc])+ pub const $name: &str = $key; )+

        /// Every key that the host itself writes, with its meaning.
        pub const KEYS: &[(&str, &str)] = &[ $( ($key, concat!($($doc),+)), )+ ];
    };
}

receipt_keys! {
    /// Why the status is not `succeeded`: a stable code. Present exactly then.
    ERROR_KIND = "error.kind";
    /// `true` if trying the same invocation again may help, `false` if not. Present wherever `error.kind` is.
    ERROR_TRANSIENT = "error.transient";
    /// Peak resident memory of the largest process of the run, in bytes.
    USAGE_MAX_RSS_BYTES = "usage.max_rss_bytes";
    /// CPU time in user mode of all processes of the run, in seconds.
    USAGE_USER_SECONDS = "usage.user_seconds";
    /// CPU time in the kernel of all processes of the run, in seconds.
    USAGE_SYSTEM_SECONDS = "usage.system_seconds";
    /// Time from `started_at` to `finished_at`, in seconds; compiling or loading a plugin included.
    USAGE_WALL_SECONDS = "usage.wall_seconds";
    /// How many processes outlived the main process and had to be ended.
    LEAKED_DESCENDANTS = "leaked_descendants";
    /// How many processes could not be ended, because they are stuck in the kernel.
    UNKILLABLE_DESCENDANTS = "unkillable_descendants";
    /// `true` if the main process dumped core.
    CORE_DUMPED = "core_dumped";
    /// `true` if stdout was longer than its cap and only its beginning was kept.
    STDOUT_TRUNCATED = "stdout_truncated";
    /// `true` if stderr was longer than its cap and only its beginning was kept.
    STDERR_TRUNCATED = "stderr_truncated";
    /// Why not all of stdout could be kept, such as `no space left on device`; without `stdout_path`, none of it was.
    STDOUT_ERROR = "stdout_error";
    /// Why not all of stderr could be kept; without `stderr_path`, none of it was.
    STDERR_ERROR = "stderr_error";
    /// How many files that the run left are not in `artifacts`: over the number allowed, not regular files, or moved or removed since.
    ARTIFACTS_OMITTED = "artifacts_omitted";
    /// How many files in `artifacts` have no `sha256`, because the deadline passed or the run was cancelled.
    ARTIFACTS_UNDIGESTED = "artifacts_undigested";
    /// Why the result could not be written to `output_result_path`. Only in what is returned and printed.
    RESULT_FILE_ERROR = "result_file_error";
    /// Name of the plugin that ran the invocation.
    PLUGIN_NAME = "plugin.name";
    /// Version of that plugin.
    PLUGIN_VERSION = "plugin.version";
    /// SHA-256 of its file, in hex.
    PLUGIN_SHA256 = "plugin.sha256";
    /// What it is: `component` or `native`.
    PLUGIN_CARRIER = "plugin.carrier";
    /// The last progress that the plugin reported, such as `0.5 halfway`.
    PLUGIN_PROGRESS = "plugin.progress";
    /// How many log lines of the plugin were dropped because it flooded the log.
    PLUGIN_LOG_DROPPED = "plugin.log_dropped";
    /// Name of the recipe that made the plugin's invocation of the caller's, if one did.
    PLUGIN_RECIPE = "plugin.recipe";
    /// Version of that recipe.
    PLUGIN_RECIPE_VERSION = "plugin.recipe_version";
    /// SHA-256 of the recipe's file, in hex.
    PLUGIN_RECIPE_SHA256 = "plugin.recipe_sha256";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_unique() {
        let unique: std::collections::BTreeSet<_> = KEYS.iter().map(|(key, _)| key).collect();
        assert_eq!(unique.len(), KEYS.len());
    }
}
