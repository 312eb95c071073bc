//! Reads what the headers of the WebAssembly binary format are made of: numbers, strings, and the names of a component's
//! imports and exports. The format is that of the component model's `Binary.md`; a test holds it against `wasmparser`,
//! which is part of the engine and takes longer to compile than all that reads plugin files.

use std::str;

/// What is wrong with the bytes, as words that go after "it is damaged:".
pub(super) type Malformed = &'static str;

const TRUNCATED: Malformed = "a header ends too early";

/// Reads bytes from the beginning to the end.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// How many bytes were read.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        let byte = *self.bytes.get(self.position).ok_or(TRUNCATED)?;
        self.position += 1;
        Ok(byte)
    }

    /// A number in LEB128.
    pub(super) fn number(&mut self) -> Result<u32, Malformed> {
        let mut number = 0;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            if shift == 28 && byte > 0x0f {
                break;
            }
            number |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err("a number has more than 32 bits")
    }

    /// Text, after its length.
    pub(super) fn string(&mut self) -> Result<&'a str, Malformed> {
        let length = self.number()? as usize;
        let rest = &self.bytes[self.position..];
        let text = rest.get(..length).ok_or(TRUNCATED)?;
        let text = str::from_utf8(text).map_err(|_| "a name is not UTF-8")?;
        self.position += length;
        Ok(text)
    }

    /// The names of an import section.
    pub(super) fn imports(self) -> Result<Vec<String>, Malformed> {
        self.names(Self::external_type)
    }

    /// The names of an export section.
    pub(super) fn exports(self) -> Result<Vec<String>, Malformed> {
        self.names(|reader| {
            reader.kind()?;
            reader.number()?;
            match reader.byte()? {
                0x00 => Ok(()),
                0x01 => reader.external_type(),
                _ => Err("an export has an unknown form"),
            }
        })
    }

    /// The names of all entries; `rest` reads what comes after each.
    fn names(mut self, rest: impl Fn(&mut Self) -> Result<(), Malformed>) -> Result<Vec<String>, Malformed> {
        let mut names = Vec::new();
        for _ in 0..self.number()? {
            // Once 1 stood for the name of an interface, which its spelling tells.
            if self.byte()? > 0x01 {
                return Err("a name has an unknown form");
            }
            names.push(self.string()?.to_owned());
            rest(&mut self)?;
        }
        match self.position == self.bytes.len() {
            true => Ok(names),
            false => Err("a section is longer than what is in it"),
        }
    }

    /// What sort of thing an import or export is, as its number.
    fn kind(&mut self) -> Result<u8, Malformed> {
        match (self.byte()?, self.bytes.get(self.position)) {
            (0x00, Some(0x11)) => {
                self.position += 1;
                Ok(0x00)
            }
            (kind @ 0x01..=0x05, _) => Ok(kind),
            _ => Err("an import or export is of an unknown sort"),
        }
    }

    fn external_type(&mut self) -> Result<(), Malformed> {
        match self.kind()? {
            0x02 => self.value_type(),
            0x03 => match self.byte()? {
                0x00 => self.number().map(drop),
                0x01 => Ok(()),
                _ => Err("a type has an unknown bound"),
            },
            _ => self.number().map(drop),
        }
    }

    /// A primitive type, which is a byte without a successor, or the number of a type, which has 33 bits and a sign.
    fn value_type(&mut self) -> Result<(), Malformed> {
        for _ in 0..4 {
            if self.byte()? & 0x80 == 0 {
                return Ok(());
            }
        }
        match self.byte()? {
            0x00..=0x0f | 0x70..=0x7f => Ok(()),
            _ => Err("a value has an unknown type"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmparser::{BinaryReader, ComponentExportSectionReader, ComponentImportSectionReader};

    /// An import section with all that can be imported.
    const IMPORTS: &[u8] = b"\x08\
        \x00\x01a\x00\x11\x05\
        \x01\x01b\x01\x80\x01\
        \x00\x01c\x02\x7f\
        \x00\x01d\x02\x85\x01\
        \x00\x01e\x03\x00\x02\
        \x00\x01f\x03\x01\
        \x00\x01g\x04\x03\
        \x00\x12wasi:io/poll@0.2.0\x05\x04";
    const EXPORTS: &[u8] = b"\x03\
        \x00\x03run\x01\x00\x00\
        \x00\x01m\x00\x11\x01\x00\
        \x00\x05a:b/c\x05\x02\x01\x05\x81\x00";

    fn reference(bytes: &[u8], is_import: bool) -> Option<Vec<String>> {
        let reader = BinaryReader::new(bytes, 0);
        let own = |name: &str| name.to_owned();
        if is_import {
            let imports = ComponentImportSectionReader::new(reader).ok()?;
            let names = imports.into_iter();
            names.map(|import| Some(own(import.ok()?.name.name))).collect()
        } else {
            let exports = ComponentExportSectionReader::new(reader).ok()?;
            let names = exports.into_iter();
            names.map(|export| Some(own(export.ok()?.name.name))).collect()
        }
    }

    fn names(bytes: &[u8], is_import: bool) -> Option<Vec<String>> {
        let reader = Reader::new(bytes);
        if is_import {
            reader.imports().ok()
        } else {
            reader.exports().ok()
        }
    }

    #[test]
    fn names_are_what_the_parser_of_the_engine_reads() {
        for (bytes, is_import, count) in [(IMPORTS, true, 8), (EXPORTS, false, 3)] {
            let all = names(bytes, is_import).unwrap();
            assert_eq!(all.len(), count);
            assert_eq!(Some(all), reference(bytes, is_import));
            for length in 0..bytes.len() {
                assert_eq!(names(&bytes[..length], is_import), None, "{length}");
            }
            // With any byte another one.
            for at in 0..bytes.len() {
                for byte in 0..=u8::MAX {
                    let mut bytes = bytes.to_vec();
                    bytes[at] = byte;
                    let (read, expected) = (names(&bytes, is_import), reference(&bytes, is_import));
                    assert_eq!(read, expected, "{at}: {byte:#x}");
                }
            }
        }
    }

    #[test]
    fn numbers_have_32_bits() {
        let read = |bytes: &[u8]| Reader::new(bytes).number().ok();
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Some(u32::MAX));
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0x1f]), None);
        assert_eq!(read(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00]), None);
        assert_eq!(read(&[0x80, 0x00]), Some(0));
        assert_eq!(read(&[0x80]), None);
    }
}
