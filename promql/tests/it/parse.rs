//! What is understood, how it reads when it is printed, and what is refused and where.

use pulseboard_promql::{parse, print::pretty};

/// Text and what it reads as when printed.
#[test]
fn what_is_understood_prints_as_prometheus_prints_it() {
    for (text, printed) in [
        ("1", "1"),
        ("+1", "1"),
        ("+a", "+a"),
        ("+(a) - +-a", "+(a) - +-a"),
        (
            "a{job=~\"a.*\",job!~\"x|y\",env=\"\"}",
            "a{env=\"\",job!~\"x|y\",job=~\"a.*\"}",
        ),
        (
            "{\"a.b\",z=\"1\",\"c d\"=\"2\",b!=\"3\"}",
            "{\"a.b\",\"c d\"=\"2\",b!=\"3\",z=\"1\"}",
        ),
        ("-1", "-1"),
        ("1e6", "1e+06"),
        ("0x1F", "31"),
        ("0755", "493"),
        ("-0755", "-493"),
        ("0789", "789"),
        ("010.5", "10.5"),
        ("00", "0"),
        ("1_000", "1000"),
        (".5", "0.5"),
        ("Inf", "+Inf"),
        ("-inf", "-Inf"),
        ("nan", "NaN"),
        ("5m", "300"),
        ("1h30m", "5400"),
        ("\"a\\n\\x41\\u00e9\"", "\"a\\nAé\""),
        ("'it\\'s'", "\"it's\""),
        ("`a\\b`", "\"a\\\\b\""),
        ("up", "up"),
        ("up{}", "up"),
        ("up{job=\"a\",}", "up{job=\"a\"}"),
        ("{__name__=\"up\"}", "{__name__=\"up\"}"),
        (
            "{\"my.metric\",\"a.b\"=\"c\"}",
            "{\"my.metric\",\"a.b\"=\"c\"}",
        ),
        ("{\"up\"}", "up"),
        ("node:cpu:rate5m", "node:cpu:rate5m"),
        ("x[5m]", "x[5m]"),
        ("x[300]", "x[5m]"),
        ("x[5m] offset 1h", "x[5m] offset 1h"),
        ("x offset -1h @ 10", "x @ 10.000 offset -1h"),
        ("x @ start() offset 1d12h", "x @ start() offset 1d12h"),
        ("x[1w]", "x[1w]"),
        ("x @ end() [5m]", "x[5m] @ end()"),
        ("x[90d]", "x[90d]"),
        ("rate(x[5m])[1h:]", "rate(x[5m])[1h:]"),
        (
            "max_over_time(rate(x[5m])[1h:30s] offset 5m)",
            "max_over_time(rate(x[5m])[1h:30s] offset 5m)",
        ),
        ("sum(x)by(a,b)", "sum by (a, b) (x)"),
        ("SUM by (a) (x)", "sum by (a) (x)"),
        ("sum without() (x)", "sum without () (x)"),
        ("topk(3, x)", "topk(3, x)"),
        ("count_values(\"v\", x)", "count_values(\"v\", x)"),
        ("a + b * c ^ d ^ e", "a + b * c ^ d ^ e"),
        ("-a ^ 2", "-a ^ 2"),
        ("a == bool 1", "a == bool 1"),
        ("a AND ON (x) b", "a and on (x) b"),
        (
            "a / ignoring(x) group_left(y, z) b",
            "a / ignoring (x) group_left (y, z) b",
        ),
        ("a or b unless c", "a or b unless c"),
        ("sum", "sum"),
        ("sum{a=\"b\"}", "sum{a=\"b\"}"),
        ("rate", "rate"),
        ("by / offset", "by / offset"),
        ("a # a comment\n+ b", "a + b"),
        ("time() atan2 2", "time() atan2 2"),
        ("label_join(x, \"d\", \"-\")", "label_join(x, \"d\", \"-\")"),
    ] {
        let expr = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(expr.to_string(), printed, "{text}");
        let again = parse(printed).unwrap_or_else(|error| panic!("{printed}: {error}"));
        assert_eq!(again.to_string(), printed, "twice");
    }
}

