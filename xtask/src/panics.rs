//! Takes the words of panics out of the page's WebAssembly: a twentieth of the first load, for
//! texts that nobody who opens the page reads. What panics traps instead, and the page says that it
//! has stopped as before (`frontend/src/panic.rs`). Development builds keep every word.
//!
//! Three things go before `wasm-opt` clears up what nothing needs any more: the bodies of the
//! standard library's functions that end in a panic, those that write values for programmers
//! (`Debug`), and in the data the places in source files that panics name.

use anyhow::Result;

use crate::wasm::{CODE, DATA, FUNCTIONS, Module, Reader, TYPES, plain, segments, write_number};

/// No locals; `unreachable`, `end`.
const TRAP: &[u8] = &[0, 0x00, 0x0b];

/// No locals; `i32.const 0`, `end`: nothing was written, and all is well.
const WRITES_NOTHING: &[u8] = &[0, 0x41, 0, 0x0b];

/// 32 bits, as a type.
const I32: u8 = 0x7f;

/// A module without its panics' words, and how many functions were emptied. One without names is
/// returned as it is.
///
/// # Errors
/// It is no WebAssembly.
pub(crate) fn silence(wasm: &[u8]) -> Result<(Vec<u8>, usize)> {
    let module = Module::read(wasm)?;
    let results = module
        .section(TYPES)
        .map_or_else(|| Ok(Vec::new()), single_results)?;
    let types = module
        .section(FUNCTIONS)
        .map_or_else(|| Ok(Vec::new()), numbers)?;
    let mut emptied = 0;
    let silent = module.changed(|kind, body| match kind {
        CODE => {
            let functions = module.functions()?;
            let mut code = Vec::with_capacity(body.len());
            write_number(&mut code, functions.len());
            for (index, (name, original)) in functions.into_iter().enumerate() {
                let is_status =
                    || types.get(index).and_then(|kind| results.get(*kind)) == Some(&Some(I32));
                let empty = match role(&plain(name)) {
                    Some(Role::Panics) => Some(TRAP),
                    Some(Role::Debugs) if is_status() => Some(WRITES_NOTHING),
                    _ => None,
                };
                emptied += usize::from(empty.is_some());
                let function = empty.unwrap_or(original);
                write_number(&mut code, function.len());
                code.extend_from_slice(function);
            }
            Ok(code)
        }
        DATA if module.has_names() => without_places(body).map(without_words),
        _ => Ok(body.to_vec()),
    })?;
    Ok((silent, emptied))
}

#[derive(Debug, PartialEq)]
enum Role {
    /// Never returns.
    Panics,
    /// Writes a value for programmers.
    Debugs,
}

/// What a function of the standard library is for, by its name without hashes.
fn role(name: &str) -> Option<Role> {
    const PANICS: &[&str] = &[
        "core::panicking::",
        "std::panicking::",
        "core::option::unwrap_failed",
        "core::option::expect_failed",
        "core::result::unwrap_failed",
        "core::cell::panic_already",
        "core::str::slice_error_fail",
        "core::slice::index::slice_",
        "core::slice::copy_from_slice_impl::len_mismatch_fail",
        "std::thread::local::panic_access_error",
        "alloc::raw_vec::handle_error",
        "alloc::raw_vec::capacity_overflow",
        "alloc::alloc::handle_alloc_error",
        "__rustc::rust_begin_unwind",
        "__rustc::rust_panic",
        "console_error_panic_hook::hook",
    ];
    // Functions inside functions, of any type's name before.
    const PANICS_BEHIND: &[&str] = &["::assert_failed", "Fallibility>::capacity_overflow"];
    // Called to ask whether there is a panic, and to be told of one: not to panic.
    const RETURNS: &[&str] = &["std::panicking::panic_count", "std::panicking::set_hook"];
    if RETURNS.iter().any(|start| name.starts_with(start)) {
        return None;
    }
    if PANICS.iter().any(|start| name.starts_with(start)) && !returns(name)
        || PANICS_BEHIND.iter().any(|end| name.ends_with(end))
    {
        return Some(Role::Panics);
    }
    name.ends_with(" as core::fmt::Debug>::fmt")
        .then_some(Role::Debugs)
}

/// What is called `slice_…` in `core::slice::index` and does not fail.
fn returns(name: &str) -> bool {
    name.strip_prefix("core::slice::index::")
        .is_some_and(|name| !name.contains("fail"))
}

/// Of each type the result, where there is exactly one.
fn single_results(section: &[u8]) -> Result<Vec<Option<u8>>> {
    /// What every type of a function begins with (§5.3.6).
    const FUNCTION: u8 = 0x60;
    let mut reader = Reader {
        bytes: section,
        at: 0,
    };
    let mut types = Vec::new();
    for _ in 0..reader.number()? {
        if reader.byte()? != FUNCTION {
            // Not what the compiler writes; then nothing is known of any type.
            return Ok(Vec::new());
        }
        let parameters = reader.number()?;
        reader.take(parameters)?;
        let count = reader.number()?;
        let results = reader.take(count)?;
        types.push((count == 1).then(|| results[0]));
    }
    Ok(types)
}

