//! What is offered while an expression is typed: which names fit what is there already, the likely
//! ones first, and what is put in their place.

use super::{
    expression::{Wanted, wanted},
    functions,
};

/// Names that are offered at once.
pub const OFFERED_MAX: usize = 12;

/// One of what is offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// What is read: the name, or a function with its arguments.
    pub text: String,
    /// What comes of it.
    pub detail: &'static str,
    /// What is put in.
    insert: String,
}

/// Which of the server's questions has the names that are wanted at `caret`; `None` where nothing
/// is.
#[must_use]
pub fn source(text: &str, caret: usize) -> Option<String> {
    use crate::net::config::encode_query;
    let of = |series: &str| match series {
        "" => String::new(),
        series => format!("&match[]={}", encode_query(series)),
    };
    match wanted(text, caret) {
        Wanted::Nothing => None,
        Wanted::Name { .. } => Some("/api/v1/label/__name__/values?limit=10000".to_owned()),
        Wanted::Label { series, .. } => Some(format!("/api/v1/labels?limit=1000{}", of(&series))),
        Wanted::Value { label, series, .. } => Some(format!(
            "/api/v1/label/{}/values?limit=1000{}",
            encode_query(&label),
            of(&series)
        )),
    }
}

/// How well `name` fits what was typed: the less the better; `None` not at all.
fn fit(name: &str, typed: &str) -> Option<usize> {
    let (name, typed) = (name.to_ascii_lowercase(), typed.to_ascii_lowercase());
    if name.starts_with(&typed) {
        return Some(0);
    }
    // The beginning of one of its words, before any place inside of one.
    let place = name.find(&typed)?;
    let inside = !matches!(name.as_bytes()[place - 1], b'_' | b':' | b'.' | b'-');
    Some(1 + usize::from(inside))
}

/// What fits at `caret`, the likely ones first.
#[must_use]
pub fn offers(text: &str, caret: usize, names: &[&str]) -> Vec<Offer> {
    let mut best: Vec<(usize, usize, Offer)> = Vec::new();
    let mut offer = |typed: &str, name: &str, make: &dyn Fn() -> Offer| {
        let Some(fit) = fit(name, typed) else {
            return;
        };
        let key = (fit, name.len());
        let place = best.partition_point(|(fit, length, _)| (*fit, *length) <= key);
        if place < OFFERED_MAX {
            best.insert(place, (key.0, key.1, make()));
            best.truncate(OFFERED_MAX);
        }
    };
    let (from, behind) = match wanted(text, caret) {
        Wanted::Nothing => return Vec::new(),
        Wanted::Name { from } => {
            let typed = &text[from..caret];
            for function in functions::all() {
                offer(typed, function.name, &|| Offer {
                    text: function.signature.to_owned(),
                    detail: function.what,
                    insert: [function.name, "("].concat(),
                });
            }
            (from, "")
        }
        Wanted::Label { from, .. } => {
            // In a list of labels to group by, nothing is compared.
            let is_compared = text[..from].trim_end().ends_with(['{', ','])
                && text[..from].rfind('{') > text[..from].rfind('(');
            (from, if is_compared { "=\"" } else { "" })
        }
        Wanted::Value { from, .. } => {
            let mark = text[from - 1..].chars().next();
            let is_closed = text[caret..].chars().next() == mark;
            let behind = match mark {
                _ if is_closed => "",
                Some('\'') => "'",
                Some('`') => "`",
                _ => "\"",
            };
            (from, behind)
        }
    };
    let typed = &text[from..caret];
    for name in names {
        if *name != "__name__" {
            offer(typed, name, &|| Offer {
                text: (*name).to_owned(),
                detail: "",
                insert: [name, behind].concat(),
            });
        }
    }
    let offers: Vec<Offer> = best.into_iter().map(|(_, _, offer)| offer).collect();
    // What is there already is no offer.
    match offers.as_slice() {
        [only] if only.insert == typed => Vec::new(),
        _ => offers,
    }
}