#[test]
fn what_is_refused_says_where_and_why() {
    for (text, error) in [
        ("", "1:1: parse error: no expression found in input"),
        ("(1", "1:3: parse error: unclosed left parenthesis"),
        ("temp]", "1:5: parse error: unexpected right bracket ']'"),
        ("temp}", "1:5: parse error: unexpected character: '}'"),
        (
            "temp{)",
            "1:6: parse error: unexpected character inside braces: ')'",
        ),
        (
            "1e400",
            "1:1: parse error: error parsing number: \"1e400\" is out of range",
        ),
        (
            "-1e400",
            "1:2: parse error: error parsing number: \"1e400\" is out of range",
        ),
        (
            "0xffffffffffffffff",
            "1:1: parse error: bad number or duration syntax: \"0xffffffffffffffff\"",
        ),
        (
            "sum(temp,)",
            "1:9: parse error: trailing commas not allowed in function call args",
        ),
        (
            "abs(temp,,)",
            "1:9: parse error: trailing commas not allowed in function call args",
        ),
        (
            "1==1",
            "1:2: parse error: comparisons between scalars must use BOOL modifier",
        ),
        (
            "1 == bool 1 == 1",
            "1:13: parse error: comparisons between scalars must use BOOL modifier",
        ),
        (
            "1 + on(x) a",
            "1:1: parse error: vector matching only allowed between instant vectors",
        ),
        ("1)", "1:3: parse error: unexpected right parenthesis ')'"),
        (
            "x{a=\"b\"",
            "1:8: parse error: unexpected end of input inside braces",
        ),
        (
            "x{a=b}",
            "1:5: parse error: unexpected identifier \"b\" in label matching, expected string",
        ),
        ("a +", "1:4: parse error: unexpected end of input"),
        ("\n  a ++ ", "2:8: parse error: unexpected end of input"),
        (
            "rate(x)",
            "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector",
        ),
        (
            "rate(x[5m], 1)",
            "1:1: parse error: expected 1 argument(s) in call to \"rate\", got 2",
        ),
        (
            "round()",
            "1:1: parse error: expected at least 1 argument(s) in call to \"round\", got 0",
        ),
        (
            "foo(x)",
            "1:1: parse error: unknown function with name \"foo\"",
        ),
        (
            "limitk(2, x)",
            "1:1: parse error: function \"limitk\" is experimental in Prometheus and missing here",
        ),
        (
            "sum()",
            "1:1: parse error: no arguments for aggregate expression provided",
        ),
        (
            "topk(x)",
            "1:1: parse error: wrong number of arguments for aggregate expression provided, expected 2, got 1",
        ),
        (
            "1 > 0",
            "1:3: parse error: comparisons between scalars must use BOOL modifier",
        ),
        (
            "a + bool b",
            "1:3: parse error: bool modifier can only be used on comparison operators",
        ),
        (
            "1 and 2",
            "1:1: parse error: set operator \"and\" not allowed in binary scalar expression",
        ),
        (
            "a and on(x) group_left b",
            "1:1: parse error: no grouping allowed for \"and\" operation",
        ),
        (
            "a + on(x) group_left(x) b",
            "1:3: parse error: label \"x\" must not occur in ON and GROUP clause at once",
        ),
        (
            "{}",
            "1:1: parse error: vector selector must contain at least one non-empty matcher",
        ),
        (
            "{a=~\".*\"}",
            "1:1: parse error: vector selector must contain at least one non-empty matcher",
        ),
        (
            "up{__name__=\"x\"}",
            "1:1: parse error: metric name must not be set twice: \"up\" or \"x\"",
        ),
        (
            "x[5m] offset 1m [1m]",
            "1:1: parse error: ranges only allowed for vector selectors",
        ),
        (
            "x offset 1m [5m]",
            "1:1: parse error: no offset modifiers allowed before range",
        ),
        (
            "up{__name__!~\"x\"}",
            "1:1: parse error: metric name must not be set twice: \"up\" or \"x\"",
        ),
        (
            "(2)[5m:]",
            "1:1: parse error: subquery is only allowed on instant vector, got scalar instead",
        ),
        (
            "x @ 5 [5m]",
            "1:1: parse error: no @ modifiers allowed before range",
        ),
        (
            "(x)[5m]",
            "1:1: parse error: ranges only allowed for vector selectors",
        ),
        ("x[0s]", "1:2: parse error: duration must be greater than 0"),
        ("x[5]m", "1:5: parse error: unexpected identifier \"m\""),
        (
            "1y1x",
            "1:1: parse error: bad number or duration syntax: \"1y1x\"",
        ),
        ("\"abc", "1:1: parse error: unterminated quoted string"),
        ("a $ b", "1:3: parse error: unexpected character: '$'"),
        (
            "-\"a\"",
            "1:2: parse error: unary expression only allowed on expressions of type scalar or instant vector, got \"string\"",
        ),
        (
            "atan2 - 1",
            "1:1: parse error: unexpected identifier \"atan2\"",
        ),
        (
            "abs(bool)",
            "1:5: parse error: unexpected identifier \"bool\"",
        ),
        ("x{a=~\"(\"}", "1:6: parse error: error parsing regexp: "),
    ] {
        let said = parse(text).expect_err(text).to_string();
        assert!(said.starts_with(error), "{text:?}: {said}");
    }
}

