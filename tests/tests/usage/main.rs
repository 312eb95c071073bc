//! The host as it is used: at the command line, as a library, and as the README says.

mod bad_input;
mod batch;
mod command_line;
mod crate_graph;
mod library;
mod readme;
mod serve;
