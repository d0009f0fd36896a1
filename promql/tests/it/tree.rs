//! Expressions as JSON.

use pulseboard_promql::{parse, tree::tree};
use serde_json::json;

#[test]
fn trees_have_what_prometheus_has() {
    let up = json!({
        "type": "vectorSelector",
        "name": "up",
        "matchers": [{"name": "__name__", "type": "=", "value": "up"}],
        "offset": 0,
        "timestamp": null,
        "startOrEnd": null,
    });
    let one = json!({"type": "numberLiteral", "val": "1"});
    for (text, expected) in [
        ("up", up.clone()),
        (
            "1e21",
            json!({"type": "numberLiteral", "val": "1000000000000000000000"}),
        ),
        ("-Inf", json!({"type": "numberLiteral", "val": "-Inf"})),
        ("\"a\"", json!({"type": "stringLiteral", "val": "a"})),
        ("(1)", json!({"type": "parenExpr", "expr": one})),
        (
            "+up",
            json!({"type": "unaryExpr", "op": "+", "expr": up.clone()}),
        ),
        ("-up", json!({"type": "unaryExpr", "op": "-", "expr": up})),
        (
            "x{a!~\"b\"}[5m] offset 1m @ 1.5",
            json!({
                "type": "matrixSelector",
                "name": "x",
                "matchers": [
                    {"name": "a", "type": "!~", "value": "b"},
                    {"name": "__name__", "type": "=", "value": "x"},
                ],
                "range": 300_000,
                "offset": 60_000,
                "timestamp": 1_500,
                "startOrEnd": null,
            }),
        ),
        (
            "up[1h:] @ end()",
            json!({
                "type": "subquery",
                "expr": up,
                "range": 3_600_000,
                "step": 0,
                "offset": 0,
                "timestamp": null,
                "startOrEnd": "end",
            }),
        ),
        (
            "round(up, 1)",
            json!({
                "type": "call",
                "func": {
                    "name": "round",
                    "argTypes": ["vector", "scalar"],
                    "variadic": 1,
                    "returnType": "vector",
                },
                "args": [up, one],
            }),
        ),
        (
            "topk without (a) (1, up)",
            json!({
                "type": "aggregation",
                "op": "topk",
                "param": one,
                "expr": up,
                "grouping": ["a"],
                "without": true,
            }),
        ),
        (
            "up > bool 1",
            json!({
                "type": "binaryExpr",
                "op": ">",
                "lhs": up,
                "rhs": one,
                "matching": null,
                "bool": true,
            }),
        ),
        (
            "up * on (a) group_left (b) up",
            json!({
                "type": "binaryExpr",
                "op": "*",
                "lhs": up,
                "rhs": up,
                "matching": {"card": "many-to-one", "labels": ["a"], "on": true, "include": ["b"]},
                "bool": false,
            }),
        ),
        (
            "up or up",
            json!({
                "type": "binaryExpr",
                "op": "or",
                "lhs": up,
                "rhs": up,
                "matching": {"card": "many-to-many", "labels": [], "on": false, "include": []},
                "bool": false,
            }),
        ),
    ] {
        let expr = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(tree(&expr), expected, "{text}");
    }
}
