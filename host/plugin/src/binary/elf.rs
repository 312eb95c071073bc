//! Native libraries: whether they are for this machine, and the descriptor.
//!
//! Only 64-bit little-endian ELF, which is what the machines are that the host runs on.

use crate::{Unusable, file::PluginFile};
use executor_runtime_protocol::{ELF_SECTION, MAX_DESCRIPTOR_BYTES};
use object::{
    LittleEndian, elf,
    pod::{from_bytes, slice_from_all_bytes},
};

const ENDIAN: LittleEndian = LittleEndian;

/// Where the descriptor stood before the interface was published.
const PRE_RELEASE_SECTION: &str = ".executor_runtime";

/// Bytes of the section names that are read.
const MAX_NAMES: u64 = 1 << 20;

#[cfg(target_arch = "x86_64")]
const HOST: (u16, &str) = (elf::EM_X86_64, "x86_64");
#[cfg(target_arch = "aarch64")]
const HOST: (u16, &str) = (elf::EM_AARCH64, "aarch64");

type Header = elf::FileHeader64<LittleEndian>;
type SectionHeader = elf::SectionHeader64<LittleEndian>;

/// The bytes of the descriptor of a shared library, and whether they stand where they did before the interface was
/// published.
pub(crate) fn read_descriptor(file: &PluginFile) -> Result<(Vec<u8>, bool), Unusable> {
    let bytes = file.read_at(0, size_of::<Header>())?;
    if !bytes.starts_with(&elf::ELFMAG) {
        return Err(Unusable::WrongFormat {
            expected: "shared library (ELF)",
        });
    }
    let (header, _) = from_bytes::<Header>(&bytes).map_err(|()| damaged("it is truncated"))?;
    if header.e_ident.class != elf::ELFCLASS64 || header.e_ident.data != elf::ELFDATA2LSB {
        return Err(wrong_architecture("a 32-bit or big-endian machine".to_owned()));
    }
    let machine = header.e_machine.get(ENDIAN);
    if machine != HOST.0 {
        return Err(wrong_architecture(machine_name(machine)));
    }
    if header.e_type.get(ENDIAN) != elf::ET_DYN {
        return Err(Unusable::WrongFormat {
            expected: "shared library (ELF)",
        });
    }
    let sections = read_sections(file, header)?;
    let sections = slice_from_all_bytes::<SectionHeader>(&sections)
        .map_err(|()| damaged("its sections are truncated"))?;
    let names = sections
        .get(usize::from(header.e_shstrndx.get(ENDIAN)))
        .ok_or_else(|| damaged("its sections have no names"))?;
    let names = read_section(file, names, MAX_NAMES)?;
    let find = |name: &str| {
        sections
            .iter()
            .find(|section| name_of(section, &names) == Some(name.as_bytes()))
    };
    let (section, is_pre_release) = match (find(ELF_SECTION), find(PRE_RELEASE_SECTION)) {
        (Some(section), _) => (section, false),
        (None, Some(section)) => (section, true),
        (None, None) => return Err(Unusable::NoDescriptor { section: ELF_SECTION }),
    };
    if section.sh_type.get(ENDIAN) == elf::SHT_NOBITS {
        return Err(damaged("its descriptor has no bytes"));
    }
    let bytes = read_section(file, section, MAX_DESCRIPTOR_BYTES as u64)?;
    Ok((bytes, is_pre_release))
}

/// The table of section headers: at most 65,535 of 64 bytes.
fn read_sections(file: &PluginFile, header: &Header) -> Result<Vec<u8>, Unusable> {
    if usize::from(header.e_shentsize.get(ENDIAN)) != size_of::<SectionHeader>() {
        return Err(damaged("its sections have no headers"));
    }
    let count = usize::from(header.e_shnum.get(ENDIAN));
    file.read_exact_at(header.e_shoff.get(ENDIAN), count * size_of::<SectionHeader>())
}

fn read_section(file: &PluginFile, section: &SectionHeader, most: u64) -> Result<Vec<u8>, Unusable> {
    let length = section.sh_size.get(ENDIAN);
    if length > most {
        return Err(damaged("one of its sections is too long"));
    }
    // At most 1 MiB, which fits.
    file.read_exact_at(section.sh_offset.get(ENDIAN), length as usize)
}

fn name_of<'n>(section: &SectionHeader, names: &'n [u8]) -> Option<&'n [u8]> {
    let start = usize::try_from(section.sh_name.get(ENDIAN)).ok()?;
    names.get(start..)?.split(|&byte| byte == 0).next()
}

fn damaged(what: &str) -> Unusable {
    Unusable::Damaged(what.to_owned())
}

fn wrong_architecture(found: String) -> Unusable {
    Unusable::WrongArchitecture { found, host: HOST.1 }
}

fn machine_name(machine: u16) -> String {
    match machine {
        elf::EM_X86_64 => "x86_64".to_owned(),
        elf::EM_AARCH64 => "aarch64".to_owned(),
        elf::EM_386 => "x86".to_owned(),
        elf::EM_ARM => "arm".to_owned(),
        elf::EM_RISCV => "riscv".to_owned(),
        elf::EM_PPC64 => "powerpc64".to_owned(),
        elf::EM_S390 => "s390x".to_owned(),
        other => format!("machine {other}"),
    }
}
