//! Recipes as plugins: a kind that another plugin runs.

use crate::{Plugin, Unusable, admission, digest::hex, file::PluginFile};
use executor_runtime_config::PluginConfig;
use executor_runtime_protocol::{RuntimeInvocation, RuntimeKind};
use executor_runtime_recipe::{FILE_SUFFIX, InvalidRecipe, Recipe};
use executor_runtime_run::{
    Failure, Outcome, Run, RunFuture, RunPermissions, Runner,
    receipt::{PLUGIN_RECIPE, PLUGIN_RECIPE_SHA256, PLUGIN_RECIPE_VERSION},
};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, path::Path, sync::Arc};

/// The longest recipe, in bytes.
const MAX_BYTES: u64 = 256 << 10;

/// A recipe, and which file it was read from.
#[derive(Clone, Debug, PartialEq)]
pub struct RecipeFile {
    pub(crate) recipe: Recipe,
    /// SHA-256 of what was read, in hex.
    pub(crate) sha256: String,
}

impl RecipeFile {
    /// Whether a file of this name is a recipe.
    pub(crate) fn is_name(path: &Path) -> bool {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.ends_with(FILE_SUFFIX))
    }

    pub(crate) fn read(path: &Path, file: &PluginFile) -> Result<Self, Unusable> {
        if file.length() > MAX_BYTES {
            return Err(Unusable::Recipe(format!("it is longer than {MAX_BYTES} bytes")));
        }
        let bytes = file.read_all()?;
        let text =
            std::str::from_utf8(&bytes).map_err(|_| Unusable::Recipe("it is not UTF-8 text".to_owned()))?;
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let kind = name.strip_suffix(FILE_SUFFIX).unwrap_or(name);
        Ok(Self {
            recipe: Recipe::parse(kind, text)?,
            sha256: hex(&Sha256::digest(&bytes)),
        })
    }

    /// The kind that does the work.
    pub fn base(&self) -> &RuntimeKind {
        self.recipe.base()
    }

    /// What is wrong with the configuration of a recipe. What a run may use and reach is its base's.
    pub(crate) fn config_problem(&self, config: &PluginConfig) -> Option<String> {
        let plain = PluginConfig {
            enabled: config.enabled,
            sha256: config.sha256.clone(),
            ..PluginConfig::default()
        };
        (*config != plain).then(|| {
            format!(
                "[plugins.{}] in the configuration can have only enabled and sha256, because it is a recipe: what its runs may \
                 use is configured for the plugin of its base, the kind {}",
                self.recipe.descriptor().name,
                self.base()
            )
        })
    }
}

impl From<InvalidRecipe> for Unusable {
    fn from(invalid: InvalidRecipe) -> Self {
        Self::Recipe(invalid.to_string())
    }
}

/// Whether this plugin can be the base of a recipe.
pub(crate) fn check_base(file: &RecipeFile, base: &Plugin) -> Result<(), Unusable> {
    if base.recipe.is_some() {
        return Err(Unusable::Recipe(format!(
            "its base '{}' is a recipe too; name the kind that runs it",
            file.base()
        )));
    }
    Ok(file.recipe.check_base(&base.descriptor)?)
}

/// What a recipe makes of an invocation.
#[derive(Clone, Debug, PartialEq)]
pub struct MadeOf {
    /// The kind that does the work.
    pub kind: RuntimeKind,
    /// Its plugin.
    pub plugin: Arc<Plugin>,
    /// The keys that the recipe sets for this invocation, each with its template: no value of the invocation is in it.
    pub templates: BTreeMap<String, String>,
    /// The metadata that the base would be given, without what may be secret; none if the invocation does not fit.
    pub metadata: Option<BTreeMap<String, String>>,
}

impl MadeOf {
    pub(crate) fn new(file: &RecipeFile, base: &Arc<Plugin>, invocation: &RuntimeInvocation) -> Self {
        let recipe = &file.recipe;
        let mut templates: BTreeMap<_, _> = recipe
            .templates()
            .map(|(key, template)| (key.to_owned(), template))
            .collect();
        let metadata = shown(recipe, base, invocation).ok();
        // Of an invocation that does not fit it is not known what would be left out.
        if let Some(given) = &metadata {
            templates.retain(|key, _| given.contains_key(key));
        }
        Self {
            kind: file.base().clone(),
            plugin: Arc::clone(base),
            templates,
            metadata,
        }
    }
}

/// What the base is given.
fn filled(
    recipe: &Recipe,
    base: &Plugin,
    invocation: &RuntimeInvocation,
) -> Result<RuntimeInvocation, Failure> {
    let metadata = admission::checked(recipe.descriptor(), &invocation.metadata)?;
    recipe
        .fill(&base.descriptor, invocation, &metadata)
        .map_err(|unfit| admission::invalid(unfit.to_string()))
}

/// The metadata that the base is given, without what may be secret.
fn shown(
    recipe: &Recipe,
    base: &Plugin,
    invocation: &RuntimeInvocation,
) -> Result<BTreeMap<String, String>, Failure> {
    let metadata = admission::checked(recipe.descriptor(), &invocation.metadata)?;
    recipe
        .filled(&base.descriptor, invocation, &metadata)
        .map_err(|unfit| admission::invalid(unfit.to_string()))
}

/// Runs a recipe's kind as its base.
pub(crate) struct RecipeRunner {
    pub(crate) file: Arc<RecipeFile>,
    pub(crate) base: Arc<Plugin>,
    pub(crate) runner: Arc<dyn Runner>,
}

impl RecipeRunner {
    fn invocation(&self, invocation: &RuntimeInvocation) -> Result<RuntimeInvocation, Failure> {
        filled(&self.file.recipe, &self.base, invocation)
    }

    async fn execute(&self, run: &Run) -> Outcome {
        let invocation = match self.invocation(&run.invocation) {
            Ok(invocation) => invocation,
            Err(failure) => return failure.into(),
        };
        let mut outcome = self.runner.run(&run.as_another(invocation)).await;
        let descriptor = self.file.recipe.descriptor();
        outcome.receipt.extend([
            (PLUGIN_RECIPE.to_owned(), descriptor.name.clone()),
            (PLUGIN_RECIPE_VERSION.to_owned(), descriptor.version.to_string()),
            (PLUGIN_RECIPE_SHA256.to_owned(), self.file.sha256.clone()),
        ]);
        outcome
    }
}

impl Runner for RecipeRunner {
    fn run<'a>(&'a self, run: &'a Run) -> RunFuture<'a> {
        Box::pin(self.execute(run))
    }

    fn terms(&self, invocation: &RuntimeInvocation) -> Result<RunPermissions, Failure> {
        self.runner.terms(&self.invocation(invocation)?)
    }
}