/// The text with `offer` in it, and where the caret is then.
#[must_use]
pub fn taken(text: &str, caret: usize, offer: &Offer) -> (String, usize) {
    let from = match wanted(text, caret) {
        Wanted::Nothing => caret,
        Wanted::Name { from } | Wanted::Label { from, .. } | Wanted::Value { from, .. } => from,
    };
    let mut rest = &text[caret..];
    // The rest of the word that the caret is in goes with it.
    if !offer.insert.ends_with(['"', '\'', '`']) || offer.insert.ends_with("=\"") {
        rest =
            rest.trim_start_matches(|letter: char| letter.is_ascii_alphanumeric() || letter == '_');
    }
    for end in ["(", "=\""] {
        if offer.insert.ends_with(end) && rest.starts_with(&end[..1]) {
            let insert = offer.insert.trim_end_matches(end);
            return ([&text[..from], insert, rest].concat(), from + insert.len());
        }
    }
    let end = from + offer.insert.len();
    ([&text[..from], &offer.insert, rest].concat(), end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[&str] = &[
        "node_cpu_seconds_total",
        "cpu_usage",
        "up",
        "http_requests_total",
        "__name__",
    ];

    fn at_caret(text: &str, names: &[&str]) -> (String, usize, Vec<Offer>) {
        let caret = text.find('|').expect("a caret");
        let text = text.replace('|', "");
        let offers = offers(&text, caret, names);
        (text, caret, offers)
    }

    fn texts(text: &str, names: &[&str]) -> Vec<String> {
        let (_, _, offers) = at_caret(text, names);
        offers.into_iter().map(|offer| offer.text).collect()
    }

    #[test]
    fn the_likely_names_come_first() {
        assert_eq!(
            texts("rate(cpu|", NAMES),
            ["cpu_usage", "node_cpu_seconds_total"]
        );
        assert_eq!(texts("topk|", NAMES), ["topk(s, v)"]);
        assert_eq!(texts("up|", NAMES)[0], "up");
        assert_eq!(
            texts("up{|", &["job", "__name__", "instance"]),
            ["job", "instance"]
        );
        assert!(texts("up{job=\"a|\"}", &["b"]).is_empty());
        assert_eq!(texts("a|", NAMES).len(), OFFERED_MAX);
        assert!(texts("up[|", NAMES).is_empty());
    }

    #[test]
    fn what_is_taken_stands_where_it_belongs() {
        for (text, names, result) in [
            ("rat|", NAMES, "rate(|"),
            ("rat|(up[5m])", NAMES, "rate|(up[5m])"),
            ("rate(node|", NAMES, "rate(node_cpu_seconds_total|"),
            ("cpu_us|x + 1", NAMES, "cpu_usage| + 1"),
            ("up{jo|", &["job"][..], "up{job=\"|"),
            ("up{jo|=\"a\"}", &["job"], "up{job|=\"a\"}"),
            ("sum by (jo|) (up)", &["job"], "sum by (job|) (up)"),
            (
                "sum by (a, jo|) (up{b=\"1\"})",
                &["job"],
                "sum by (a, job|) (up{b=\"1\"})",
            ),
            ("up{job=\"no|", &["node"], "up{job=\"node\"|"),
            ("up{job=\"no|\"}", &["node"], "up{job=\"node|\"}"),
            ("up{job='no|", &["node"], "up{job='node'|"),
        ] {
            let (text, caret, offers) = at_caret(text, names);
            let (mut taken, caret) = taken(&text, caret, offers.first().expect("an offer"));
            taken.insert(caret, '|');
            assert_eq!(taken, result);
        }
    }

    #[test]
    fn names_come_from_where_they_are_known() {
        let source = |text: &str| {
            let caret = text.find('|').expect("a caret");
            source(&text.replace('|', ""), caret)
        };
        assert_eq!(
            source("u|").as_deref(),
            Some("/api/v1/label/__name__/values?limit=10000")
        );
        assert_eq!(
            source("up{|").as_deref(),
            Some("/api/v1/labels?limit=1000&match[]=up")
        );
        assert_eq!(
            source("{job=\"|").as_deref(),
            Some("/api/v1/label/job/values?limit=1000")
        );
        assert_eq!(source("1 + |"), None);
    }
}
