//! Write a runtime kind for executor-runtime.
