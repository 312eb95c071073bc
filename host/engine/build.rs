//! Links the executable so that it is small, and packs what it carries for authors of plugins.

#[path = "../command/link.rs"]
mod link;
mod pack;
mod wrapper;

use std::{env, io, path::Path};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=pack.rs");
    println!("cargo::rerun-if-changed=wrapper.rs");
    println!("cargo::rerun-if-changed=../command/link.rs");
    link::arguments();
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    pack::pack(Path::new("../.."), &Path::new(&out).join("sdk.zlib"))
}
