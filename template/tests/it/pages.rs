//! Pages: what is interpolated cannot become more than text.

use pulseboard_template::{Limits, NoFunctions, Set, Value};

fn page(text: &str, value: &str) -> Result<String, String> {
    let dot = Value::map([("X", value.into()), ("Safe", Value::Safe("<b>".into()))]);
    Set::new()
        .render_html(text, &dot, &[], &mut NoFunctions, Limits::default())
        .map_err(|error| error.message)
}

#[test]
fn every_place_is_escaped_in_its_own_way() {
    for (text, value, expected) in [
        (
            "<p>{{ .X }}</p>",
            "<script>alert(1)</script>",
            "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>",
        ),
        ("<p>{{ .X | html }}</p>", "<", "<p>&lt;</p>"),
        ("<p>{{ html .X }}</p>", "<", "<p>&amp;lt;</p>"),
        ("<p>{{ .Missing }}{{ .Safe }}</p>", "", "<p><b></p>"),
        (
            "<a href=\"{{ .X }}\">",
            "javascript:alert(1)",
            "<a href=\"#ZgotmplZ\">",
        ),
        ("<a href=\"/?q={{ .X }}\">", "a&b", "<a href=\"/?q=a%26b\">"),
        (
            "<a href=\"/?q={{ .X | urlquery }}\">",
            "a&b",
            "<a href=\"/?q=a%26b\">",
        ),
        ("<p>{{ .X | urlquery }}</p>", "a b", "<p>a&#43;b</p>"),
        (
            "<p title={{ .X }}>",
            "a onclick=x",
            "<p title=a&#32;onclick&#61;x>",
        ),
        (
            "<p {{ if true }}title=\"{{ .X }}\"{{ end }}>",
            "\"",
            "<p title=\"&#34;\">",
        ),
        (
            "{{ define \"v\" }}{{ . }}{{ end }}<script>x = {{ template \"v\" .X }}</script>",
            "</script>",
            "<script>x = \"\\u003c/script\\u003e\"</script>",
        ),
        (
            "<style>a { color: {{ .X }} }</style>",
            "red",
            "<style>a { color: red }</style>",
        ),
        (
            "<!-- {{ .X }} --><!DOCTYPE html>",
            "secret",
            "<!DOCTYPE html>",
        ),
    ] {
        assert_eq!(page(text, value).as_deref(), Ok(expected), "{text}");
    }
    assert!(page("<p title=\"{{ .X }}", "").is_err());
    assert!(page("<script>`{{ .X }}`</script>", "").is_err());
}
