//! Relabelling as `<relabel_config>` of Prometheus' documentation has it.

use pulseboard_scrape::{
    LabelSet,
    relabel::{Pattern, Rule, apply},
};

/// The labels after a rule, or nothing where it drops them.
fn after(rule: &str, labels: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
    let rule: Rule = serde_json::from_str(rule).expect(rule);
    let mut labels: LabelSet = labels.iter().copied().collect();
    apply(&[rule], &mut labels).expect("small").then(|| {
        labels
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    })
}

fn some(labels: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
    let owned = labels
        .iter()
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()));
    Some(owned.collect())
}

#[test]
fn replace() {
    let labels = [("a", "foo"), ("b", "bar")];
    for (rule, expected) in [
        // the default pattern and replacement copy, joined by ;
        (
            r#"{"source_labels":["a","b"],"target_label":"c"}"#,
            &[("a", "foo"), ("b", "bar"), ("c", "foo;bar")][..],
        ),
        (
            r#"{"source_labels":["a"],"regex":"f(.*)","target_label":"d","replacement":"ch${1}-ch${1}"}"#,
            &[("a", "foo"), ("b", "bar"), ("d", "choo-choo")],
        ),
        // anchored at both ends
        (
            r#"{"source_labels":["a"],"regex":"o","target_label":"d","replacement":"x"}"#,
            &labels,
        ),
        (
            r#"{"source_labels":["a"],"regex":".*o.*","target_label":"d","replacement":"x"}"#,
            &[("a", "foo"), ("b", "bar"), ("d", "x")],
        ),
        // an empty value is no label
        (r#"{"target_label":"a","replacement":""}"#, &[("b", "bar")]),
        (
            r#"{"source_labels":["nothing"],"target_label":"a"}"#,
            &[("b", "bar")],
        ),
        // the target is expanded, too
        (
            r#"{"source_labels":["b"],"regex":"(.*)","target_label":"x_${1}","replacement":"1"}"#,
            &[("a", "foo"), ("b", "bar"), ("x_bar", "1")],
        ),
        // $$ is a dollar, an unknown group nothing
        (
            r#"{"target_label":"a","replacement":"$$$9x"}"#,
            &[("a", "$"), ("b", "bar")],
        ),
    ] {
        assert_eq!(after(rule, &labels), some(expected), "{rule}");
    }
    let lines = r#"{"source_labels":["a"],"regex":"x.y","target_label":"b","replacement":"1"}"#;
    assert_eq!(
        after(lines, &[("a", "x\ny")]),
        some(&[("a", "x\ny"), ("b", "1")])
    );
}

/// As in PromQL: what differs between Go's patterns and those of the library is Go's.
#[test]
fn patterns_are_those_of_go() {
    for (pattern, value, is_kept) in [
        (r"\\Qa.b\\E", "a.b", true),
        (r"\\Qa.b\\E", "axb", false),
        ("{x}", "{x}", true),
        ("a{,2}", "a{,2}", true),
        (r"\\101\\x{42}", "AB", true),
        (r"\\d", "٣", false),
        (r"\\w", "é", false),
        (r"a\\sb", "a\u{a0}b", false),
        (r"é\\bé", "éé", false),
        (r"\\p{Greek}\\pL", "ωé", true),
        ("[a&&b]", "&", true),
        ("[[a]]", "[]", true),
        ("[[a]]", "a", false),
    ] {
        let rule = format!(r#"{{"source_labels":["a"],"regex":"{pattern}","action":"keep"}}"#);
        let labels = [("a", value)];
        let expected = is_kept.then(|| some(&labels)).flatten();
        assert_eq!(after(&rule, &labels), expected, "{pattern} {value}");
    }
    for pattern in [r"\\u0041", "(?x)a", "a{1001}", "a)(b", "a**"] {
        assert!(
            Pattern::new(&pattern.replace(r"\\", r"\")).is_err(),
            "{pattern}"
        );
    }
}

#[test]
fn keep_and_drop() {
    let labels = [("a", "foo"), ("b", "foo"), ("c", "bar")];
    for (rule, is_kept) in [
        (
            r#"{"source_labels":["a"],"regex":"foo|x","action":"keep"}"#,
            true,
        ),
        (
            r#"{"source_labels":["a"],"regex":"fo","action":"keep"}"#,
            false,
        ),
        (
            r#"{"source_labels":["a"],"regex":"foo","action":"drop"}"#,
            false,
        ),
        (
            r#"{"source_labels":["nothing"],"regex":".+","action":"DROP"}"#,
            true,
        ),
        (
            r#"{"source_labels":["a"],"target_label":"b","action":"keepequal"}"#,
            true,
        ),
        (
            r#"{"source_labels":["a"],"target_label":"c","action":"keepequal"}"#,
            false,
        ),
        (
            r#"{"source_labels":["a"],"target_label":"b","action":"dropequal"}"#,
            false,
        ),
        (
            r#"{"source_labels":["a"],"target_label":"c","action":"dropequal"}"#,
            true,
        ),
    ] {
        let expected = is_kept.then(|| some(&labels)).flatten();
        assert_eq!(after(rule, &labels), expected, "{rule}");
    }
}

#[test]
fn names_and_letters() {
    let labels = [("__meta_x", "1"), ("__meta_y", "Two"), ("z", "3")];
    for (rule, expected) in [
        (
            r#"{"regex":"__meta_(.+)","action":"labelmap"}"#,
            &[
                ("__meta_x", "1"),
                ("__meta_y", "Two"),
                ("x", "1"),
                ("y", "Two"),
                ("z", "3"),
            ][..],
        ),
        (
            r#"{"regex":"__meta_(.)","replacement":"${1}_n","action":"labelmap"}"#,
            &[
                ("__meta_x", "1"),
                ("__meta_y", "Two"),
                ("x_n", "1"),
                ("y_n", "Two"),
                ("z", "3"),
            ],
        ),
        (
            r#"{"regex":"__meta.*","action":"labeldrop"}"#,
            &[("z", "3")],
        ),
        (
            r#"{"regex":"__meta_x|z","action":"labelkeep"}"#,
            &[("__meta_x", "1"), ("z", "3")],
        ),
        (
            r#"{"source_labels":["__meta_y"],"target_label":"z","action":"uppercase"}"#,
            &[("__meta_x", "1"), ("__meta_y", "Two"), ("z", "TWO")],
        ),
        (
            r#"{"source_labels":["__meta_y"],"target_label":"z","action":"lowercase"}"#,
            &[("__meta_x", "1"), ("__meta_y", "Two"), ("z", "two")],
        ),
    ] {
        assert_eq!(after(rule, &labels), some(expected), "{rule}");
    }
}

/// The last eight bytes of MD5 (RFC 1321): of "" they are e9800998ecf8427e, of "abc"
/// d6963f7d28e17f72.
#[test]
fn hashes() {
    let rule = r#"{"source_labels":["a"],"target_label":"h","modulus":1000,"action":"hashmod"}"#;
    for (value, sum) in [
        ("", 0xe980_0998_ecf8_427e_u64),
        ("abc", 0xd696_3f7d_28e1_7f72),
    ] {
        let labels = after(rule, &[("a", value)]).expect("kept");
        let (_, hash) = labels.iter().find(|(name, _)| name == "h").expect("a hash");
        assert_eq!(*hash, (sum % 1000).to_string());
    }
}

/// Rules that make more of a set each time: four times a value, twice the labels, a long name.
#[test]
fn what_grows_without_end_is_refused_in_words() {
    let rule = |text: String| -> Rule { serde_json::from_str(&text).expect("a rule") };
    let four = || {
        rule(
            r#"{"source_labels":["a","a","a","a"],"separator":"xxxxxxxx","target_label":"a"}"#
                .to_owned(),
        )
    };
    let double = |at: usize| {
        rule(format!(
            r#"{{"action":"labelmap","regex":"(.+)","replacement":"${{1}}_{at}"}}"#
        ))
    };
    let names =
        || rule(r#"{"action":"labelmap","regex":"(a+)","replacement":"$1$1$1$1"}"#.to_owned());
    let values = || {
        rule(
            r#"{"source_labels":["a"],"target_label":"a","replacement":"$1$1$1$1$1$1"}"#.to_owned(),
        )
    };
    for (rules, said) in [
        (
            (0..40).map(|_| four()).collect::<Vec<_>>(),
            "joins source_labels to more than",
        ),
        ((0..40).map(double).collect(), "more than 4096 labels"),
        ((0..40).map(|_| names()).collect(), "bytes"),
        ((0..40).map(|_| values()).collect(), "bytes of one text"),
    ] {
        let mut labels: LabelSet = [("a", "value"), ("b", "c")].into_iter().collect();
        let refused = apply(&rules, &mut labels).expect_err("it has no end");
        assert!(refused.contains(said), "{refused}");
        assert!(refused.starts_with("rule "), "{refused}");
        assert!(
            labels.bytes() < 32 << 20,
            "{} bytes are there",
            labels.bytes()
        );
    }
    // what is long and stays so is nobody's mistake
    let long = "v".repeat(200_000);
    let mut labels: LabelSet = [("a", long.as_str())].into_iter().collect();
    let copied = rule(r#"{"source_labels":["a"],"target_label":"c"}"#.to_owned());
    assert_eq!(apply(&[copied], &mut labels), Ok(true));
    assert_eq!(labels.get("c").len(), long.len());
}

/// Prometheus' own page of the configuration, and ours, print rules with their defaults.
#[test]
fn a_default_that_is_written_out_says_nothing() {
    let defaults = r#""separator":";","replacement":"$1","modulus":0"#;
    for action in ["labeldrop", "labelkeep"] {
        let plain = format!(r#"{{"action":"{action}","regex":"x"}}"#);
        let plain: Rule = serde_json::from_str(&plain).expect(&plain);
        let written = format!(
            r#"{{"action":"{action}","regex":"x","source_labels":[],"target_label":"",{defaults}}}"#
        );
        let written: Rule = serde_json::from_str(&written).expect(&written);
        assert_eq!(written, plain);
    }
    for action in ["keepequal", "dropequal"] {
        let names = r#""source_labels":["a"],"target_label":"b""#;
        let plain = format!(r#"{{"action":"{action}",{names}}}"#);
        let plain: Rule = serde_json::from_str(&plain).expect(&plain);
        let written = format!(r#"{{"action":"{action}",{names},"regex":"(.*)",{defaults}}}"#);
        let written: Rule = serde_json::from_str(&written).expect(&written);
        assert_eq!(written, plain);
    }
    // what is printed of any rule is that rule
    for rule in [
        r#"{"action":"labeldrop","regex":"x"}"#,
        r#"{"action":"labelkeep","regex":"x"}"#,
        r#"{"action":"labelmap","regex":"x(.)"}"#,
        r#"{"action":"keep","source_labels":["a"],"regex":"x"}"#,
        r#"{"action":"drop","source_labels":["a"],"regex":"x"}"#,
        r#"{"action":"keepequal","source_labels":["a"],"target_label":"b"}"#,
        r#"{"action":"dropequal","source_labels":["a"],"target_label":"b"}"#,
        r#"{"action":"hashmod","source_labels":["a"],"target_label":"b","modulus":4}"#,
        r#"{"action":"lowercase","source_labels":["a"],"target_label":"b"}"#,
        r#"{"action":"uppercase","source_labels":["a"],"target_label":"b"}"#,
        r#"{"source_labels":["a"],"target_label":"b"}"#,
    ] {
        let read: Rule = serde_json::from_str(rule).expect(rule);
        let printed = serde_json::to_string(&read).expect("printed");
        let again: Rule = serde_json::from_str(&printed).expect(&printed);
        assert_eq!(again, read, "{printed}");
    }
    for more in [
        r#"{"action":"labeldrop","regex":"x","separator":","}"#,
        r#"{"action":"labelkeep","regex":"x","replacement":"$2"}"#,
        r#"{"action":"labelkeep","regex":"x","source_labels":["a"]}"#,
        r#"{"action":"dropequal","source_labels":["a"],"target_label":"b","regex":"x"}"#,
    ] {
        serde_json::from_str::<Rule>(more).expect_err(more);
    }
}
