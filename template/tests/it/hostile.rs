//! Templates that want too much end soon, with an error; and no text makes anything panic.

use std::{collections::BTreeMap, time::Instant};

use proptest::prelude::*;
use pulseboard_template::{
    Limits, Set, Value,
    alertmanager::{Alert, Data, Templates},
    prometheus,
};

fn data() -> Data {
    let alert = |index: usize| Alert {
        firing: index.is_multiple_of(2),
        labels: BTreeMap::from([
            ("alertname".to_owned(), "x".to_owned()),
            ("i".to_owned(), index.to_string()),
        ]),
        annotations: BTreeMap::new(),
        starts_at_ms: 0,
        ends_at_ms: None,
        generator_url: String::new(),
        fingerprint: String::new(),
    };
    Data::new("r", BTreeMap::new(), (0..100).map(alert).collect(), "")
}

#[test]
fn what_wants_too_much_is_an_error_and_cheap() {
    let templates = Templates::new();
    let data = data();
    let rendering = templates.with(&data, 0, Limits::default());
    let long = "x".repeat(60_000);
    for text in [
        "{{ range 1000000000 }}{{ end }}".to_owned(),
        "{{ range 10000 }}{{ range 10000 }}{{ range 10000 }}{{ end }}{{ end }}{{ end }}".to_owned(),
        "{{ range .Alerts }}{{ range $.Alerts }}{{ range $.Alerts }}{{ .Labels }}{{ end }}{{ end }}{{ end }}".to_owned(),
        "{{ printf \"%1000000000d\" 1 }}".to_owned(),
        "{{ printf \"%999999d\" 1 }}".to_owned(),
        "{{ printf \"%*d\" 999999 1 }}".to_owned(),
        "{{ define \"a\" }}{{ template \"a\" . }}{{ end }}{{ template \"a\" . }}".to_owned(),
        "{{ define \"a\" }}{{ template \"b\" . }}{{ end }}{{ define \"b\" }}{{ range 2 }}{{ template \"a\" . }}{{ end }}{{ end }}{{ template \"a\" . }}".to_owned(),
        "{{ define \"a\" }}x{{ template \"b\" }}{{ template \"b\" }}{{ end }}{{ define \"b\" }}{{ template \"c\" }}{{ template \"c\" }}{{ end }}{{ define \"c\" }}{{ range 100000 }}y{{ end }}{{ end }}{{ template \"a\" . }}".to_owned(),
        "{{ $x := \"x\" }}{{ range 100 }}{{ $x = print $x $x }}{{ end }}".to_owned(),
        "{{ $x := list 1 }}{{ range 100 }}{{ $x = list $x $x }}{{ end }}{{ $x }}".to_owned(),
        "{{ $x := list 1 }}{{ range 10000 }}{{ $x = list $x }}{{ end }}{{ $x }}".to_owned(),
        "{{ $x := list 1 }}{{ range 90000 }}{{ $x = append $x 1 }}{{ end }}".to_owned(),
        "{{ range 90000 }}{{ $x := toJson $ }}{{ end }}".to_owned(),
        "{{ match \"(((a{1000}){1000}){1000})\" \"a\" }}".to_owned(),
        format!("{{{{ range 90000 }}}}{{{{ $x := match \"(x+x+)+y\" {long:?} }}}}{{{{ end }}}}"),
        format!("{{{{ reReplaceAll \"\" {long:?} {long:?} }}}}"),
        format!("{{{{ range 90000 }}}}{{{{ $x := print {long:?} }}}}{{{{ end }}}}"),
        format!("{{{{ match {:?} \"a\" }}}}", "(".repeat(4000)),
        "{{ range $i := 100 }}{{ $x := match (printf \"a%d\" $i) \"a\" }}{{ end }}".to_owned(),
        format!("{long}{long}{{{{ 1 }}}}"),
        "{{ if true }}".repeat(100_000),
        "{{ if true }}".repeat(5_000) + &"{{ end }}".repeat(5_000),
        format!("{{{{ {}1{} }}}}", "(".repeat(100_000), ")".repeat(100_000)),
        format!("{{{{ .A{} }}}}", ".b".repeat(100_000)),
        "{{ 1 | ".repeat(100_000),
        "x".repeat(2 << 20) + "{{ 1 }}",
        (0..100_000).map(|index| format!("{{{{ define \"{index}\" }}}}x{{{{ end }}}}")).collect(),
    ] {
        let started = Instant::now();
        let shown: String = text.chars().take(120).collect();
        assert!(rendering.text(&text).is_err(), "{shown}");
        assert!(rendering.html(&text).is_err(), "{shown}");
        // In a debug build, beside others; what has no bound takes minutes.
        let took = started.elapsed();
        assert!(took.as_secs() < 10, "{shown} took {took:?}");
    }
}

