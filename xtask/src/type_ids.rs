//! Numbers the types of the page's WebAssembly. The compiler gives each type that is asked for its
//! `TypeId` 128 random bits, which no compression makes smaller: two hundred types are 3.4 kB of
//! the first load. They are compared with each other and with nothing else, so small numbers do.
//!
//! Every `Any::type_id` reads its number from the data, which says where they are. Where such a
//! number stands elsewhere, in the data or in an instruction, it is replaced too: one of 64 random
//! bits is nowhere by chance.

use std::collections::{BTreeSet, HashMap};

use anyhow::{Context, Result};

use crate::wasm::{CODE, DATA, Module, Reader, plain, segments};

const ID_BYTES: usize = 16;

/// A module whose types are numbered, and how many there are. One in which anything is not as it
/// is looked for is returned as it is.
///
/// # Errors
/// It is no WebAssembly.
pub(crate) fn number(wasm: &[u8]) -> Result<(Vec<u8>, usize)> {
    let module = Module::read(wasm)?;
    let as_it_is = || Ok((wasm.to_vec(), 0));
    let Some(data) = module.section(DATA) else {
        return as_it_is();
    };
    let Some(addresses) = addresses(&module)? else {
        return as_it_is();
    };
    let segments = segments(data)?;
    let mut halves = HashMap::new();
    for (index, address) in addresses.iter().enumerate() {
        let found = segments.iter().find_map(|segment| {
            let offset = address.checked_sub(segment.address)?;
            (offset + ID_BYTES <= segment.length).then_some(segment.at + offset)
        });
        let Some(id) = found.and_then(|at| data.get(at..at + ID_BYTES)) else {
            return as_it_is();
        };
        let half = |at: usize| -> Result<u64> {
            let bytes = id[at..at + 8].try_into();
            Ok(u64::from_le_bytes(bytes.context("eight bytes")?))
        };
        // The upper halves are all alike then; both are always compared.
        halves.insert(half(0)?, index as u64 + 1);
        halves.insert(half(8)?, 0);
    }
    if halves.len() != 2 * addresses.len() {
        return as_it_is();
    }
    let numbered = module.changed(|kind, body| {
        let mut body = body.to_vec();
        match kind {
            DATA => renumber_data(&mut body, &halves),
            CODE => renumber_code(&mut body, &halves),
            _ => {}
        }
        Ok(body)
    })?;
    Ok((numbered, addresses.len()))
}

/// Where the numbers are that `Any::type_id` reads; `None` where one of these functions reads them
/// in another way.
fn addresses(module: &Module<'_>) -> Result<Option<BTreeSet<usize>>> {
    let functions = module.functions()?;
    let ids = functions
        .iter()
        .filter(|(name, _)| plain(name).ends_with(" as core::any::Any>::type_id"));
    Ok(ids.map(|(_, body)| address(body)).collect())
}

/// The address that a function copies sixteen bytes from to where its parameter says, where that
/// is all that it does.
fn address(body: &[u8]) -> Option<usize> {
    /// `local.get 0`, `i32.const 0`, `i64.load` of four bytes' alignment at …
    const LOADS: &[u8] = &[0x20, 0, 0x41, 0, 0x29, 2];
    /// `i64.store` of that alignment at the eighth byte, and at the first.
    const STORES: [&[u8]; 2] = [&[0x37, 2, 8], &[0x37, 2, 0]];
    let mut rest = body.strip_prefix(&[0])?;
    let mut found = [0; 2];
    for (found, stores) in found.iter_mut().zip(STORES) {
        let mut reader = Reader {
            bytes: rest.strip_prefix(LOADS)?,
            at: 0,
        };
        *found = reader.number().ok()?;
        rest = reader.bytes.get(reader.at..)?.strip_prefix(stores)?;
    }
    (rest == [0x0b] && found[0] == found[1] + 8).then_some(found[1])
}

fn renumber_data(data: &mut [u8], halves: &HashMap<u64, u64>) {
    for at in 0..data.len().saturating_sub(7) {
        let Some(bytes) = data.get_mut(at..at + 8) else {
            return;
        };
        let half = <[u8; 8]>::try_from(&*bytes).map(u64::from_le_bytes);
        if let Ok(half) = half
            && let Some(number) = halves.get(&half)
        {
            bytes.copy_from_slice(&number.to_le_bytes());
        }
    }
}

