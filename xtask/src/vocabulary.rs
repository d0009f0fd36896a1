//! One vocabulary for the page: a text that is said in two places of `frontend/src` stands in
//! `words.rs`, and no text has another word for what already has a name. `index.html` says some of
//! them once more, for the time before the page runs: in the same words.
//!
//! Texts are string literals that somebody can come to see: such as have a word in them and either
//! a space or a capital at the beginning. Classes, addresses, keys, names of attributes and of
//! fields are none; nor is what tests say.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result};
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

use crate::{shell, text::sources};

/// The page's sources.
const PAGE: &str = "frontend/src";

/// What is there before the page runs, or where it cannot.
const SHELL: &str = "index.html";

/// Words that are not used in a text, and the one that is. Numbers have the units of
/// `frontend/src/format.rs`.
const SYNONYMS: &[(&str, &str)] = &[
    ("metric", "series"),
    ("metrics", "series"),
    ("timeseries", "series"),
    ("point", "sample"),
    ("points", "samples"),
    ("datapoint", "sample"),
    ("datapoints", "samples"),
    ("measurement", "sample"),
    ("measurements", "samples"),
    ("tag", "label"),
    ("tags", "labels"),
    ("dimension", "label"),
    ("average", "mean"),
    ("avg", "mean"),
    ("rejected", "refused"),
    ("dropped", "lost"),
    ("skipped", "lost"),
    ("frozen", "paused"),
    ("reconnecting", "trying again"),
    ("signed", "logged in"),
    ("login", "log in"),
    ("rps", "req/s"),
    ("percent", "%"),
    ("millisecond", "ms"),
    ("milliseconds", "ms"),
    ("msec", "ms"),
    ("second", "s"),
    ("seconds", "s"),
    ("secs", "s"),
];

/// Keys of a keyboard have names that look like texts.
const KEYS: &[&str] = &[
    "Enter",
    "Tab",
    "Escape",
    "Home",
    "End",
    "PageUp",
    "PageDown",
    "ArrowUp",
    "ArrowDown",
    "ArrowLeft",
    "ArrowRight",
];

/// Attributes whose text is shown or read out; `label` and `valuetext` are ends of `aria-…`.
const SEEN: &[&str] = &["label", "valuetext", "placeholder", "title", "alt"];

/// Attributes in whose braces nothing is shown.
const UNSEEN: &[&str] = &["class", "style", "d", "href", "id"];

/// Macros and methods whose text goes to developers, or into a class.
const UNSHOWN: &[&str] = &[
    "classes",
    "assert",
    "assert_eq",
    "assert_ne",
    "debug_assert",
    "debug_assert_eq",
    "panic",
    "unreachable",
    "expect",
    "debug_struct",
];

/// Everything that is against the rules, a line each.
///
/// # Errors
/// A file cannot be read, or is not Rust.
pub(crate) fn findings() -> Result<Vec<String>> {
    let mut texts = Texts::default();
    for file in sources(&shell::root())? {
        let is_rust = file.extension().is_some_and(|extension| extension == "rs");
        if !is_rust || !file.starts_with(PAGE) || file.ends_with("tests.rs") {
            continue;
        }
        let source = fs::read_to_string(shell::root().join(&file))?;
        texts
            .read(&file, &source)
            .with_context(|| file.display().to_string())?;
    }
    let shell_source = fs::read_to_string(shell::root().join(SHELL))?;
    let mut findings = texts.findings();
    findings.extend(findings_of_shell(&shell_source));
    Ok(findings)
}

/// What is against the rules in the page before it runs: other words for what has a name. Texts
/// that the application says, too, are no findings: it takes their place.
fn findings_of_shell(source: &str) -> Vec<String> {
    let mut findings = Vec::new();
    for (line, text) in texts_of_html(source) {
        findings.extend(synonyms(&text).map(|(word, name)| {
            format!("{SHELL}:{line}: {text:?} has {word:?}, which the page calls {name:?}")
        }));
    }
    findings
}

