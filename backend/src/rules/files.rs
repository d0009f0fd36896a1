//! Files of rules: found by globs, read, checked as a whole.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    io::{self, Read},
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

/// What rule files of a folder end in.
const ENDINGS: [&str; 4] = ["yml", "yaml", "rules", "json"];

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

/// The files that globs stand for, each once. A name without wildcards stands for itself, whether
/// it is there or not in `of_settings`: who names a file wants it. A folder that is named stands
/// for the rule files in it.
fn paths(of_config: &[String], of_settings: &[String], problems: &mut Vec<String>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for (pattern, is_named) in of_config
        .iter()
        .map(|pattern| (pattern, false))
        .chain(of_settings.iter().map(|pattern| (pattern, true)))
    {
        let has_wildcards = pattern.contains(['*', '?', '[']);
        let mut files = match glob::glob(pattern) {
            Ok(files) => files.filter_map(Result::ok).collect::<Vec<_>>(),
            Err(error) => {
                problems.push(format!("{pattern}: {error}"));
                continue;
            }
        };
        if files.is_empty() && is_named && !has_wildcards {
            problems.push(format!("RULE_FILES={pattern}: there is no such file"));
        }
        if let ([one], false) = (&*files, has_wildcards) {
            if one.is_dir() {
                files = match in_folder(one) {
                    Ok(files) => files,
                    Err(error) => {
                        problems.push(format!("{pattern}: {error}"));
                        continue;
                    }
                };
            } else if !one.is_file() {
                problems.push(format!("{pattern}: it is neither a file nor a folder"));
            }
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

/// The rule files of a folder by name, and none of those below it; hidden ones are none.
fn in_folder(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let ending = path.extension().and_then(OsStr::to_str).unwrap_or_default();
        if !is_hidden && ENDINGS.contains(&ending) {
            files.push(path);
        }
        // Of a folder that is something else no more is remembered than is looked at.
        if files.len() > FILES_MAX {
            break;
        }
    }
    files.sort();
    if files.is_empty() {
        tracing::warn!(
            "{}: there is no rule file in this folder (one that ends in .{})",
            folder.display(),
            ENDINGS.join(", .")
        );
    }
    Ok(files)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_stands_for_the_rule_files_in_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let rules =
            |name: &str| format!("groups: [{{name: {name}, rules: [{{record: a, expr: up}}]}}]");
        for name in [
            "b.yml",
            "a.yaml",
            "c.rules",
            "d.json",
            ".hidden.yml",
            "notes.txt",
        ] {
            fs::write(folder.path().join(name), rules(name)).expect("written");
        }
        fs::create_dir(folder.path().join("below.yml")).expect("made");
        let defaults = Defaults {
            interval_ms: 15_000,
            query_offset_ms: 0,
        };
        let named = [folder.path().display().to_string()];
        let names = |globs: &[String]| -> Result<Vec<String>, Vec<String>> {
            let read = read(&FromConfig::default(), globs, defaults)?;
            Ok(read.into_iter().map(|group| group.id.name).collect())
        };
        let all = ["a.yaml", "b.yml", "c.rules", "d.json"].map(str::to_owned);
        assert_eq!(names(&named), Ok(all.to_vec()));
        let of_config = FromConfig {
            globs: named.to_vec(),
            ..FromConfig::default()
        };
        assert_eq!(read(&of_config, &[], defaults).expect("read").len(), 4);

        fs::write(folder.path().join("e.yml"), "groups: 3").expect("written");
        let told = names(&named).expect_err("one is wrong");
        assert!(told[0].contains("e.yml"), "{told:?}");
        let device = names(&["/dev/null".to_owned()]).expect_err("it is no file");
        assert!(
            device[0].contains("neither a file nor a folder"),
            "{device:?}"
        );
        let gone = names(&["/nowhere/at/all".to_owned()]).expect_err("it is not there");
        assert!(gone[0].contains("there is no such file"), "{gone:?}");
    }
}
