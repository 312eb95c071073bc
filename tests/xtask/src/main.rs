//! Builds, demonstrates and tests executor-runtime.
fn main() {}