/// What a reader can come to see of a file of HTML, with the line of each: texts between tags,
/// those of [`SEEN`] attributes and of the description, and those that its scripts have in double
/// quotes.
fn texts_of_html(source: &str) -> Vec<(usize, String)> {
    let mut texts = Vec::new();
    let mut rest = source;
    while !rest.is_empty() {
        let line = 1 + source[..source.len() - rest.len()].matches('\n').count();
        if let Some(comment) = rest.strip_prefix("<!--") {
            rest = comment.split_once("-->").map_or("", |(_, after)| after);
        } else if let Some(tag) = rest.strip_prefix('<') {
            let (tag, after) = tag.split_once('>').unwrap_or((tag, ""));
            let is_description = tag.contains("name=\"description\"");
            for (name, value) in attributes_of(tag) {
                let name = name.trim_start_matches("aria-");
                if SEEN.contains(&name) || is_description && name == "content" {
                    texts.push((line, value.to_owned()));
                }
            }
            rest = after;
            if tag.starts_with("script") {
                let (script, after) = rest.split_once("</script").unwrap_or((rest, ""));
                for (number, of_line) in script.lines().enumerate() {
                    let code = of_line.split("//").next().unwrap_or_default();
                    let quoted = code.split('"').skip(1).step_by(2);
                    texts.extend(quoted.map(|text| (line + number, text.to_owned())));
                }
                rest = after;
            }
        } else {
            let (text, _) = rest.split_once('<').unwrap_or((rest, ""));
            texts.push((line, text.trim().to_owned()));
            rest = &rest[text.len()..];
        }
    }
    texts.retain(|(_, text)| is_text(text));
    texts
}

/// Names and values of a tag's attributes, such as have one in double quotes.
fn attributes_of(tag: &str) -> impl Iterator<Item = (&str, &str)> {
    let parts: Vec<&str> = tag.split('"').collect();
    let pairs = parts.chunks_exact(2).map(|pair| {
        let name = pair[0].trim_end().trim_end_matches('=');
        let name = name.rsplit(char::is_whitespace).next().unwrap_or_default();
        (name, pair[1])
    });
    pairs.collect::<Vec<_>>().into_iter()
}

/// A text's places: file and line.
type Places = Vec<(String, usize)>;

/// Every text, as it reads, with its places.
#[derive(Default)]
struct Texts(BTreeMap<String, Places>);

impl Texts {
    fn read(&mut self, file: &Path, source: &str) -> Result<()> {
        let tokens: TokenStream = source
            .parse()
            .map_err(|error| anyhow::anyhow!("not Rust: {error}"))?;
        self.walk(&file.display().to_string(), tokens, false);
        Ok(())
    }

    /// `in_markup` is inside of `html!`, where a literal behind `name=` is an attribute.
    fn walk(&mut self, file: &str, tokens: TokenStream, in_markup: bool) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at += 1;
            let before = &tokens[..at - 1];
            match token {
                TokenTree::Punct(mark) if mark.as_char() == '#' => {
                    // `#![…]`, such as the head of a file.
                    at += usize::from(is_mark(tokens.get(at), '!'));
                    if let Some(attribute) = attribute(&tokens[at..]) {
                        at += 1;
                        if attribute.replace(' ', "") == "cfg(test)" {
                            at += item(&tokens[at..]);
                        }
                    }
                }
                TokenTree::Literal(literal) => {
                    let is_seen = !in_markup
                        || attribute_of(before).is_none_or(|name| SEEN.contains(&&*name));
                    if let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string())
                        && is_seen
                    {
                        self.add(file, literal.span().start().line, &text.value());
                    }
                }
                TokenTree::Group(group) => {
                    let hidden = in_markup
                        && attribute_of(before).is_some_and(|name| UNSEEN.contains(&&*name));
                    if !hidden && !is_unshown(before) {
                        self.walk(file, group.stream(), is_markup(before, group, in_markup));
                    }
                }
                _ => {}
            }
        }
    }

    fn add(&mut self, file: &str, line: usize, text: &str) {
        if is_text(text) {
            let places = self.0.entry(without_values(text)).or_default();
            places.push((file.to_owned(), line));
        }
    }

    fn findings(&self) -> Vec<String> {
        let mut findings = Vec::new();
        for (text, places) in &self.0 {
            if let [(first, first_line), others @ ..] = places.as_slice() {
                findings.extend(others.iter().map(|(file, line)| {
                    format!(
                        "{file}:{line}: {text:?} is said at {first}:{first_line}, too; what is \
                         said twice stands in {PAGE}/words.rs"
                    )
                }));
            }
            for (file, line) in places {
                findings.extend(synonyms(text).map(|(word, name)| {
                    format!("{file}:{line}: {text:?} has {word:?}, which the page calls {name:?}")
                }));
            }
        }
        findings
    }
}

