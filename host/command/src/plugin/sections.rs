//! The binary format of WebAssembly, as far as the author tools change it: a list of sections, each with a number, a length
//! and a content.

/// The magic number and the version, which no section is part of.
const PREAMBLE_BYTES: usize = 8;

/// Numbers of sections: of both kinds of files, of a component, and of a core module.
const CUSTOM: u8 = 0;
const CORE_MODULE: u8 = 1;
const IMPORTS: u8 = 2;

/// A component with `module` in the place of its first core module; None if it has none.
pub(super) fn with_module(component: &[u8], module: &[u8]) -> Option<Vec<u8>> {
    let (before, _, after) = first_module(component)?;
    let length = leb128(module.len());
    Some([before, &[CORE_MODULE], &length, module, after].concat())
}

/// What comes before the first core module of a component, the module, and what comes after it.
fn first_module(component: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let mut rest = component.get(PREAMBLE_BYTES..)?;
    while let Some((section, after)) = next_section(rest) {
        if section.first() == Some(&CORE_MODULE) {
            let (_, module) = read_leb128(&section[1..])?;
            let before = &component[..component.len() - rest.len()];
            return Some((before, module, after));
        }
        rest = after;
    }
    None
}

/// Module and name of each import of the first core module of a component.
pub(super) fn imports_of_module(component: &[u8]) -> Option<Vec<(String, String)>> {
    imports(first_module(component)?.1)
}

/// Module and name of each import of a core module (WebAssembly core specification, 5.5.5).
pub(super) fn imports(module: &[u8]) -> Option<Vec<(String, String)>> {
    let mut rest = module.get(PREAMBLE_BYTES..)?;
    while let Some((section, after)) = next_section(rest) {
        if section.first() == Some(&IMPORTS) {
            return read_imports(read_leb128(&section[1..])?.1);
        }
        rest = after;
    }
    Some(Vec::new())
}

fn read_imports(content: &[u8]) -> Option<Vec<(String, String)>> {
    let (count, mut rest) = read_leb128(content)?;
    let mut imports = Vec::new();
    for _ in 0..count {
        let (module, after) = read_text(rest)?;
        let (name, after) = read_text(after)?;
        imports.push((module, name));
        rest = match after.split_first()? {
            // A function: the number of its type.
            (0, after) => read_leb128(after)?.1,
            // A table: the type of its elements, and its limits.
            (1, after) => read_limits(after.get(1..)?)?,
            (2, after) => read_limits(after)?,
            // A global variable: its type, and whether it changes.
            (3, after) => after.get(2..)?,
            _ => return None,
        };
    }
    Some(imports)
}

fn read_text(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (length, content) = read_leb128(bytes)?;
    let (text, rest) = content.split_at_checked(length)?;
    Some((String::from_utf8_lossy(text).into_owned(), rest))
}

fn read_limits(bytes: &[u8]) -> Option<&[u8]> {
    let (flags, rest) = bytes.split_first()?;
    let (_, rest) = read_leb128(rest)?;
    match flags & 1 {
        0 => Some(rest),
        _ => Some(read_leb128(rest)?.1),
    }
}

/// A component without its own custom sections of this name: those of the modules in it stay. What is no component is
/// left as it is.
pub(super) fn without_section(component: &[u8], name: &str) -> Vec<u8> {
    let mut kept = Vec::with_capacity(component.len());
    let mut rest = component;
    let preamble = rest
        .split_off(..PREAMBLE_BYTES.min(rest.len()))
        .unwrap_or_default();
    kept.extend(preamble);
    while let Some((section, after)) = next_section(rest) {
        if section_name(section) != Some(name.as_bytes()) {
            kept.extend(section);
        }
        rest = after;
    }
    kept.extend(rest);
    kept
}

/// The first section, and what comes after it; None at the end, or if it is damaged.
fn next_section(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, content) = read_leb128(bytes.get(1..)?)?;
    let header = bytes.len() - content.len();
    bytes.split_at_checked(header.checked_add(length)?)
}

/// The name of a custom section.
fn section_name(section: &[u8]) -> Option<&[u8]> {
    let (CUSTOM, rest) = section.split_first().map(|(id, rest)| (*id, rest))? else {
        return None;
    };
    let (_, content) = read_leb128(rest)?;
    let (length, name) = read_leb128(content)?;
    name.get(..length)
}

/// A section as the binary format has it (WebAssembly core specification, 5.5.3): id 0, the length of what
/// follows, the length of the name, the name, the content.
pub(super) fn custom_section(name: &str, content: &[u8]) -> Vec<u8> {
    let mut body = leb128(name.len());
    body.extend(name.as_bytes());
    body.extend(content);
    let mut section = vec![CUSTOM];
    section.extend(leb128(body.len()));
    section.extend(body);
    section
}

/// An unsigned integer in LEB128.
fn leb128(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// An unsigned integer in LEB128 of 32 bits at most, and what comes after it.
fn read_leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate().take(5) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, &bytes[index + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_taken_out_wherever_it_stands_and_nothing_else() {
        let preamble = b"\0asm\x0d\0\x01\0";
        let (mine, other) = (
            custom_section("mine", &[7; 300]),
            custom_section("other", b"mine"),
        );
        // A core module with a section of that name in it.
        let module = [&[1, 16][..], b"\0asm\x01\0\0\0", &custom_section("mine", b"x")].concat();
        let with = [preamble, &mine[..], &other, &mine, &module, &mine].concat();
        assert_eq!(
            without_section(&with, "mine"),
            [preamble, &other[..], &module].concat()
        );
        for damaged in [
            &b""[..],
            b"\0asm",
            &with[..with.len() - 1],
            b"\0asm\x0d\0\x01\0\0\xff\xff\xff\xff\xff",
        ] {
            let left = without_section(damaged, "none");
            assert_eq!(left, damaged);
        }
    }

    #[test]
    fn a_module_is_put_in_the_place_of_another() {
        let preamble = b"\0asm\x0d\0\x01\0";
        let import = [
            &b"\x04wasi\x03now\0\x05"[..],
            b"\x03env\x06memory\x02\x01\x01\x80\x02",
        ]
        .concat();
        let length = u8::try_from(import.len() + 1).unwrap();
        let imports_section = [&[IMPORTS, length, 2][..], &import].concat();
        let module = [
            &b"\0asm\x01\0\0\0"[..],
            &custom_section("x", b"y"),
            &imports_section,
        ]
        .concat();
        let other = custom_section("other", &[7; 300]);
        let empty = b"\0asm\x01\0\0\0";
        let around = [&preamble[..], &other, &[CORE_MODULE, 8], empty, &other].concat();
        let component = with_module(&around, &module).unwrap();
        let names = [("wasi", "now"), ("env", "memory")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(imports(&module).unwrap(), names);
        assert_eq!(imports_of_module(&component).unwrap(), names);
        assert_eq!(imports_of_module(&around).unwrap(), []);
        assert!(with_module(&component, empty).unwrap() == around);
        assert_eq!(with_module(&preamble[..], empty), None);
    }
}
