//! Every construct of Go's templates, and what is wrong with those that are none. Expected texts
//! are those of pkg.go.dev/text/template.

use pulseboard_template::{Limits, NoFunctions, Set, Value};

fn data() -> Value {
    Value::map([
        ("Name", "Ada".into()),
        ("Empty", "".into()),
        ("Zero", 0.into()),
        ("Count", 3.into()),
        ("Ratio", 0.5.into()),
        ("Big", 1_234_567.0.into()),
        ("Yes", true.into()),
        ("List", Value::list(["a".into(), "b".into(), "c".into()])),
        ("None", Value::list([])),
        ("Labels", Value::strings([("job", "api"), ("env", "prod")])),
        (
            "Nested",
            Value::map([("Deep", Value::map([("Leaf", "x".into())]))]),
        ),
        ("Start", Value::time(1_136_239_445_000)),
        ("For", Value::Duration(90_000_000_000)),
    ])
}

fn rendered(set: &Set, text: &str) -> Result<String, String> {
    set.render(
        text,
        &data(),
        &[("$given", "given".into())],
        &mut NoFunctions,
        Limits::default(),
    )
    .map_err(|error| error.to_string())
}

#[track_caller]
fn are(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(
            rendered(&Set::new(), text).as_deref(),
            Ok(*expected),
            "{text}"
        );
    }
}

#[test]
fn values_are_printed_as_go_prints_them() {
    are(&[
        ("plain", "plain"),
        ("", ""),
        ("{{.Name}}", "Ada"),
        (
            "{{ .Count }} {{ .Ratio }} {{ .Big }} {{ .Yes }}",
            "3 0.5 1.234567e+06 true",
        ),
        ("{{ .Missing }}", "<no value>"),
        ("{{ .Labels.job }}|{{ .Labels.missing }}|", "api||"),
        ("{{ .Labels }}", "map[env:prod job:api]"),
        ("{{ .List }}", "[a b c]"),
        ("{{ .Nested.Deep.Leaf }}", "x"),
        ("{{ .Nested }}", "map[Deep:map[Leaf:x]]"),
        (
            "{{ .For }} {{ .Start }}",
            "1m30s 2006-01-02 22:04:05 +0000 UTC",
        ),
        ("{{ $.Name }} {{ $given }}", "Ada given"),
        (
            "{{ 1 }} {{ 1.0 }} {{ 1e3 }} {{ 0x1F }} {{ 0b11 }} {{ 0o17 }} {{ 017 }} {{ 1_000 }}",
            "1 1 1000 31 3 15 15 1000",
        ),
        (
            "{{ -1 }} {{ +2 }} {{ .5 }} {{ 'a' }} {{ '\\n' }} {{ '\\'' }}",
            "-1 2 0.5 97 10 39",
        ),
        (
            "{{ \"a\\tb\\u00e9\\x41\\101\" }} {{ `raw \\n` }}",
            "a\tbéAA raw \\n",
        ),
        ("{{ true }} {{ false }}", "true false"),
        ("{{ print nil }}", "<nil>"),
        ("{{ printf \"%v\" .Missing }}", "<nil>"),
    ]);
}

#[test]
fn space_is_trimmed_where_it_is_marked() {
    are(&[
        ("a {{- 1 -}} b", "a1b"),
        ("a {{- \"x\" }} b", "ax b"),
        ("a \n\t{{- /* nothing */ -}} \r\n b", "ab"),
        ("a {{/* comment with }} and \"quotes */}} b", "a  b"),
        ("{{- /* at both ends */ -}}", ""),
        ("{{3 -}} x {{- 4}}", "3x4"),
        ("{{-3}}", "-3"),
        ("{{ .Count -}}\n{{- .Name }}", "3Ada"),
        ("{{\n.Name\n}}", "Ada"),
    ]);
}