fn is_mark(token: Option<&TokenTree>, character: char) -> bool {
    matches!(token, Some(TokenTree::Punct(mark)) if mark.as_char() == character)
}

/// What is in `[…]` right here.
fn attribute(tokens: &[TokenTree]) -> Option<String> {
    match tokens.first() {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Bracket => {
            Some(group.stream().to_string())
        }
        _ => None,
    }
}

/// Tokens up to the end of the item that begins here.
fn item(tokens: &[TokenTree]) -> usize {
    let end = tokens.iter().position(|token| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(mark) => mark.as_char() == ';',
        _ => false,
    });
    end.map_or(tokens.len(), |end| end + 1)
}

/// The name in `name=`, which these tokens end in; of `aria-label=` the last part.
fn attribute_of(before: &[TokenTree]) -> Option<String> {
    match before {
        [.., TokenTree::Ident(name), TokenTree::Punct(mark)] if mark.as_char() == '=' => {
            Some(name.to_string())
        }
        _ => None,
    }
}

/// Whether these tokens end in `name!` or `name` of [`UNSHOWN`].
fn is_unshown(before: &[TokenTree]) -> bool {
    let before = match before {
        [before @ .., TokenTree::Punct(mark)] if mark.as_char() == '!' => before,
        all => all,
    };
    matches!(before, [.., TokenTree::Ident(name)] if UNSHOWN.contains(&&*name.to_string()))
}

/// `html! { … }` and the braces of tags in it are markup; braces in markup hold Rust, in which
/// `name = "…"` is no attribute.
fn is_markup(before: &[TokenTree], group: &Group, in_markup: bool) -> bool {
    let opens = matches!(before, [.., TokenTree::Ident(name), TokenTree::Punct(mark)]
        if name == "html" && mark.as_char() == '!');
    // `if … { <p>…</p> }` holds markup again.
    let tag = matches!(
        group.stream().into_iter().next(),
        Some(TokenTree::Punct(mark)) if mark.as_char() == '<'
    );
    opens || (in_markup && tag)
}

fn is_text(text: &str) -> bool {
    let said = without_values(text);
    let mut letters = 0;
    let has_word = said.chars().any(|character| {
        letters = if character.is_alphabetic() {
            letters + 1
        } else {
            0
        };
        letters == 3
    });
    let begins = text.trim().starts_with(char::is_uppercase);
    let is_code = said.starts_with(['.', '/', '[', ':', '#']);
    has_word && !is_code && (begins || said.contains(' ')) && !KEYS.contains(&text)
}

/// The text in small letters, every `{…}` of it empty: those say the same.
fn without_values(text: &str) -> String {
    let mut said = String::new();
    let mut depth = 0_usize;
    for character in text.trim().chars() {
        match character {
            '{' => {
                depth += 1;
                said.push(character);
            }
            '}' => {
                depth = depth.saturating_sub(1);
                said.push(character);
            }
            _ if depth == 0 => said.push(character),
            _ => {}
        }
    }
    said.to_lowercase()
}