fn numbers(section: &[u8]) -> Result<Vec<usize>> {
    let mut reader = Reader {
        bytes: section,
        at: 0,
    };
    let count = reader.number()?;
    (0..count).map(|_| reader.number()).collect()
}

/// What panics of the standard library, of Yew and of ours say. Nobody reads it once the functions
/// that print it are empty, and nothing else in the page says the like. Longer ones before those
/// that they begin with.
const WORDS: &[&str] = &[
    "a formatting trait implementation returned an error when the underlying stream did not",
    "cannot access a Thread Local Storage value during or after destruction: ",
    "internal error: entered unreachable code: a selector has one type",
    "Attempted to initialize thread-local while it is being dropped",
    "internal error: entered unreachable code: empty internal node",
    "To suspend rendering, a <Suspense /> component is required.",
    "attempt to calculate the remainder with a divisor of zero",
    "one-time initialization may not be performed recursively",
    "a Display implementation returned an error unexpectedly",
    "failed to generate unique thread ID: bitspace exhausted",
    "attempt to join into collection with len > usize::MAX",
    "assertion failed: edge.height == self.node.height - 1",
    "cannot modify the panic hook from a panicking thread",
    "assertion failed: old_right_len + count <= CAPACITY",
    "assertion failed: old_left_len + count <= CAPACITY",
    "assertion failed: edge.height == self.height - 1",
    "called `Option::unwrap()` on a `None` value",
    "called `Result::unwrap()` on an `Err` value",
    "Once instance has previously been poisoned",
    "assertion failed: new_left_len <= CAPACITY",
    "failed to insert node before next sibling",
    "internal error: entered unreachable code",
    "assertion failed: src.len() == dst.len()",
    "assertion failed: old_right_len >= count",
    "can't create namespaced element for vtag",
    "assertion failed: old_left_len >= count",
    "Tried to shrink to a larger capacity",
    "`async fn` resumed after completion",
    "unkeyed child in fully keyed list",
    "assertion failed: self.height > 0",
    "failed to create detached element",
    "RefCell already mutably borrowed",
    "couldn't clone node to be cached",
    "assertion failed: idx < CAPACITY",
    "can't create element for vtag",
    "deref_history is never empty",
    "assertion failed: step != 0",
    "assertion failed: count > 0",
    "could not remove attribute",
    "attempt to divide by zero",
    "could not remove property",
    "RefCell already borrowed",
    "could not set property",
    "failed to append child",
    "can't remove a child",
    "type id mismatch",
];

/// The data with zeros for the words of panics.
fn without_words(mut data: Vec<u8>) -> Vec<u8> {
    for words in WORDS {
        let words = words.as_bytes();
        let mut from = 0;
        while let Some(at) = data
            .get(from..)
            .and_then(|rest| rest.windows(words.len()).position(|found| found == words))
        {
            let end = from + at + words.len();
            data[from + at..end].fill(0);
            from = end;
        }
    }
    data
}

