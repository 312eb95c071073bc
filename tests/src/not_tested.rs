//! What a machine can't test.

use std::io::{self, Write};

/// Says what was not tested here, and why. Written past the test harness, which shows nothing of a test that
/// passes.
pub fn not_tested(what: &str, why: impl std::fmt::Display) {
    // Without a stderr it can't be reported.
    let _ = writeln!(io::stderr(), "NOT TESTED: {what}, because {why}");
}