/// Words of `text` that have another name here. Paths such as `/metrics` are what they are.
fn synonyms(text: &str) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    let words: Vec<String> = text
        .split_whitespace()
        .filter(|word| !word.starts_with('/'))
        .flat_map(|word| word.split('/'))
        .map(|word| {
            let word = word.trim_matches(|character: char| !character.is_alphanumeric());
            word.to_lowercase()
        })
        .collect();
    SYNONYMS
        .iter()
        .filter(move |(word, _)| words.iter().any(|other| other == word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings_of(files: &[(&str, &str)]) -> Vec<String> {
        let mut texts = Texts::default();
        for (file, source) in files {
            texts.read(Path::new(file), source).expect("Rust");
        }
        texts.findings()
    }

    #[test]
    fn a_text_in_two_files_is_found() {
        let found = findings_of(&[
            (
                "a.rs",
                "fn a() -> Html { html! { <p>{ \"Nothing here yet\" }</p> } }",
            ),
            (
                "b.rs",
                "fn b() -> &'static str {\n    \"Nothing here yet\"\n}",
            ),
        ]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("b.rs:2: "), "{found:?}");
        assert!(found[0].contains("words.rs"), "{found:?}");
    }

    #[test]
    fn a_text_that_is_shown_and_read_out_is_found() {
        let markup = r#"fn a() -> Html {
            html! { <section aria-label="Charts"><h2>{ "Charts" }</h2></section> }
        }"#;
        assert_eq!(findings_of(&[("a.rs", markup)]).len(), 1);
        let placeholder = r#"fn a() -> Html {
            html! { if known { <input aria-label="Message" placeholder="Message" /> } }
        }"#;
        assert_eq!(findings_of(&[("a.rs", placeholder)]).len(), 1);
    }

    #[test]
    fn figures_and_a_capital_make_no_other_text() {
        let found = findings_of(&[(
            "a.rs",
            r#"fn a() { f(format!("Stopped {age} ago")); f(format!("stopped {} ago", 3)); }"#,
        )]);
        assert_eq!(found.len(), 1, "{found:?}");
    }

    #[test]
    fn what_nobody_sees_is_no_text() {
        let source = r#"
            //! Nothing here yet
            /// Nothing here yet
            #[expect(lint, reason = "Nothing here yet")]
            fn a() -> Html {
                let key = "ArrowLeft";
                let other = "ArrowLeft";
                known.expect("Nothing here yet");
                html! {
                    <button class="button button--small" type="button" data-of="Button small">
                        <i class={classes!("button button--small")} />
                        <i class={if known { "button button--small" } else { "button" }} />
                    </button>
                }
            }
            fn path() -> [&'static str; 4] { ["/api/a b", "/api/a b", ".row a", ".row a"] }
            #[cfg(test)]
            mod tests {
                fn b() { f("Nothing here yet"); f("Nothing here yet"); }
            }
        "#;
        assert_eq!(findings_of(&[("a.rs", source)]), [""; 0]);
    }

    #[test]
    fn another_word_for_the_same_is_found() {
        let found = findings_of(&[("a.rs", r#"fn a() { f("No metrics, and 3 points/s") }"#)]);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("\"series\""), "{found:?}");
        assert_eq!(
            findings_of(&[(
                "a.rs",
                r#"fn a() { f("Such as https://metrics.example.org or METRIC_SOURCE") }"#
            )]),
            [""; 0]
        );
    }

    #[test]
    fn the_page_before_it_runs_has_the_same_words() {
        let html = "<html>\n<!-- metrics -->\n<meta name=\"description\" content=\"Live metrics\">\n\
                    <script>\n// no metrics\nvar metrics = 1; f(\"No points came: \" + metrics);\n</script>\n\
                    <p class=\"metrics of it\" aria-label=\"All the metrics\">Said twice, in /metrics</p><h2>\n An average of it</h2>\n\
                    <p>Said twice, in /metrics</p></html>";
        let found = findings_of_shell(html);
        let places: Vec<&str> = found
            .iter()
            .filter_map(|text| text.split(": ").next())
            .collect();
        assert_eq!(
            places,
            [
                "index.html:3",
                "index.html:6",
                "index.html:8",
                "index.html:8"
            ],
            "{found:?}"
        );
    }

    #[test]
    fn the_page_has_one_vocabulary() {
        assert_eq!(findings().expect("read"), [""; 0]);
    }
}
