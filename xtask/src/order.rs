//! The order of the functions in the page's WebAssembly: those that are alike beside each other.
//! A packer is told less where what it repeats was a short while ago and where what comes next is
//! of the same kind; that is 3 % of the page, and a page whose size does not hang on the order in
//! which the compiler was done with its parts.
//!
//! Which are alike is asked of their code in runs of four bytes: `wasm-opt` writes them in the
//! order of names that they are given here.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context, Result};

use crate::{
    shell,
    wasm::{CUSTOM, Module, Reader, write_number, write_text},
};

/// Bytes of a run. With six the page is as large, with fewer larger.
const RUN: usize = 4;

/// What more than one function in so many has tells nothing of what it is like.
const COMMON: usize = 5;

/// How much of what came before the last one counts, each step back.
const MEMORY: f32 = 0.5;

/// The file with functions that are alike beside each other; `symbols` says afterwards which is
/// called what, if the file does. What only tools read goes from it.
///
/// # Errors
/// It is no WebAssembly, or `wasm-opt` cannot write it.
pub(crate) fn sort(file: &Path, wasm_opt: &Path, symbols: &Path) -> Result<()> {
    let wasm = fs::read(file)?;
    let module = Module::read(&wasm)?;
    let functions = module.functions()?;
    let bodies: Vec<&[u8]> = functions.iter().map(|(_, body)| *body).collect();
    let first = module.imported()?;
    let mut names = vec![String::new(); functions.len()];
    for (place, number) in beside(&bodies).into_iter().enumerate() {
        names[number] = format!("{place:06}{MARK}{}", functions[number].0);
    }
    let names = names_of(first, &names);
    let named = module.changed(|kind, body| {
        let is_names = kind == CUSTOM && section_name(body)? == NAMES;
        Ok(match is_names {
            true => names.clone(),
            false => body.to_vec(),
        })
    })?;
    let before = file.with_extension("wasm.named");
    fs::write(&before, named)?;
    shell::run(
        shell::command(wasm_opt)
            .args(["--reorder-functions-by-name", "--strip-producers"])
            // They say which features `wasm-opt` may use, and so stay until here.
            .arg("--strip-target-features")
            .arg(format!("--symbolmap={}", symbols.display()))
            .arg(&before)
            .arg("-o")
            .arg(file),
    )
    .context("wasm-opt could not sort the functions of the page")?;
    fs::remove_file(&before)?;
    let map = fs::read_to_string(symbols)?;
    fs::write(symbols, without_places(&map))?;
    Ok(())
}

/// Between a function's place and its name.
const MARK: char = '|';

/// Lines of `17:000042|name` without the place.
fn without_places(map: &str) -> String {
    let plain = map.lines().map(|line| {
        let name = line.split_once(MARK).map(|(_, name)| name);
        match (line.split_once(':'), name) {
            (Some((index, _)), Some(name)) => format!("{index}:{name}\n"),
            _ => format!("{line}\n"),
        }
    });
    plain.collect()
}

/// The custom section that says what functions are called.
const NAMES: &str = "name";

fn section_name(section: &[u8]) -> Result<&str> {
    let mut reader = Reader {
        bytes: section,
        at: 0,
    };
    reader.text()
}

/// The section that says what functions are called (§7.4.1), from number `first`.
fn names_of(first: usize, names: &[String]) -> Vec<u8> {
    const OF_FUNCTIONS: u8 = 1;
    let mut part = Vec::new();
    write_number(&mut part, first + names.len());
    for imported in 0..first {
        write_number(&mut part, imported);
        write_text(&mut part, &format!("import{imported}"));
    }
    for (number, name) in (first..).zip(names) {
        write_number(&mut part, number);
        write_text(&mut part, name);
    }
    let mut section = Vec::new();
    write_text(&mut section, NAMES);
    section.push(OF_FUNCTIONS);
    write_number(&mut section, part.len());
    section.extend_from_slice(&part);
    section
}

/// Numbers of the functions, each once, beginning with the longest: the next is always the one
/// that has most in common with the last few, of all that either has. Quadratic in their count.
fn beside(bodies: &[&[u8]]) -> Vec<usize> {
    let mut who: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
    let mut sizes = Vec::with_capacity(bodies.len());
    for (number, body) in bodies.iter().enumerate() {
        let runs: BTreeSet<&[u8]> = body.windows(RUN).collect();
        sizes.push(runs.len());
        for run in runs {
            who.entry(run).or_default().push(number);
        }
    }
    let mut shared = vec![Vec::new(); bodies.len()];
    let telling = |numbers: &Vec<usize>| numbers.len() > 1 && numbers.len() < bodies.len() / COMMON;
    let lists: Vec<Vec<usize>> = who.into_values().filter(telling).collect();
    for (list, numbers) in lists.iter().enumerate() {
        for number in numbers {
            shared[*number].push(list);
        }
    }
    let mut alike = vec![0.0_f32; bodies.len()];
    let mut left: Vec<usize> = (0..bodies.len()).collect();
    let mut order = Vec::with_capacity(bodies.len());
    let mut common = vec![0_usize; bodies.len()];
    let longest = left.iter().max_by_key(|number| bodies[**number].len());
    let mut next = longest.copied();
    while let Some(last) = next {
        order.push(last);
        left.retain(|number| *number != last);
        common.fill(0);
        for number in shared[last].iter().flat_map(|list| &lists[*list]) {
            common[*number] += 1;
        }
        for number in &left {
            let either = (sizes[last] + sizes[*number]).saturating_sub(common[*number]);
            let part = ratio(common[*number], either.max(1));
            alike[*number] = alike[*number].mul_add(MEMORY, part);
        }
        let best = |one: &&usize, other: &&usize| {
            let by_likeness = alike[**one].total_cmp(&alike[**other]);
            // Of equals the first.
            by_likeness.then(other.cmp(one))
        };
        next = left.iter().max_by(best).copied();
    }
    order
}

/// Counts of bytes in a function, far below where a float is no longer exact.
#[expect(clippy::cast_precision_loss, reason = "counts of one function's bytes")]
fn ratio(part: usize, whole: usize) -> f32 {
    part as f32 / whole as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_alike_comes_together_and_each_once() {
        let bodies: Vec<&[u8]> = vec![
            b"one and the same thing, the first time",
            b"another of quite some other kind: 0123456789",
            b"one and the same thing, the other time",
            b"no",
            b"another of quite some other kind: 9876543210!",
            b"one and the same thing, the third time",
        ];
        let mut several = bodies.clone();
        // So that what three of them have is not what all have.
        let rest: Vec<Vec<u8>> = (b'a'..=b'z').map(|byte| vec![byte; 5]).collect();
        several.extend(rest.iter().map(Vec::as_slice));
        let order = beside(&several);
        let place = |number: usize| order.iter().position(|one| *one == number);
        assert_eq!(order[..2], [4, 1], "the longest and who is like it");
        let mut places = [0, 2, 5].map(|number| place(number).expect("in it"));
        places.sort_unstable();
        assert_eq!(places[2] - places[0], 2, "{order:?}");
        let mut all = order.clone();
        all.sort_unstable();
        assert_eq!(all, (0..several.len()).collect::<Vec<_>>());
    }

    #[test]
    fn places_go_from_the_map_and_names_stay() {
        let map = "0:import0\n1:000042|core::fmt::write\n2:000007|a|b\n";
        assert_eq!(
            without_places(map),
            "0:import0\n1:core::fmt::write\n2:a|b\n"
        );
    }
}