/// What is long is put on several lines and is still the same.
#[test]
fn long_expressions_become_several_lines() {
    let text = "sum by (job) (rate(http_requests_total{code=~\"5..\",job=\"api\"}[5m])) / sum by (job) (rate(http_requests_total{job=\"api\"}[5m]))";
    let expr = parse(text).expect("an expression");
    let lines = pretty(&expr);
    assert_eq!(
        lines,
        "  sum by (job) (rate(http_requests_total{code=~\"5..\",job=\"api\"}[5m]))\n/\n  sum by (job) (rate(http_requests_total{job=\"api\"}[5m]))"
    );
    assert_eq!(parse(&lines).expect("the same").to_string(), text);
}

/// Neither length nor depth takes the process with it.
#[test]
fn length_and_depth_are_bounded() {
    for text in [
        "(".repeat(16_000),
        format!("{}1{}", "(".repeat(5_000), ")".repeat(5_000)),
        format!("{}x", "-".repeat(10_000)),
        format!("{}x{}", "abs(".repeat(3_000), ")".repeat(3_000)),
        vec!["x"; 4_000].join(" or "),
        vec!["x"; 4_000].join("^"),
        "x".repeat(20_000),
        format!("x{}", "[1m:]".repeat(3_000)),
    ] {
        let said = parse(&text).expect_err("too much").to_string();
        assert!(said.len() < 300, "{said}");
    }
    let deep = format!("{}1{}", "(".repeat(90), ")".repeat(90));
    assert!(parse(&deep).is_ok());
}

proptest::proptest! {
    /// Whatever is sent is understood or refused.
    #[test]
    fn any_text_is_answered(text in "[a-z0-9(){}\\[\\]\"'`=~!<>+*/%^:,@. \\n$\\\\-]{0,60}") {
        if let Ok(expr) = parse(&text) {
            let printed = expr.to_string();
            let again = parse(&printed);
            proptest::prop_assert!(again.is_ok(), "{text:?} prints as {printed:?}: {again:?}");
            proptest::prop_assert_eq!(again.expect("it is").to_string(), printed);
        }
    }
}

/// Patterns are compiled to be checked, which takes up to some milliseconds each: so many, and no
/// more.
#[test]
fn patterns_are_bounded() {
    let selectors = |count: usize| vec!["x{a=~\"b|c\",d!~\"e\"}"; count].join(" or ");
    assert!(parse(&selectors(64)).is_ok());
    let said = parse(&selectors(65)).expect_err("one too many").to_string();
    assert!(said.contains("at most 128 patterns"), "{said}");
    let large = parse("x{a=~\"(\\\\pL{9}x){99}\"}").expect_err("too large");
    assert!(large.to_string().contains("size limit"), "{large}");
    // Texts alone need no automaton: as many as an expression holds.
    let texts: Vec<String> = (0..2_142).map(|one| format!("n{one:05}")).collect();
    for (before, after) in [("", ""), ("(", ")"), ("(?:", ")"), ("", "|"), ("a.c|", "")] {
        let expression = format!("x{{a=~\"{before}{}{after}\",b=\"c\"}}", texts.join("|"));
        assert!(parse(&expression).is_ok(), "{before} {after}");
    }
    assert!(parse("{a=~\"b|\"}").is_err(), "it may be nothing");
    assert!(parse("{a=~\"b|c\"}").is_ok());
}
