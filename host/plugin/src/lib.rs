//! Plugin files: found in directories, described without running them, loaded when an invocation needs them.
//!
//! - [`search_path`] says which directories count;
//! - [`discover`] reads what is in them. It opens each file, looks at who could have written it, and reads the
//!   descriptor from a section of it. No code of a plugin runs, nothing is loaded into the process, and nothing
//!   but headers and that section is read, so that fifty plugins of any size cost a millisecond;
//! - [`PluginSet`] is what the runtime asks for the runner of a kind.
//!
//! A file that can't be used is listed with its reason ([`Unusable`]) and does not affect the others.

mod admission;
mod binary;
mod component;
mod configured_names;
mod digest;
mod discovery;
mod file;
mod identity;
mod library;
mod limits;
mod loader;
mod recipe;
mod search_path;
pub mod session;
mod set;
mod snapshot;
mod unusable;

pub use admission::{Admission, admit};
pub use component::ComponentSource;
pub use digest::hex;
pub use discovery::{Carrier, Found, Plugin, State, check_digest, discover, inspect};
pub use executor_runtime_config::trust::check_directory;
pub use identity::Identity;
pub use library::Library;
pub use limits::Limits;
pub use loader::Loader;
pub use recipe::{MadeOf, RecipeFile};
pub use search_path::{DIRECTORY_VARIABLE, directory_of_variable, search_path, users_directory};
pub use set::PluginSet;
pub use snapshot::Snapshot;
pub use unusable::Unusable;