#[test]
fn constructs_do_what_they_do_in_go() {
    are(&[
        ("{{ if .Yes }}y{{ end }}", "y"),
        ("{{ if .Zero }}y{{ else }}n{{ end }}", "n"),
        (
            "{{ if .Empty }}1{{ else if .None }}2{{ else if .Yes }}3{{ else }}4{{ end }}",
            "3",
        ),
        (
            "{{ if and .Yes .Count }}y{{ end }}{{ if not .Missing }}n{{ end }}",
            "yn",
        ),
        (
            "{{ with .Nested }}{{ .Deep.Leaf }}{{ $.Name }}{{ end }}",
            "xAda",
        ),
        (
            "{{ with .Empty }}a{{ else with .Name }}{{ . }}{{ else }}b{{ end }}",
            "Ada",
        ),
        ("{{ with $x := .Count }}{{ $x }}{{ . }}{{ end }}", "33"),
        ("{{ range .List }}[{{ . }}]{{ end }}", "[a][b][c]"),
        (
            "{{ range $i, $e := .List }}{{ $i }}{{ $e }} {{ end }}",
            "0a 1b 2c ",
        ),
        ("{{ range $e := .List }}{{ $e }}{{ . }}{{ end }}", "aabbcc"),
        (
            "{{ range $k, $v := .Labels }}{{ $k }}={{ $v }};{{ end }}",
            "env=prod;job=api;",
        ),
        ("{{ range .None }}x{{ else }}none{{ end }}", "none"),
        ("{{ range .Missing }}x{{ else }}none{{ end }}", "none"),
        (
            "{{ range 3 }}{{ . }}{{ end }}{{ range $i := .Count }}{{ $i }}{{ end }}",
            "012012",
        ),
        (
            "{{ range .List }}{{ if eq . \"b\" }}{{ continue }}{{ end }}{{ . }}{{ end }}",
            "ac",
        ),
        (
            "{{ range .List }}{{ if eq . \"b\" }}{{ break }}{{ end }}{{ . }}{{ end }}",
            "a",
        ),
        (
            "{{ range .List }}{{ range 2 }}{{ break }}{{ end }}{{ . }}{{ end }}",
            "abc",
        ),
        ("{{ $x := 1 }}{{ $x = 2 }}{{ $x }}", "2"),
        (
            "{{ $x := 1 }}{{ range .List }}{{ $x = . }}{{ end }}{{ $x }}",
            "c",
        ),
        (
            "{{ $x := 1 }}{{ if true }}{{ $x := 2 }}{{ $x }}{{ end }}{{ $x }}",
            "21",
        ),
        ("{{ $i := 9 }}{{ range $i = .List }}{{ end }}{{ $i }}", "c"),
        (
            "{{ define \"t\" }}<{{ . }}>{{ end }}{{ template \"t\" .Name }}{{ template \"t\" }}",
            "<Ada><<no value>>",
        ),
        ("{{ block \"b\" .Count }}{{ . }}!{{ end }}", "3!"),
        (
            "{{ template \"later\" . }}{{ define \"later\" }}{{ .Name }}{{ $.Count }}{{ end }}",
            "Ada3",
        ),
    ]);
}

#[test]
fn pipelines_pass_what_they_have_as_the_last_argument() {
    are(&[
        ("{{ .Name | printf \"%s-%s\" \"x\" }}", "x-Ada"),
        ("{{ \"a\" | print \"b\" | printf \"%q\" }}", "\"ba\""),
        ("{{ (index .List 1) }}", "b"),
        ("{{ (index .Nested \"Deep\").Leaf }}", "x"),
        ("{{ len (printf \"%05d\" .Count) }}", "5"),
        ("{{ $x := .List | len }}{{ $x }}", "3"),
        ("{{ .Count | eq 3 }}", "true"),
        ("{{ 1 | or .Zero }}{{ 2 | and .Yes }}", "12"),
        (
            "{{ or .Zero .Empty \"last\" }} {{ and .Yes 0 .Missing.Field }}",
            "last 0",
        ),
        ("{{ or .Yes .Missing.Field }}", "true"),
        (
            "{{ printf \"%.2f %5.1f|%-6s|%+d\" .Ratio .Ratio .Name .Count }}",
            "0.50   0.5|Ada   |+3",
        ),
        ("{{ println .Name 1 }}", "Ada 1\n"),
        (
            "{{ html \"<a>\" }} {{ js \"'\" }} {{ urlquery \"a b\" }}",
            "&lt;a&gt; \\' a+b",
        ),
        (
            "{{ eq .Name \"x\" \"Ada\" }} {{ ne 1 2 }} {{ lt 1 2 }} {{ ge 1.5 1.5 }}",
            "true true true true",
        ),
        ("{{ slice .Name 1 2 }} {{ slice .List 1 }}", "d [b c]"),
    ]);
}

