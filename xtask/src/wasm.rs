//! A WebAssembly module as far as the chores read it (WebAssembly core specification, chapter 5).

use std::collections::HashMap;

use anyhow::{Context, Result, bail};

/// Magic number and version.
pub(crate) const HEAD_BYTES: usize = 8;

/// Sections, by their number (§5.5.2).
pub(crate) const CUSTOM: u8 = 0;
pub(crate) const TYPES: u8 = 1;
pub(crate) const IMPORTS: u8 = 2;
pub(crate) const FUNCTIONS: u8 = 3;
pub(crate) const EXPORTS: u8 = 7;
pub(crate) const CODE: u8 = 10;
pub(crate) const DATA: u8 = 11;

/// Reads what is in the module, or in a part of it, from front to back.
pub(crate) struct Reader<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let end = self
            .at
            .checked_add(count)
            .context("a length beyond all bounds")?;
        let taken = self
            .bytes
            .get(self.at..end)
            .context("the WebAssembly ends too early")?;
        self.at = end;
        Ok(taken)
    }

    pub(crate) fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    /// An unsigned number in LEB128.
    pub(crate) fn number(&mut self) -> Result<usize> {
        let mut number = 0;
        for shift in (0..32).step_by(7) {
            let byte = self.byte()?;
            number |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        bail!("a number of more than five bytes")
    }

    pub(crate) fn text(&mut self) -> Result<&'a str> {
        let length = self.number()?;
        std::str::from_utf8(self.take(length)?).context("a name that is no text")
    }
}

pub(crate) fn write_number(to: &mut Vec<u8>, mut number: usize) {
    loop {
        let byte = u8::try_from(number & 0x7f).unwrap_or(0);
        number >>= 7;
        if number == 0 {
            return to.push(byte);
        }
        to.push(byte | 0x80);
    }
}

pub(crate) fn write_text(to: &mut Vec<u8>, text: &str) {
    write_number(to, text.len());
    to.extend_from_slice(text.as_bytes());
}

/// A module's sections, and what its functions are called.
pub(crate) struct Module<'a> {
    head: &'a [u8],
    sections: Vec<(u8, &'a [u8])>,
    names: HashMap<usize, &'a str>,
}

impl<'a> Module<'a> {
    /// # Errors
    /// It is no WebAssembly.
    pub(crate) fn read(wasm: &'a [u8]) -> Result<Self> {
        let mut reader = Reader { bytes: wasm, at: 0 };
        let head = reader.take(HEAD_BYTES)?;
        let (mut sections, mut names) = (Vec::new(), HashMap::new());
        while reader.at < wasm.len() {
            let kind = reader.byte()?;
            let length = reader.number()?;
            let body = reader.take(length)?;
            if kind == CUSTOM {
                names.extend(function_names(body)?);
            }
            sections.push((kind, body));
        }
        Ok(Self {
            head,
            sections,
            names,
        })
    }

    /// The first section of a kind.
    pub(crate) fn section(&self, kind: u8) -> Option<&'a [u8]> {
        let mut found = self.sections.iter().filter(|(found, _)| *found == kind);
        found.next().map(|(_, body)| *body)
    }

    /// Whether it says what its functions are called.
    pub(crate) fn has_names(&self) -> bool {
        !self.names.is_empty()
    }

    /// How many functions it takes from elsewhere: they are numbered first.
    ///
    /// # Errors
    /// The imports are not what the linker makes.
    pub(crate) fn imported(&self) -> Result<usize> {
        self.section(IMPORTS).map_or(Ok(0), imported_functions)
    }

    /// Its own functions, each with its name, which is empty where it has none.
    ///
    /// # Errors
    /// The code ends too early.
    pub(crate) fn functions(&self) -> Result<Vec<(&'a str, &'a [u8])>> {
        let imported = self.imported()?;
        let mut reader = Reader {
            bytes: self.section(CODE).unwrap_or(&[0]),
            at: 0,
        };
        let count = reader.number()?;
        let functions = (0..count).map(|index| {
            let length = reader.number()?;
            let name = self.names.get(&(imported + index));
            Ok((name.copied().unwrap_or_default(), reader.take(length)?))
        });
        functions.collect()
    }

    /// The module with what `change` makes of each section.
    ///
    /// # Errors
    /// Those of `change`.
    pub(crate) fn changed(
        &self,
        mut change: impl FnMut(u8, &'a [u8]) -> Result<Vec<u8>>,
    ) -> Result<Vec<u8>> {
        let mut changed = self.head.to_vec();
        for (kind, body) in &self.sections {
            let body = change(*kind, body)?;
            changed.push(*kind);
            write_number(&mut changed, body.len());
            changed.extend_from_slice(&body);
        }
        Ok(changed)
    }
}

