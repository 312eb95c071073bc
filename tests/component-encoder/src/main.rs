//! `component-encoder CORE COMPONENT`: makes a component of a core module, as the linker of the target
//! `wasm32-wasip2` does.

use anyhow::{Context, Result, bail};
use std::{env, fs};
use wit_component::ComponentEncoder;

fn main() -> Result<()> {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let [core, component] = &arguments[..] else {
        bail!("usage: component-encoder CORE COMPONENT");
    };
    let module = fs::read(core).with_context(|| format!("{core:?} can't be read"))?;
    let encoded = ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(|mut encoder| encoder.encode())
        .with_context(|| format!("{core:?} can't be created a component"))?;
    fs::write(component, encoded).with_context(|| format!("{component:?} can't be written"))
}