#[test]
fn times_and_lengths_of_time_have_methods() {
    are(&[
        (
            "{{ .Start.Format \"15:04\" }} {{ .Start.Unix }} {{ .Start.Year }} {{ .Start.Month }}",
            "22:04 1136239445 2006 January",
        ),
        ("{{ (.Start.Add .For).Format \"15:04:05\" }}", "22:05:35"),
        ("{{ (.Start.Add 3600000000000).Hour }}", "23"),
        ("{{ .Start.Sub (.Start.Add .For) }}", "-1m30s"),
        (
            "{{ .For.Seconds }} {{ .For.Minutes }} {{ .For.String }}",
            "90 1.5 1m30s",
        ),
        (
            "{{ printf \"%d\" .Start.Month }} {{ eq .Start.Weekday 1 }} {{ .Start.Weekday }}",
            "1 true Monday",
        ),
        (
            "{{ .Start.IsZero }} {{ .Start.UTC.Day }} {{ .Start.Before (.Start.Add 1) }}",
            "false 2 true",
        ),
        (
            "{{ (.Start.AddDate 0 1 0).Format \"Jan 2\" }} {{ (.Start.Truncate 3600000000000).Minute }}",
            "Feb 2 0",
        ),
    ]);
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (text, expected) in [
        ("{{ .Name", "template:1:1: unclosed action"),
        (
            "a\n  {{ if }}x{{ end }}",
            "template:2:9: missing value for if",
        ),
        ("{{}}", "template:1:3: missing value for command"),
        (
            "{{ if .Yes }}",
            "template:1:1: unexpected EOF: the if has no {{end}}",
        ),
        ("{{ end }}", "template:1:1: unexpected {{end}}"),
        ("{{ else }}", "template:1:1: unexpected {{else}}"),
        (
            "{{ nope .Name }}",
            "template:1:4: function \"nope\" not defined",
        ),
        ("{{ $x }}", "template:1:4: undefined variable \"$x\""),
        ("{{ $x = 1 }}", "template:1:4: undefined variable \"$x\""),
        (
            "{{ if true }}{{ $y := 1 }}{{ end }}{{ $y }}",
            "template:1:39: undefined variable \"$y\"",
        ),
        ("{{ break }}", "template:1:4: {{break}} outside {{range}}"),
        ("{{ \"abc }}", "template:1:4: unterminated quoted string"),
        ("{{ `abc }}", "template:1:4: unterminated raw quoted string"),
        (
            "{{ 'ab' }}",
            "template:1:4: malformed character constant: 'ab'",
        ),
        ("{{ \"\\q\" }}", "template:1:5: invalid syntax in an escape"),
        ("{{ 1x }}", "template:1:4: bad number syntax: \"1x\""),
        (
            "{{ 99999999999999999999 }}",
            "template:1:4: integer overflow: 99999999999999999999",
        ),
        ("{{ (1 }}", "template:1:7: unclosed left paren"),
        ("{{ 1) }}", "template:1:5: unexpected right paren"),
        ("{{/* never closed", "template:1:1: unclosed comment"),
        (
            "{{/* x */ y}}",
            "template:1:10: comment ends before closing delimiter",
        ),
        (
            "{{ 1 | 2 }}",
            "template:1:8: non executable command in pipeline stage 2",
        ),
        ("{{ .A | }}", "template:1:9: missing value for command"),
        (
            "{{ # }}",
            "template:1:4: unrecognized character in action: U+0023 '#'",
        ),
        (
            "{{ 1.Name }}",
            "template:1:4: bad number syntax: \"1.Name\"",
        ),
        (
            "{{ \"a\".Name }}",
            "template:1:4: unexpected . after term \"\\\"a\\\"\"",
        ),
        (
            "{{ template .Name }}",
            "template:1:13: unexpected \".Name\" in template clause",
        ),
        (
            "{{ if true }}{{ define \"x\" }}{{ end }}{{ end }}",
            "template:1:17: unexpected {{define}}",
        ),
        (
            "{{ define \"x\" }}1{{ end }}{{ define \"x\" }}2{{ end }}",
            "template:1:30: multiple definition of template \"x\"",
        ),
        (
            "{{ range $a, $b, $c := .List }}{{ end }}",
            "template:1:16: too many declarations in range",
        ),
        // While it runs.
        (
            "{{ template \"none\" }}",
            "template:1:1: template \"none\" not defined",
        ),
        (
            "é{{ .Name.First }}",
            "template:1:5: can't evaluate field First in type string",
        ),
        (
            "{{ .Missing.Field }}",
            "template:1:4: nil pointer evaluating interface {}.Field",
        ),
        (
            "{{ .Labels.job 1 }}",
            "template:1:4: job is not a method but has arguments",
        ),
        (
            "{{ index .List 9 }}",
            "template:1:4: error calling index: index out of range: 9",
        ),
        (
            "{{ lt 1 1.5 }}",
            "template:1:4: error calling lt: incompatible types for comparison",
        ),
        (
            "{{ len 3 }}",
            "template:1:4: error calling len: len of type int",
        ),
        (
            "{{ 3 4 }}",
            "template:1:4: can't give argument to non-function",
        ),
        ("{{ nil }}", "template:1:4: nil is not a command"),
        (
            "{{ range .Name }}{{ end }}",
            "template:1:10: range can't iterate over Ada",
        ),
        (
            "{{ call .Name }}",
            "template:1:4: error calling call: functions are no values here, so there is nothing to call",
        ),
        (
            "{{ .Start.Format }}",
            "template:1:4: wrong number of args for Format: want 1 got 0",
        ),
        (
            "{{ .Start.Nope 1 }}",
            "template:1:4: can't evaluate field Nope in type time.Time",
        ),
    ] {
        let found = rendered(&Set::new(), text);
        assert_eq!(
            found.as_ref().map_err(String::as_str),
            Err(expected),
            "{text}"
        );
    }
}

