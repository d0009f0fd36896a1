//! Files of rules: found by globs, read, checked as a whole.

use std::{
    collections::BTreeSet,
    fs,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use pulseboard_engine::DEFAULT_TENANT;
use pulseboard_rules::{file, group::Defaults};

use super::wanted::{FILE_RULES_MAX, FromConfig, GroupId, Source, Wanted, hash};

/// A larger file is something else.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Bytes of all files together.
const ALL_BYTES_MAX: u64 = 128 << 20;

/// Files of all globs.
const FILES_MAX: usize = 10_000;

/// Problems that are told; of more, how many there are.
const PROBLEMS_MAX: usize = 100;

/// Reads the files of the settings without using them.
///
/// # Errors
/// What is wrong with them, in one line.
pub fn check(config: &FromConfig, globs: &[String]) -> Result<(), String> {
    let defaults = Defaults {
        interval_ms: 15_000,
        query_offset_ms: 0,
    };
    read(config, globs, defaults)
        .map(drop)
        .map_err(|problems| problems.join("; "))
}

/// All groups of all files, in the order of the files.
///
/// # Errors
/// All that is wrong, a line each: then none of them is taken.
pub(super) fn read(
    config: &FromConfig,
    globs: &[String],
    defaults: Defaults,
) -> Result<Vec<Wanted>, Vec<String>> {
    let mut problems = Vec::new();
    let mut wanted = Vec::new();
    let (mut bytes, mut rules) = (0, 0);
    for path in paths(&config.globs, globs, &mut problems) {
        let name = path.display().to_string();
        let text = match read_text(&path) {
            Ok(text) => text,
            Err(why) => {
                problems.push(format!("{name}: {why}"));
                continue;
            }
        };
        bytes += text.len() as u64;
        if bytes > ALL_BYTES_MAX {
            problems.push(format!(
                "{name}: all rule files together have more than {ALL_BYTES_MAX} bytes"
            ));
            break;
        }
        match file::parse(&name, &text) {
            Err(errors) => problems.extend(errors.iter().map(ToString::to_string)),
            Ok(read) => {
                for group in read.groups {
                    rules += group.rules.len();
                    let ids = (0..group.rules.len()).map(|index| {
                        let rule = &group.rules[index];
                        let place =
                            format!("{name}\u{0}{}\u{0}{index}\u{0}{}", group.name, rule.name());
                        format!("file-{:016x}", hash(place.as_bytes()))
                    });
                    wanted.push(Wanted {
                        id: GroupId {
                            tenant: Arc::from(DEFAULT_TENANT),
                            file: name.clone(),
                            name: group.name.clone(),
                        },
                        source: Source::File,
                        rule_ids: ids.collect(),
                        spec: group,
                        defaults,
                    });
                }
            }
        }
    }
    if rules > FILE_RULES_MAX {
        problems.push(format!(
            "there are {rules} rules in files, of at most {FILE_RULES_MAX}"
        ));
    }
    if problems.is_empty() {
        return Ok(wanted);
    }
    if problems.len() > PROBLEMS_MAX {
        let more = problems.len() - PROBLEMS_MAX;
        problems.truncate(PROBLEMS_MAX);
        problems.push(format!("and {more} more"));
    }
    Err(problems)
}

/// The files that globs stand for, each once. A name without wildcards stands for itself, whether it
/// is there or not in `of_settings`: who names a file wants it.
fn paths(of_config: &[String], of_settings: &[String], problems: &mut Vec<String>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for (pattern, is_named) in of_config
        .iter()
        .map(|pattern| (pattern, false))
        .chain(of_settings.iter().map(|pattern| (pattern, true)))
    {
        let has_wildcards = pattern.contains(['*', '?', '[']);
        let files = match glob::glob(pattern) {
            Ok(files) => files.filter_map(Result::ok).collect::<Vec<_>>(),
            Err(error) => {
                problems.push(format!("{pattern}: {error}"));
                continue;
            }
        };
        if files.is_empty() && is_named && !has_wildcards {
            problems.push(format!("RULE_FILES={pattern}: there is no such file"));
        }
        for file in files {
            if file.is_file() && seen.insert(file.clone()) {
                found.push(file);
            }
            if found.len() >= FILES_MAX {
                problems.push(format!("{pattern}: more than {FILES_MAX} files"));
                return found;
            }
        }
    }
    found
}

fn read_text(path: &Path) -> Result<String, String> {
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    read.map_err(|error| error.to_string())?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("it has more than {FILE_BYTES_MAX} bytes"));
    }
    Ok(text)
}