/// The data with zeros for the places in source files: what Rust calls `Location`, a file's name
/// by address and length, line and column; and the names.
fn without_places(section: &[u8]) -> Result<Vec<u8>> {
    /// Four numbers of 32 bits.
    const PLACE_BYTES: usize = 16;
    const NAME_BYTES_MAX: usize = 512;
    const LINES_MAX: usize = 200_000;
    const COLUMNS_MAX: usize = 2_000;
    let segments = segments(section)?;
    let within = |address: usize, length: usize| {
        segments.iter().find_map(|segment| {
            let offset = address.checked_sub(segment.address)?;
            (offset + length <= segment.length).then_some(segment.at + offset)
        })
    };
    let number = |at: usize| {
        let bytes = section.get(at..at + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
    };
    let mut silent = section.to_vec();
    for segment in &segments {
        let aligned = segment.address.next_multiple_of(4) - segment.address;
        let end = segment.length.saturating_sub(PLACE_BYTES - 1);
        for at in (aligned..end).step_by(4).map(|offset| segment.at + offset) {
            let mut numbers = (0..4).filter_map(|index| number(at + 4 * index));
            let (Some(address), Some(length), Some(line), Some(column)) = (
                numbers.next(),
                numbers.next(),
                numbers.next(),
                numbers.next(),
            ) else {
                continue;
            };
            let plausible = (4..NAME_BYTES_MAX).contains(&length)
                && (1..LINES_MAX).contains(&line)
                && (1..COLUMNS_MAX).contains(&column);
            if let Some(name) = within(address, length).filter(|_| plausible)
                // The compiler may end a file's name in a zero that counts.
                && section[name..name + length]
                    .strip_suffix(b"\0")
                    .unwrap_or(&section[name..name + length])
                    .ends_with(b".rs")
            {
                silent[at..at + PLACE_BYTES].fill(0);
                silent[name..name + length].fill(0);
            }
        }
    }
    Ok(silent)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;
    use crate::wasm::{CUSTOM, write_text};

    #[test]
    fn a_function_is_known_by_its_name_whatever_its_hashes() {
        for (name, known) in [
            (
                "core[c5930c85a12de822]::panicking::panic_fmt",
                Some(Role::Panics),
            ),
            (
                "core::panicking::panic_display::h10f7d62b642988a3",
                Some(Role::Panics),
            ),
            (
                "<alloc[3ca501edff3f0c7c]::vec::Vec<_, _>>::remove::assert_failed",
                Some(Role::Panics),
            ),
            (
                "core[c5930c85a12de822]::slice::index::slice_index_fail",
                Some(Role::Panics),
            ),
            (
                "<str as core[c5930c85a12de822]::fmt::Debug>::fmt",
                Some(Role::Debugs),
            ),
            ("core::slice::index::slice_get::h10f7d62b642988a3", None),
            (
                "std[a543996e6e7dbf1e]::panicking::panic_count::is_zero_slow_path",
                None,
            ),
            ("std[a543996e6e7dbf1e]::panicking::set_hook", None),
            ("<str as core[c5930c85a12de822]::fmt::Display>::fmt", None),
            ("pulseboard_frontend::panic::show_panel", None),
            ("", None),
        ] {
            assert_eq!(role(&plain(name)), known, "{name}");
        }
    }

    /// Two functions of a type that returns a number, and one that returns none; a place, and a
    /// text that is none.
    fn module() -> Vec<u8> {
        let mut wasm = b"\0asm\x01\0\0\0".to_vec();
        let mut section = |kind: u8, body: &[u8]| {
            wasm.push(kind);
            write_number(&mut wasm, body.len());
            wasm.extend_from_slice(body);
        };
        section(TYPES, &[2, 0x60, 0, 1, I32, 0x60, 0, 0]);
        section(FUNCTIONS, &[3, 0, 0, 1]);
        let number = [4, 0, 0x41, 7, 0x0b];
        section(
            CODE,
            &[&[3], &number[..], &number, &[3, 0, 0x01, 0x0b]].concat(),
        );
        let mut data = vec![1, 0, 0x41, 0x80, 0x08, 0x0b];
        let mut bytes = Vec::new();
        for number in [1024_u32 + 16, 8, 31, 9] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(b"a/lib.rshello.rs");
        write_number(&mut data, bytes.len());
        data.extend_from_slice(&bytes);
        section(DATA, &data);
        let mut functions = vec![3];
        for (index, name) in [
            (0, "<str as core::fmt::Debug>::fmt"),
            (1, "page"),
            (2, "core::option::unwrap_failed"),
        ] {
            functions.push(index);
            write_text(&mut functions, name);
        }
        let mut names = Vec::new();
        write_text(&mut names, "name");
        names.push(1);
        write_number(&mut names, functions.len());
        names.extend_from_slice(&functions);
        section(CUSTOM, &names);
        wasm
    }

    #[test]
    fn words_of_panics_are_blank_and_those_beside_them_stay() {
        let data =
            b"Overviewinternal error: entered unreachable code: empty internal nodeinvalid key";
        let mut expected = b"Overview".to_vec();
        expected.resize(data.len() - "invalid key".len(), 0);
        expected.extend_from_slice(b"invalid key");
        assert_eq!(without_words(data.to_vec()), expected);
        assert!(
            WORDS
                .iter()
                .enumerate()
                .all(|(at, words)| !WORDS[..at].iter().any(|before| words.starts_with(before))),
            "a longer one comes before its beginning"
        );
    }

    #[test]
    fn panics_lose_their_words_and_nothing_else() -> Result<()> {
        let wasm = module();
        let (silent, emptied) = silence(&wasm)?;
        let of = |kind| -> Result<Vec<u8>> {
            let module = Module::read(&silent)?;
            Ok(module.section(kind).context("a section")?.to_vec())
        };
        let code = [
            &[3_u8, 4][..],
            WRITES_NOTHING,
            &[4, 0, 0x41, 7, 0x0b, 3],
            TRAP,
        ];
        assert_eq!(of(CODE)?, code.concat());
        assert_eq!(emptied, 2);
        let data = of(DATA)?;
        assert!(data.ends_with(&[&[0; 24][..], b"hello.rs"].concat()));
        assert_eq!(silent.len(), wasm.len());
        Ok(())
    }

    #[test]
    fn without_names_nothing_changes() -> Result<()> {
        let wasm = module();
        let module = Module::read(&wasm)?;
        let named = module.section(CUSTOM).context("a section")?.len() + 2;
        let bare = &wasm[..wasm.len() - named];
        assert_eq!(silence(bare)?, (bare.to_vec(), 0));
        assert!(silence(&bare[..20]).is_err());
        Ok(())
    }
}
