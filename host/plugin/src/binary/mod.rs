//! Reading a plugin's descriptor from its file, without running it.
//!
//! Both formats are read by their headers, with a bounded number of small reads, so that a file of any size and
//! any content is refused quickly. Neither parser trusts a length that it has not compared with the file.

pub(super) mod elf;
mod reader;
pub(super) mod wasm;
