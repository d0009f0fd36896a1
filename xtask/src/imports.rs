//! Short names for what the WebAssembly takes from its script and gives to it. wasm-bindgen gives
//! each function a long one with a hash, which stands in both files and cannot be packed: some
//! kilobytes of the first load. Only the two files know these names, so any will do.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use crate::{
    script,
    wasm::{EXPORTS, HEAD_BYTES, IMPORTS, Reader, write_number, write_text},
};

/// Both files with short names, and the script without what is not taken.
///
/// # Errors
/// One of them is not what wasm-bindgen writes.
pub(crate) fn shorten(wasm: &[u8], script: &str) -> Result<(Vec<u8>, String)> {
    let mut reader = Reader { bytes: wasm, at: 0 };
    let mut short = reader.take(HEAD_BYTES)?.to_vec();
    let mut script = script.to_owned();
    while reader.at < wasm.len() {
        let kind = reader.byte()?;
        let length = reader.number()?;
        let section = reader.take(length)?;
        let section = match kind {
            IMPORTS => {
                let (section, names) = shorten_imports(section, &mut script)?;
                script = script::prune(&script, &names);
                section
            }
            EXPORTS => shorten_exports(section, &mut script)?,
            _ => section.to_vec(),
        };
        short.push(kind);
        write_number(&mut short, section.len());
        short.extend_from_slice(&section);
    }
    Ok((short, script))
}

/// The section, and the names in it.
fn shorten_imports(section: &[u8], script: &mut String) -> Result<(Vec<u8>, BTreeSet<String>)> {
    let mut reader = Reader {
        bytes: section,
        at: 0,
    };
    let mut short = Vec::with_capacity(section.len());
    let mut names = BTreeSet::new();
    let count = reader.number()?;
    write_number(&mut short, count);
    for number in 0..count {
        let module = reader.text()?;
        write_text(&mut short, module);
        let name = reader.text()?;
        let new = short_name(number);
        // As the script defines it, at the beginning of a line: there is exactly one.
        let (old_key, new_key) = (format!("\n        {name}: "), format!("\n        {new}: "));
        if script.matches(&old_key).count() == 1 {
            *script = script.replacen(&old_key, &new_key, 1);
            write_text(&mut short, &new);
            names.insert(new);
        } else {
            write_text(&mut short, name);
            names.insert(name.to_owned());
        }
        let begin = reader.at;
        match reader.byte()? {
            // A function, by its type.
            0 => drop(reader.number()?),
            other => bail!("an import of kind {other}, which wasm-bindgen does not make"),
        }
        short.extend_from_slice(&section[begin..reader.at]);
    }
    Ok((short, names))
}

/// Names that wasm-bindgen made become short; what others may ask for (`memory`, `main`) stays.
fn shorten_exports(section: &[u8], script: &mut String) -> Result<Vec<u8>> {
    let mut reader = Reader {
        bytes: section,
        at: 0,
    };
    let mut short = Vec::with_capacity(section.len());
    let count = reader.number()?;
    write_number(&mut short, count);
    for number in 0..count {
        let name = reader.text()?;
        let is_made = ["__wbindgen_", "__externref_", "wasm_bindgen_"]
            .iter()
            .any(|start| name.starts_with(start));
        let renamed = is_made
            .then(|| renamed(script, name, &short_name(number)))
            .flatten();
        match renamed {
            Some(text) => {
                *script = text;
                write_text(&mut short, &short_name(number));
            }
            None => write_text(&mut short, name),
        }
        let begin = reader.at;
        reader.byte()?;
        reader.number()?;
        short.extend_from_slice(&section[begin..reader.at]);
    }
    Ok(short)
}

/// The script with `new` for each export that it calls `old`; nothing where it calls none so.
fn renamed(script: &str, old: &str, new: &str) -> Option<String> {
    let call = format!("wasm.{old}");
    let mut parts = script.split(&call);
    let mut text = parts.next()?.to_owned();
    let mut is_found = false;
    for part in parts {
        let goes_on = part.starts_with(|next: char| next.is_alphanumeric() || "_$".contains(next));
        text.push_str("wasm.");
        text.push_str(if goes_on { old } else { new });
        text.push_str(part);
        is_found |= !goes_on;
    }
    is_found.then_some(text)
}

/// `a`, `b`, … and then two letters; none of them is a word of JavaScript as a key may be any.
fn short_name(number: usize) -> String {
    let mut rest = number;
    let mut name = String::new();
    loop {
        name.push(char::from(b'a' + u8::try_from(rest % 26).unwrap_or(0)));
        rest /= 26;
        if rest == 0 {
            return name;
        }
        rest -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_short_in_both_and_the_rest_stays() -> Result<()> {
        let mut wasm = b"\0asm\x01\0\0\0".to_vec();
        let mut section = vec![2];
        for name in [
            "__wbg_open_0123456789abcdef",
            "__wbg_close_0123456789abcdef",
        ] {
            write_text(&mut section, "./page_bg.js");
            write_text(&mut section, name);
            section.extend_from_slice(&[0, 5]);
        }
        wasm.push(IMPORTS);
        write_number(&mut wasm, section.len());
        wasm.extend_from_slice(&section);
        wasm.extend_from_slice(&[10, 2, 1, 0]);
        let script = "    const import0 = {\n        __wbg_open_0123456789abcdef: function() {\n        },\n    };";
        let (wasm, script) = shorten(&wasm, script)?;
        assert_eq!(
            script,
            "    const import0 = {\n        a: function() {\n        },\n    };\n"
        );
        let expected = b"\0asm\x01\0\0\0\x02\x3e\x02\x0c./page_bg.js\x01a\x00\x05\x0c./page_bg.js\x1c__wbg_close_0123456789abcdef\x00\x05\x0a\x02\x01\x00";
        assert_eq!(
            wasm, expected,
            "what the script does not define keeps its name"
        );
        assert!(shorten(&wasm[..20], "").is_err());
        Ok(())
    }

    #[test]
    fn what_the_script_calls_has_short_names_and_the_rest_its_own() -> Result<()> {
        let mut section = vec![4];
        for name in [
            "memory",
            "__wbindgen_free",
            "__wbindgen_free_all",
            "__wbindgen_x",
        ] {
            write_text(&mut section, name);
            section.extend_from_slice(&[0, 7]);
        }
        let mut script =
            "wasm.__wbindgen_free(1, wasm.memory);\nwasm.__wbindgen_free_all();\n".to_owned();
        let short = shorten_exports(&section, &mut script)?;
        assert_eq!(script, "wasm.b(1, wasm.memory);\nwasm.c();\n");
        let mut expected = vec![4];
        for name in ["memory", "b", "c", "__wbindgen_x"] {
            write_text(&mut expected, name);
            expected.extend_from_slice(&[0, 7]);
        }
        assert_eq!(short, expected);
        Ok(())
    }

    #[test]
    fn no_name_comes_twice() {
        let names: std::collections::BTreeSet<String> = (0..2_000).map(short_name).collect();
        assert_eq!(names.len(), 2_000);
        assert_eq!([0, 25, 26, 27].map(short_name), ["a", "z", "aa", "ba"]);
    }
}
