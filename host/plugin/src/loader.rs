//! The seam to the carriers: what makes a plugin file run.

use crate::{Carrier, Plugin, Unusable};
use executor_runtime_config::PluginConfig;
use executor_runtime_run::Runner;
use std::sync::Arc;

/// Makes the runners of the plugins of one carrier.
pub trait Loader: Send + Sync + 'static {
    /// Which plugins it is for.
    fn carrier(&self) -> Carrier;

    /// What runs the kinds of `plugin`. Nothing of it is loaded yet.
    fn runner(&self, plugin: &Arc<Plugin>, config: &Arc<PluginConfig>) -> Arc<dyn Runner>;

    /// Does what makes later runs start faster, such as compiling the plugin into a cache. Blocks.
    ///
    /// # Errors
    /// When the plugin does not load.
    fn prepare(&self, plugin: &Plugin, config: &PluginConfig) -> Result<(), Unusable> {
        let _ = (plugin, config);
        Ok(())
    }
}