/// The numbers that instructions have in them; each keeps its length, which `wasm-opt` then mends.
fn renumber_code(code: &mut [u8], halves: &HashMap<u64, u64>) {
    const I64_CONST: u8 = 0x42;
    for at in 0..code.len() {
        if code[at] != I64_CONST {
            continue;
        }
        let Some((half, length)) = signed(&code[at + 1..]) else {
            continue;
        };
        let Some(number) = halves.get(&half) else {
            continue;
        };
        let mut left = *number;
        for (index, byte) in code[at + 1..at + 1 + length].iter_mut().enumerate() {
            let more = if index + 1 < length { 0x80 } else { 0 };
            *byte = u8::try_from(left & 0x7f).unwrap_or(0) | more;
            left >>= 7;
        }
    }
}

/// A signed number in LEB128 of 64 bits, and how many bytes it takes.
fn signed(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut number = 0_u64;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        number |= u64::from(byte & 0x7f).checked_shl(u32::try_from(7 * index).ok()?)?;
        if byte & 0x80 == 0 {
            let bits = 7 * (index + 1);
            if bits < 64 && byte & 0x40 != 0 {
                number |= u64::MAX << bits;
            }
            return Some((number, index + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wasm::{CUSTOM, write_number, write_text};

    fn section(wasm: &mut Vec<u8>, kind: u8, body: &[u8]) {
        wasm.push(kind);
        write_number(wasm, body.len());
        wasm.extend_from_slice(body);
    }

    /// Two types' `type_id`, and a function that compares with a half of the second's.
    fn module(ids: [u128; 2], half: &[u8]) -> Vec<u8> {
        let mut code = Vec::new();
        write_number(&mut code, 3);
        for address in [1024, 1040] {
            let mut body = vec![0];
            for (offset, store) in [(address + 8, 8), (address, 0)] {
                body.extend([0x20, 0, 0x41, 0, 0x29, 2]);
                write_number(&mut body, offset);
                body.extend([0x37, 2, store]);
            }
            body.push(0x0b);
            write_number(&mut code, body.len());
            code.extend(body);
        }
        let compares = [&[0, 0x20, 0, 0x42][..], half, &[0x52, 0x0b]].concat();
        write_number(&mut code, compares.len());
        code.extend(compares);
        let mut data = vec![1, 0, 0x41];
        write_number(&mut data, 1024);
        data.push(0x0b);
        write_number(&mut data, 36);
        data.extend(ids.iter().flat_map(|id| id.to_le_bytes()));
        data.extend(*b"text");
        let mut functions = Vec::new();
        write_number(&mut functions, 3);
        for (index, name) in [
            "<T as core::any::Any>::type_id::h0123456789abcdef",
            "<T as core::any::Any>::type_id::hfedcba9876543210",
            "downcast",
        ]
        .iter()
        .enumerate()
        {
            write_number(&mut functions, index);
            write_text(&mut functions, name);
        }
        let mut names = Vec::new();
        write_text(&mut names, "name");
        section(&mut names, 1, &functions);
        let mut wasm = b"\0asm\x01\0\0\0".to_vec();
        section(&mut wasm, CODE, &code);
        section(&mut wasm, DATA, &data);
        section(&mut wasm, CUSTOM, &names);
        wasm
    }

    #[test]
    fn types_are_numbered_wherever_they_stand() {
        let second = 0x8123_4567_89ab_cdef_8fed_cba9_8765_4321_u128;
        // The lower half of the second as an instruction has it.
        let half = [0xa1, 0x86, 0x95, 0xbb, 0x98, 0xf5, 0xf2, 0xf6, 0x8f, 0x7f];
        assert_eq!(signed(&half), Some((0x8fed_cba9_8765_4321, 10)));
        let ids = [0x7777_1234_5678_9abc_def0_1122_3344_5566, second];
        let (numbered, count) = number(&module(ids, &half)).expect("a module");
        let two = [0x82, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00];
        assert_eq!(signed(&two), Some((2, 10)));
        assert_eq!((numbered, count), (module([1, 2], &two), 2));
    }

    #[test]
    fn what_is_read_in_another_way_stays_as_it_is() {
        let mut wasm = module([1 << 100, 5], &[5]);
        let at = wasm.windows(3).position(|bytes| bytes == [0x37, 2, 8]);
        wasm[at.expect("a store") + 2] = 16;
        assert_eq!(number(&wasm).expect("a module"), (wasm, 0));
    }
}
