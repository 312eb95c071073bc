//! The kind `subprocess`, and the promises about its processes: how they start, what they are given, how they end, and
//! that none is left.

mod artifacts;
mod capture_directory;
mod descendants;
mod endings;
mod exec_failures;
mod host_killed;
mod input;
mod limits;
mod output;
mod signals_to_the_host;
mod start_of_a_program;
mod supervisor_attacks;
mod text_file_busy;
mod timeouts;
