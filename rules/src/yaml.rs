//! YAML as a tree in which everything has its place.
//!
//! Scalars stay as they are written: what a text means is decided by whoever reads the field, as in
//! Go, where `expr: 1` is a text. Aliases are copied and `<<` is merged; both are bounded.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

/// Line and column, from 1.
pub(crate) type Place = (usize, usize);

/// How deep a document may be.
const DEPTH_MAX: usize = 64;

/// Nodes of a file, those that aliases copy among them.
const NODES_MAX: usize = 2_000_000;

/// Something in a document.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) kind: NodeKind,
}

#[derive(Clone, Debug)]
pub(crate) enum NodeKind {
    /// A text, and whether it stands without quotation marks.
    Scalar(String, bool),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

/// What is wrong with a text that is no YAML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Syntax {
    pub(crate) place: Place,
    pub(crate) what: String,
}

impl Node {
    /// A text; none where it is a list or a map.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.kind {
            // `~` is no text.
            NodeKind::Scalar(..) if self.is_null() => Some(""),
            NodeKind::Scalar(text, _) => Some(text),
            NodeKind::List(_) | NodeKind::Map(_) => None,
        }
    }

    /// Whether nothing is said.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.kind, NodeKind::Scalar(text, true)
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        let NodeKind::Map(pairs) = &self.kind else {
            return None;
        };
        pairs
            .iter()
            .find(|(known, _)| known.text() == Some(key))
            .map(|(_, value)| value)
    }

    /// What it is, as Go's YAML says it in an error: "!!str `foo`".
    pub(crate) fn told(&self) -> String {
        match &self.kind {
            NodeKind::List(_) => "!!seq".to_owned(),
            NodeKind::Map(_) => "!!map".to_owned(),
            NodeKind::Scalar(text, is_plain) => {
                let tag = if *is_plain { tag(text) } else { "!!str" };
                let shown: String = match text.chars().count() > 10 {
                    true => text.chars().take(7).chain("...".chars()).collect(),
                    false => text.clone(),
                };
                format!("{tag} `{shown}`")
            }
        }
    }

    fn count(&self) -> usize {
        match &self.kind {
            NodeKind::Scalar(..) => 1,
            NodeKind::List(items) => 1 + items.iter().map(Self::count).sum::<usize>(),
            NodeKind::Map(pairs) => {
                1 + pairs
                    .iter()
                    .map(|(key, value)| key.count() + value.count())
                    .sum::<usize>()
            }
        }
    }

    fn depth(&self) -> usize {
        1 + match &self.kind {
            NodeKind::Scalar(..) => 0,
            NodeKind::List(items) => items.iter().map(Self::depth).max().unwrap_or_default(),
            NodeKind::Map(pairs) => pairs
                .iter()
                .map(|(_, value)| value.depth())
                .max()
                .unwrap_or_default(),
        }
    }
}

/// What a plain scalar is to Go's YAML.
fn tag(text: &str) -> &'static str {
    if matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return "!!null";
    }
    if matches!(text, "true" | "True" | "TRUE" | "false" | "False" | "FALSE") {
        return "!!bool";
    }
    let plain = text.replace('_', "");
    let digits = plain.trim_start_matches(['+', '-']);
    let is_int = [("0x", 16), ("0o", 8), ("0b", 2)]
        .iter()
        .find_map(|(prefix, radix)| {
            digits
                .strip_prefix(prefix)
                .map(|rest| i64::from_str_radix(rest, *radix).is_ok())
        })
        .unwrap_or_else(|| plain.parse::<i64>().is_ok());
    if is_int {
        return "!!int";
    }
    let is_number = digits
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_digit() || byte == b'.');
    match is_number
        && (plain.parse::<f64>().is_ok() || matches!(digits, ".inf" | ".Inf" | ".nan" | ".NaN"))
    {
        true => "!!float",
        false => "!!str",
    }
}