#[test]
fn what_is_deep_is_let_go() {
    // A value as deep as functions may make one goes without a deep stack.
    let templates = Templates::new();
    let data = data();
    let rendering = templates.with(&data, 0, Limits::default());
    assert_eq!(
        rendering
            .text("{{ $x := list 1 }}{{ range 40 }}{{ $x = list $x }}{{ end }}{{ len $x }}")
            .as_deref(),
        Ok("1")
    );
}

/// Pieces of which most texts nearly are templates.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "{{",
        "}}",
        "{{- ",
        " -}}",
        " ",
        "\n",
        "if ",
        "else ",
        "end",
        "range ",
        "with ",
        "define ",
        "template ",
        "block ",
        "break",
        "continue",
        "$x",
        "$",
        ":=",
        "=",
        "|",
        ",",
        "(",
        ")",
        ".",
        ".Alerts",
        ".Labels",
        ".a",
        "1",
        "1.5",
        "-",
        "'a'",
        "\"a\"",
        "\"",
        "`",
        "\\",
        "/*",
        "*/",
        "printf ",
        "\"%d%s%[2]*.[1]f\" ",
        "index ",
        "slice ",
        "len ",
        "eq ",
        "lt ",
        "and ",
        "or ",
        "html ",
        "list ",
        "append ",
        "dict ",
        "toJson ",
        "match ",
        "reReplaceAll ",
        "since ",
        "tz ",
        "date ",
        "join ",
        "nil",
        "true",
        "é",
        "<a href=\"",
        "<script>",
        "'",
        "</script>",
        ">",
        "<!--",
        "-->",
        "<",
        "{{ end }}",
        "{{ . }}",
        "{{ if . }}",
        "{{ range .Alerts }}",
        "{{ $x := . }}",
        "query ",
        "first ",
        "humanize ",
        "toTime ",
        "args ",
        "tmpl ",
        ".Value",
        "$value",
        "$labels",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_text_panics(text in prop_oneof![pieces(), any::<String>()]) {
        let limits = Limits { steps: 5_000, output_bytes: 4_096, depth: 50 };
        let templates = Templates::new();
        let data = data();
        let rendering = templates.with(&data, 0, limits);
        for made in [rendering.text(&text), rendering.html(&text)] {
            match made {
                Ok(made) => prop_assert!(made.len() <= 4_096),
                Err(error) => prop_assert!(error.line >= 1 && error.column >= 1),
            }
        }
        let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        let rule = prometheus::Data {
            labels: &labels,
            value: 1.5,
            external_labels: &labels,
            external_url: "http://a",
            now_ms: 0,
        };
        let checked = prometheus::check(&text);
        let made = prometheus::expand(&text, &rule, &mut prometheus::NoQuery, limits);
        // What is refused before it runs does not run.
        prop_assert!(checked.is_ok() || made.is_err());
    }

    #[test]
    fn a_value_never_becomes_markup(value in any::<String>()) {
        let dot = Value::from(value);
        let page = Set::new().render_html(
            "<p title=\"{{ . }}\">{{ . }}</p><a href='{{ . }}'>x</a><script>a({{ . }}, '{{ . }}')</script>",
            &dot,
            &[],
            &mut pulseboard_template::NoFunctions,
            Limits::default(),
        ).expect("every place is safe");
        prop_assert_eq!(page.matches('<').count(), 6);
        // The attribute ends where the template ends it.
        let after = page.split("title=\"").nth(1).and_then(|rest| rest.split('"').nth(1)).unwrap_or("");
        prop_assert!(after.starts_with('>'));
        prop_assert_eq!(page.matches("</script>").count(), 1);
    }
}
