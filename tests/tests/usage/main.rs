//! The host as it is used: at the command line, as a library, and as the README says.

mod bad_input;
mod batch;
mod batch_journal;
mod clients;
mod command_line;
mod crate_graph;
mod dependencies;
mod library;
mod readme;
mod serve;
mod serve_access;
mod serve_changes;
mod serve_follow;
mod serve_killed;
mod serve_many;
mod serve_queue;
mod serve_shutdown;
mod traces;
