//! Gives the library an entry point: see `src/entry.rs`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-cdylib=-Wl,-e,executor_runtime_container_entry");
}