/// A whole number, as Go's YAML takes one.
pub(crate) fn int(node: &Node) -> Option<i64> {
    match &node.kind {
        NodeKind::Scalar(_, true) if node.is_null() => Some(0),
        NodeKind::Scalar(text, true) => {
            let plain = text.replace('_', "");
            let (sign, digits) = match plain.strip_prefix('-') {
                Some(digits) => (-1, digits),
                None => (1, plain.strip_prefix('+').unwrap_or(&plain)),
            };
            let radixes = [("0x", 16), ("0o", 8), ("0b", 2)];
            let number = radixes.iter().find_map(|(prefix, radix)| {
                digits
                    .strip_prefix(prefix)
                    .map(|rest| i64::from_str_radix(rest, *radix).ok())
            });
            match number {
                Some(number) => number.map(|number| sign * number),
                None => digits.parse::<i64>().ok().map(|number| sign * number),
            }
        }
        _ => None,
    }
}

/// As [`int`]; of 1.5 the whole part, as Go takes it into a field of whole numbers.
pub(crate) fn whole(node: &Node) -> Option<i64> {
    int(node).or_else(|| {
        let NodeKind::Scalar(text, true) = &node.kind else {
            return None;
        };
        let digits = text.trim_start_matches(['+', '-']);
        let number: f64 = text.parse().ok()?;
        let is_number = digits.starts_with(|one: char| one.is_ascii_digit());
        (is_number && number.abs() < 9e15).then_some(number as i64)
    })
}

/// Where a level of the tree is being read.
enum Open {
    List(Place, usize, Vec<Node>),
    Map(Place, usize, Vec<(Node, Node)>, Option<Node>),
}

/// All documents of a text up to where it is no YAML, and what is wrong there.
pub(crate) fn documents(text: &str) -> (Vec<Node>, Option<Syntax>) {
    let mut documents = Vec::new();
    let mut builder = Builder {
        lines: text.lines().collect(),
        ..Builder::default()
    };
    let mut parser = Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    while let Some(event) = parser.next_event() {
        let next = match event {
            Ok((event, span)) => builder.take(event, span, &mut documents),
            Err(error) => Err(Syntax {
                place: (error.marker().line(), error.marker().col() + 1),
                what: error.info().to_owned(),
            }),
        };
        match next {
            Ok(true) => {}
            Ok(false) => break,
            Err(syntax) => return (documents, Some(syntax)),
        }
    }
    (documents, None)
}

#[derive(Default)]
struct Builder<'t> {
    lines: Vec<&'t str>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
}

fn place(span: Span) -> Place {
    (span.start.line(), span.start.col() + 1)
}

impl Builder<'_> {
    fn take(
        &mut self,
        event: Event<'_>,
        span: Span,
        documents: &mut Vec<Node>,
    ) -> Result<bool, Syntax> {
        let at = place(span);
        let node = match event {
            Event::StreamEnd => return Ok(false),
            Event::DocumentStart(_) => {
                self.anchors.clear();
                return Ok(true);
            }
            Event::Nothing | Event::StreamStart | Event::DocumentEnd => return Ok(true),
            Event::SequenceStart(anchor, _) => {
                self.deeper(at)?;
                self.open.push(Open::List(at, anchor, Vec::new()));
                return Ok(true);
            }
            Event::MappingStart(anchor, _) => {
                self.deeper(at)?;
                self.open.push(Open::Map(at, anchor, Vec::new(), None));
                return Ok(true);
            }
            Event::Scalar(text, style, anchor, tag) => {
                let is_plain = style == ScalarStyle::Plain
                    && tag.is_none_or(|tag| !(tag.is_yaml_core_schema() && tag.suffix == "str"));
                let place = match style {
                    ScalarStyle::Literal | ScalarStyle::Folded => self.indicator(at),
                    _ => at,
                };
                let node = Node {
                    place,
                    kind: NodeKind::Scalar(text.into_owned(), is_plain),
                };
                (node, anchor)
            }
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned().ok_or_else(|| Syntax {
                    place: at,
                    what: "an alias to what is not there yet".to_owned(),
                })?;
                self.nodes += node.count();
                if self.open.len() + node.depth() > DEPTH_MAX {
                    return Err(too_deep(at));
                }
                (node, 0)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List(place, anchor, items)) => {
                    let kind = NodeKind::List(items);
                    (Node { place, kind }, anchor)
                }
                Some(Open::Map(place, anchor, pairs, _)) => {
                    let kind = NodeKind::Map(merged(pairs));
                    (Node { place, kind }, anchor)
                }
                None => return Ok(true),
            },
        };
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(Syntax {
                place: at,
                what: format!("more than {NODES_MAX} values, those of aliases counted each time"),
            });
        }
        let (node, anchor) = node;
        if anchor > 0 {
            self.nodes += node.count();
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            None => documents.push(node),
            Some(Open::List(_, _, items)) => items.push(node),
            Some(Open::Map(_, _, pairs, key)) => match key.take() {
                None => *key = Some(node),
                Some(name) => pairs.push((name, node)),
            },
        }
        Ok(true)
    }

    /// Where the `|` or `>` stands of a text below its key; its own place is that of its first
    /// line.
    fn indicator(&self, text: Place) -> Place {
        let Some(Open::Map(_, _, _, Some(key))) = self.open.last() else {
            return text;
        };
        let (line, column) = key.place;
        let behind = self.lines.get(line - 1).and_then(|line| {
            let mut all = line.chars().enumerate().skip(column);
            all.find(|(_, one)| *one == ':')?;
            all.find(|(_, one)| matches!(one, '|' | '>'))
        });
        behind.map_or(text, |(at, _)| (line, at + 1))
    }

    fn deeper(&self, at: Place) -> Result<(), Syntax> {
        match self.open.len() >= DEPTH_MAX {
            true => Err(too_deep(at)),
            false => Ok(()),
        }
    }
}

