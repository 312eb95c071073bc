//! TLS as host and native plugins have it in common, so that a run fails in the same words on both carriers:
//! which roots are trusted, and why there is no secure connection.

#![deny(missing_docs)]

mod roots;
mod words;

pub use roots::{NoRoots, trusted_roots};
pub use words::{is_about_certificate, words};
