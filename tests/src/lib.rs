//! Develop, run and test plugins: shared helpers for end-to-end tests.