fn too_deep(place: Place) -> Syntax {
    Syntax {
        place,
        what: format!("more than {DEPTH_MAX} levels deep"),
    }
}

/// `<<: *other` with what it stands for; what is said beside it goes before.
fn merged(pairs: Vec<(Node, Node)>) -> Vec<(Node, Node)> {
    let is_merge = |key: &Node| matches!(&key.kind, NodeKind::Scalar(text, true) if text == "<<");
    if !pairs.iter().any(|(key, _)| is_merge(key)) {
        return pairs;
    }
    let (merges, mut own): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|(key, _)| is_merge(key));
    for (_, value) in merges {
        let maps = match value.kind {
            NodeKind::List(items) => items,
            _ => vec![value],
        };
        for map in maps {
            if let NodeKind::Map(more) = map.kind {
                for (key, value) in more {
                    if !own.iter().any(|(known, _)| known.text() == key.text()) {
                        own.push((key, value));
                    }
                }
            }
        }
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_has_its_place() {
        let text =
            "a: &x\n  b: [1, 'two']\n  c: |\n    text\nd: *x\ne:\n  <<: *x\n  b: mine\n---\nx\n";
        let (documents, syntax) = documents(text);
        assert_eq!((documents.len(), syntax), (2, None));
        let first = &documents[0];
        let c = first.get("a").and_then(|a| a.get("c")).expect("c");
        assert_eq!((c.place, c.text()), ((3, 6), Some("text\n")));
        let b = first.get("d").and_then(|d| d.get("b")).expect("b");
        let NodeKind::List(items) = &b.kind else {
            panic!("{b:?}");
        };
        assert_eq!(
            (items[1].place, items[1].told()),
            ((2, 10), "!!str `two`".to_owned())
        );
        let e = first.get("e").expect("e");
        assert_eq!(e.get("b").and_then(Node::text), Some("mine"));
        assert_eq!(e.get("c").and_then(Node::text), Some("text\n"));
    }

    #[test]
    fn what_grows_by_aliases_is_refused() {
        let mut text = String::from("a: &a [1,1,1,1,1,1,1,1,1]\n");
        for (last, next) in ('a'..'i').zip('b'..='i') {
            text.push_str(&format!("{next}: &{next} [*{last}, *{last}, *{last}, *{last}, *{last}, *{last}, *{last}, *{last}, *{last}]\n"));
        }
        let (_, syntax) = documents(&text);
        assert!(syntax.expect("too much").what.contains("more than"));
        let deep = "[".repeat(100);
        let (_, syntax) = documents(&deep);
        assert!(syntax.is_some());
    }

    #[test]
    fn plain_texts_are_told_as_go_tells_them() {
        for (text, told) in [
            ("5", "!!int"),
            ("0x1f", "!!int"),
            ("-3", "!!int"),
            ("1.5", "!!float"),
            ("1e3", "!!float"),
            ("true", "!!bool"),
            ("yes", "!!str"),
            ("~", "!!null"),
            ("5m", "!!str"),
            ("inf", "!!str"),
        ] {
            assert_eq!(tag(text), told, "{text}");
        }
    }
}
