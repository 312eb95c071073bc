//! The `executor-runtime` command.
fn main() {}
