//! Links the executable so that it is small.

#[path = "../command/link.rs"]
mod link;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../command/link.rs");
    link::arguments();
}
