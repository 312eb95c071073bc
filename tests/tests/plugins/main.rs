//! Plugins of any kind, on both carriers: how they are made, found, loaded and confined.

mod author_tools;
mod c;
mod c_sdk;
mod carriers;
mod checkpoints;
mod component_bounds;
mod component_egress;
mod frozen_interface;
mod guarded_names;
mod guest_languages;
mod guest_toolchains;
mod javascript;
mod languages;
mod native_hostile;
mod native_idle;
mod native_loading;
mod plugin_discovery;
mod plugin_files;
mod python;
mod resumable_artifacts;
mod stuck_hosts;
