//! Develop, run and test plugins: shared helpers for end-to-end tests.

pub mod component;
pub mod fixtures;
pub mod server;