#[test]
fn a_set_keeps_templates_and_a_text_defines_its_own() {
    let mut set = Set::new();
    set.parse(
        "one.tmpl",
        "{{ define \"a\" }}one{{ end }}{{ define \"b\" }}{{ template \"a\" }}{{ end }}own",
        &NoFunctions,
    )
    .expect("it can be read");
    set.parse("two.tmpl", "{{ define \"a\" }}two{{ end }}", &NoFunctions)
        .expect("it can be read");
    assert_eq!(rendered(&set, "{{ template \"b\" }}").as_deref(), Ok("two"));
    assert_eq!(
        rendered(&set, "{{ template \"one.tmpl\" }}").as_deref(),
        Ok("own")
    );
    assert_eq!(
        rendered(&set, "{{ template \"b\" }}{{ define \"a\" }}three{{ end }}").as_deref(),
        Ok("three")
    );
    // What is only space replaces nothing.
    set.parse(
        "three.tmpl",
        "{{ define \"a\" }} \n {{ end }}",
        &NoFunctions,
    )
    .expect("it can be read");
    assert_eq!(rendered(&set, "{{ template \"a\" }}").as_deref(), Ok("two"));
    assert!(set.has("a") && !set.has("c"));
    // A file that is wrong leaves everything as it was, and says its name.
    let error = set
        .parse(
            "bad.tmpl",
            "{{ define \"a\" }}x{{ end }}\n{{ nope }}",
            &NoFunctions,
        )
        .expect_err("there is no such function");
    assert_eq!(
        error.to_string(),
        "template: bad.tmpl:2:4: function \"nope\" not defined"
    );
    assert_eq!(rendered(&set, "{{ template \"a\" }}").as_deref(), Ok("two"));
    // What fails in a file is said with the file's own place.
    set.parse(
        "fails.tmpl",
        "\n{{ define \"f\" }}{{ .Name.X }}{{ end }}",
        &NoFunctions,
    )
    .expect("it can be read");
    assert_eq!(
        rendered(&set, "{{ template \"f\" . }}")
            .as_ref()
            .map_err(String::as_str),
        Err("template: fails.tmpl:2:20: can't evaluate field X in type string")
    );
}
