//! The script that wasm-bindgen wrote, without what nothing needs: functions that the WebAssembly
//! no longer takes once `wasm-opt` has run, what only they called, comments and indentation.

use std::collections::BTreeSet;

/// Where the functions stand that WebAssembly takes, and where others do; each ends in a line that
/// begins as far in.
const IMPORT: &str = "        ";
const OWN: [&str; 2] = ["function ", "    function "];

/// The script without the functions that are not in `imported`, and without those that nothing
/// calls then.
pub(crate) fn prune(script: &str, imported: &BTreeSet<String>) -> String {
    let mut lines: Vec<&str> = script.lines().collect();
    let mut at = 0;
    while at < lines.len() {
        let is_spare = import_name(lines[at]).is_some_and(|name| !imported.contains(name));
        match end(&lines, at, IMPORT).filter(|_| is_spare) {
            Some(end) => drop(lines.drain(at..=end)),
            None => at += 1,
        }
    }
    while let Some((from, to)) = uncalled(&lines) {
        lines.drain(from..=to);
    }
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}

/// The name of a function that WebAssembly may take, as wasm-bindgen gives it.
fn import_name(line: &str) -> Option<&str> {
    let (name, rest) = line.strip_prefix(IMPORT)?.split_once(": ")?;
    let is_import = name.starts_with("__wb") && rest.starts_with("function");
    is_import.then_some(name)
}

/// The line that closes what begins in line `from`, which is indented so.
fn end(lines: &[&str], from: usize, indent: &str) -> Option<usize> {
    let is_end = |line: &&str| {
        line.strip_prefix(indent)
            .is_some_and(|rest| rest.starts_with('}'))
    };
    let behind = lines.get(from + 1..)?.iter().position(is_end)?;
    Some(from + 1 + behind)
}

/// A function whose name stands nowhere but in itself.
fn uncalled(lines: &[&str]) -> Option<(usize, usize)> {
    (0..lines.len()).find_map(|from| {
        let before = OWN
            .iter()
            .find(|before| lines[from].starts_with(**before))?;
        let (name, _) = lines[from][before.len()..].split_once('(')?;
        let to = end(lines, from, before.trim_end_matches("function "))?;
        let mut others = lines[..from].iter().chain(&lines[to + 1..]);
        let is_called = others.any(|line| crate::text::has_word(line, name));
        (!is_called).then_some((from, to))
    })
}

/// The script without lines that are comments, indentation and empty lines. wasm-bindgen writes no
/// text that spans lines, and no comment behind code that would have to go.
pub(crate) fn without_comments(script: &str) -> String {
    let mut is_comment = false;
    let mut plain = String::with_capacity(script.len());
    for line in script.lines().map(str::trim) {
        is_comment |= line.starts_with("/*");
        if is_comment {
            is_comment = !line.ends_with("*/");
        } else if !line.is_empty() && !line.starts_with("//") {
            plain.push_str(line);
            plain.push('\n');
        }
    }
    plain
}

/// Signs that need no space beside them where a line has no text in quotation marks.
const SIGNS: &str = "=+*/(){},;:?<>&|!";

/// What wasm-bindgen's own helpers are called, and by which names they do the same.
const HELPERS: [(&str, &str); 6] = [
    ("WASM_VECTOR_LEN", "$L"),
    ("getDataViewMemory0", "$D"),
    ("getStringFromWasm0", "$S"),
    ("handleError", "$E"),
    ("isLikeNone", "$N"),
    ("passStringToWasm0", "$P"),
];

/// The script of [`without_comments`] in fewer words: arguments by short names, results returned as
/// they are made, no spaces that nothing needs.
pub(crate) fn shorter(script: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in script.lines() {
        let line = short_line(line);
        // `const ret=…;` and `return ret;` behind it.
        if line == "return ret;"
            && let Some(made) = lines
                .last_mut()
                .filter(|last| last.starts_with("const ret=") && last.ends_with(';'))
        {
            *made = format!("return {}", &made["const ret=".len()..]);
            continue;
        }
        lines.push(line);
    }
    lines
        .iter()
        .flat_map(|line| [line.as_str(), "\n"])
        .collect()
}

fn short_line(line: &str) -> String {
    // `arg0` is what wasm-bindgen calls a first argument, and what it calls nothing else.
    let mut short = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find("arg") {
        let digits = rest[at + 3..]
            .bytes()
            .take_while(u8::is_ascii_digit)
            .count();
        let is_word =
            |one: Option<char>| one.is_some_and(|one| one.is_alphanumeric() || one == '_');
        let end = at + 3 + digits;
        let is_argument = digits > 0
            && !is_word(rest[..at].chars().next_back())
            && !is_word(rest[end..].chars().next());
        short.push_str(&rest[..at]);
        short.push_str(if is_argument { "$" } else { "arg" });
        short.push_str(&rest[at + 3..end]);
        rest = &rest[end..];
    }
    short.push_str(rest);
    for (name, other) in HELPERS {
        if crate::text::has_word(&short, name) {
            short = short.replace(name, other);
        }
    }
    if short.contains(['"', '\'', '`', '\\']) {
        return short;
    }
    let mut dense = String::with_capacity(short.len());
    let mut letters = short.chars().peekable();
    while let Some(letter) = letters.next() {
        let beside_a_sign = dense.ends_with(|last| SIGNS.contains(last))
            || letters.peek().is_some_and(|next| SIGNS.contains(*next));
        if letter != ' ' || !beside_a_sign {
            dense.push(letter);
        }
    }
    dense
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_in_fewer_words_says_the_same() {
        let script = "\
a: function(arg0, arg10) {
const ret = arg0 === undefined ? arg10 - 1 : arg0 >>> 0;
return ret;
},
const ret = margin0 + arg1x;
handleError(getStringFromWasm0(arg1, arg2));
const name = 'arg0 = 1';
return ret;
return a in b;
";
        assert_eq!(
            shorter(script),
            "\
a:function($0,$10){
return $0===undefined?$10 - 1:$0>>>0;
},
const ret=margin0+arg1x;
$E($S($1,$2));
const name = '$0 = 1';
return ret;
return a in b;
"
        );
    }

    #[test]
    fn what_nothing_calls_goes_and_the_rest_stays() {
        let script = "\
function imports() {
    const import0 = {
        a: function(arg0) {
            return helper(arg0);
        },
        __wbg_debug_01: function(arg0) {
            return debug(arg0);
        },
        __wbg_open_02: function() { return handle(function (arg0) {
            arg0.open();
        }, arguments); },
        __wbg_kept_03: function() {
        },
    };
}
function debug(value) {
    return Array.from(value, debug).map(inner);
}
function inner(value) {
    return value;
}
function handle(f) {
    f();
}
function helper(value) {
    return value;
}
export { imports as default };
";
        let imported = BTreeSet::from(["a".to_owned(), "__wbg_kept_03".to_owned()]);
        assert_eq!(
            prune(script, &imported),
            "\
function imports() {
    const import0 = {
        a: function(arg0) {
            return helper(arg0);
        },
        __wbg_kept_03: function() {
        },
    };
}
function helper(value) {
    return value;
}
export { imports as default };
"
        );
    }

    #[test]
    fn a_script_loses_comments_and_nothing_else() {
        let script = "/**\n * Runs.\n */\nfunction run() {\n    // now\n    return `a // b`;\n}\n/* x */\n\nrun();\n";
        assert_eq!(
            without_comments(script),
            "function run() {\nreturn `a // b`;\n}\nrun();\n"
        );
    }
}