/// How many functions a section of imports has, among tables, memories and globals (§5.5.5).
fn imported_functions(section: &[u8]) -> Result<usize> {
    let mut reader = Reader {
        bytes: section,
        at: 0,
    };
    let mut functions = 0;
    for _ in 0..reader.number()? {
        reader.text()?;
        reader.text()?;
        match reader.byte()? {
            0 => {
                reader.number()?;
                functions += 1;
            }
            1 => {
                reader.byte()?;
                limits(&mut reader)?;
            }
            2 => limits(&mut reader)?,
            // A type of value, and whether it changes.
            3 => drop(reader.take(2)?),
            other => bail!("an import of kind {other}, which the linker does not make"),
        }
    }
    Ok(functions)
}

/// How large a table or a memory is, and how large it may become (§5.3.9).
fn limits(reader: &mut Reader<'_>) -> Result<()> {
    let has_maximum = reader.byte()? & 1 == 1;
    reader.number()?;
    if has_maximum {
        reader.number()?;
    }
    Ok(())
}

/// The functions' names, of the section that is called `name` (§7.4.1).
fn function_names(section: &[u8]) -> Result<Vec<(usize, &str)>> {
    const OF_FUNCTIONS: u8 = 1;
    let mut reader = Reader {
        bytes: section,
        at: 0,
    };
    let mut names = Vec::new();
    if reader.text()? != "name" {
        return Ok(names);
    }
    while reader.at < section.len() {
        let kind = reader.byte()?;
        let length = reader.number()?;
        let bytes = reader.take(length)?;
        if kind == OF_FUNCTIONS {
            let mut part = Reader { bytes, at: 0 };
            for _ in 0..part.number()? {
                names.push((part.number()?, part.text()?));
            }
        }
    }
    Ok(names)
}

/// What is behind the name of a function that only calls the one of that name, in the other file.
const CALLS: &str = " indirect_call_shim";

/// A function's name without what makes it unique: `core[c593…]::fmt` and `core::fmt::h10f7…`; as
/// people write it, where the linker has it in letters of its own.
pub(crate) fn plain(name: &str) -> String {
    let name = name.strip_suffix(CALLS).unwrap_or(name);
    let name = rustc_demangle::demangle(name).to_string();
    let mut plain = String::with_capacity(name.len());
    let mut rest = name.as_str();
    while let Some((before, behind)) = rest.split_once('[') {
        plain.push_str(before);
        match behind.split_once(']') {
            Some((hash, after)) if is_hash(hash) => rest = after,
            _ => {
                plain.push('[');
                rest = behind;
            }
        }
    }
    plain.push_str(rest);
    let hash = plain.rsplit_once("::h").map(|(_, hash)| hash);
    if let Some(hash) = hash.filter(|hash| hash.len() == 16 && is_hash(hash)) {
        plain.truncate(plain.len() - hash.len() - 3);
    }
    plain
}

fn is_hash(text: &str) -> bool {
    text.len() > 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A part of the memory that the module brings along.
pub(crate) struct Segment {
    pub(crate) address: usize,
    /// Where its bytes are in the section.
    pub(crate) at: usize,
    pub(crate) length: usize,
}

/// The parts of the memory in a section of data.
///
/// # Errors
/// It ends too early.
pub(crate) fn segments(section: &[u8]) -> Result<Vec<Segment>> {
    /// In the only memory, at a constant address: `i32.const`, `end`.
    const PLACED: usize = 0;
    const I32_CONST: u8 = 0x41;
    let mut reader = Reader {
        bytes: section,
        at: 0,
    };
    let mut segments = Vec::new();
    for _ in 0..reader.number()? {
        if reader.number()? != PLACED || reader.byte()? != I32_CONST {
            // Not what the linker writes; what is read so far is still so.
            break;
        }
        let address = reader.number()?;
        reader.byte()?;
        let length = reader.number()?;
        segments.push(Segment {
            address,
            at: reader.at,
            length,
        });
        reader.take(length)?;
    }
    Ok(segments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_counted_among_what_else_is_imported() -> Result<()> {
        let mut section = Vec::new();
        write_number(&mut section, 5);
        for (name, what) in [
            ("memory", &[2, 1, 17, 200, 1][..]),
            ("open", &[0, 3]),
            ("table", &[1, 0x70, 0, 9]),
            ("stack", &[3, 0x7f, 1]),
            ("close", &[0, 130, 1]),
        ] {
            write_text(&mut section, "page");
            write_text(&mut section, name);
            section.extend_from_slice(what);
        }
        assert_eq!(imported_functions(&section)?, 2);
        assert!(imported_functions(&section[..section.len() - 1]).is_err());
        Ok(())
    }
}
