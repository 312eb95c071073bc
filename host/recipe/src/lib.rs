//! Recipes: a file `KIND.kind.toml` that makes a new kind out of an installed one. It is data: nothing of it runs.
//!
//! ```
//! use executor_runtime_recipe::Recipe;
//!
//! let recipe = Recipe::parse(
//!     "ray_job",
//!     r#"
//!     version = "0.1.0"
//!     summary = "Submits a job to a Ray cluster and waits for it"
//!     base = "http_async"
//!
//!     [metadata."ray.server"]
//!     type = "url"
//!     required = true
//!     help = "The dashboard's address, such as http://127.0.0.1:8265"
//!
//!     [set]
//!     "http.url" = "{{ray.server}}/api/jobs/"
//!     "http.poll_run_id_path" = "submission_id"
//!
//!     [set."http.body"]
//!     entrypoint = "{{command}}"
//!     submission_id = "{{invocation_id}}"
//!     runtime_env.env_vars = "{{environment}}"
//!     "#,
//! )?;
//! assert_eq!(recipe.descriptor().kinds[0].as_str(), "ray_job");
//! assert_eq!(recipe.base().as_str(), "http_async");
//! # Ok::<(), executor_runtime_recipe::InvalidRecipe>(())
//! ```
//!
//! A value always stays in its place: it is percent-encoded in a URL, a JSON string or value of its own in JSON, and may
//! have no control characters elsewhere. The host that a URL leads to comes from the recipe itself, or from a metadata key
//! of the type `url`, which is what grants access.

mod document;
mod fill;
mod json;
mod setting;
mod shown;
mod template;
mod url;
mod value;

pub use document::{InvalidRecipe, Recipe};
pub use fill::Unfit;

/// How the name of a recipe's file ends.
pub const FILE_SUFFIX: &str = ".kind.toml";
