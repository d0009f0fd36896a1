//! The text that people write here: which files it is in, and words in it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

/// Folders that hold nothing of ours.
const SKIPPED: &[&str] = &["target", "dist", "data", "node_modules"];

/// All text that people write here, as paths below the top, sorted.
pub(crate) fn sources(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if path.is_dir() {
                if !name.starts_with('.') && !SKIPPED.contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if ["rs", "css", "html", "toml", "md"]
                .iter()
                .any(|known| path.extension().is_some_and(|it| it == *known))
            {
                found.push(path.strip_prefix(root)?.to_path_buf());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Whether `word` stands in `text` and is not the end or the beginning of a longer one.
pub(crate) fn has_word(text: &str, word: &str) -> bool {
    let in_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    text.match_indices(word).any(|(at, _)| {
        let open = word.ends_with('(');
        !text[..at].ends_with(in_word) && (open || !text[at + word.len()..].starts_with(in_word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_is_not_found_in_a_longer_one() {
        assert!(has_word("use `--bind` here", "--bind"));
        assert!(!has_word("--bind-address", "--bind"));
        assert!(!has_word("MAX_SERIES_TOTAL", "MAX_SERIES"));
    }
}
