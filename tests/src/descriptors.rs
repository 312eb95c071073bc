//! Components with other descriptors than their own.

use crate::fixtures;
use executor_runtime_protocol::COMPONENT_SECTION;
use std::fs;

/// The fixture that behaves as it is told, with the text of a descriptor before its own.
///
/// # Panics
/// When it can't be built.
pub fn behaviours_with(descriptor: &str) -> Vec<u8> {
    let mut section = leb(COMPONENT_SECTION.len());
    section.extend(COMPONENT_SECTION.as_bytes());
    section.extend(descriptor.as_bytes());
    let component = fs::read(fixtures::component("fixture-behaviours")).expect("it was built");
    let mut bytes = component[..8].to_vec();
    bytes.push(0);
    bytes.extend(leb(section.len()));
    bytes.extend(section);
    bytes.extend(&component[8..]);
    bytes
}

fn leb(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        bytes.push(if value == 0 { byte } else { byte | 0x80 });
        if value == 0 {
            return bytes;
        }
    }
}
