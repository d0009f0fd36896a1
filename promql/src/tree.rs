//! An expression as JSON, as Prometheus' `/api/v1/parse_query` has it; without the fields of what
//! is experimental there.

use serde_json::{Value, json};

use crate::ast::{
    Aggregate, At, Binary, Cardinality, Expr, ExprKind, Matcher, Selector, ValueType, When,
};

/// The tree below an expression.
#[must_use]
pub fn tree(expr: &Expr) -> Value {
    match &expr.kind {
        ExprKind::Number(number) => json!({"type": "numberLiteral", "val": plain(*number)}),
        ExprKind::Text(text) => json!({"type": "stringLiteral", "val": text}),
        ExprKind::Paren(inner) => json!({"type": "parenExpr", "expr": tree(inner)}),
        ExprKind::Positive(inner) => json!({"type": "unaryExpr", "op": "+", "expr": tree(inner)}),
        ExprKind::Negative(inner) => json!({"type": "unaryExpr", "op": "-", "expr": tree(inner)}),
        ExprKind::Vector(selector) => {
            let mut node = timed("vectorSelector", &selector.when);
            name(&mut node, selector);
            node
        }
        ExprKind::Matrix { selector, range_ms } => {
            let mut node = timed("matrixSelector", &selector.when);
            name(&mut node, selector);
            node["range"] = json!(range_ms);
            node
        }
        ExprKind::Subquery {
            expr,
            range_ms,
            step_ms,
            when,
        } => {
            let mut node = timed("subquery", when);
            node["expr"] = tree(expr);
            node["range"] = json!(range_ms);
            node["step"] = json!(step_ms.unwrap_or_default());
            node
        }
        ExprKind::Call { function, args } => {
            let types = function.args.iter().map(|one| one.name());
            json!({
                "type": "call",
                "func": {
                    "name": function.name,
                    "argTypes": types.collect::<Vec<_>>(),
                    "variadic": function.variadic,
                    "returnType": function.returns.name(),
                },
                "args": args.iter().map(tree).collect::<Vec<_>>(),
            })
        }
        ExprKind::Aggregate(aggregate) => aggregation(aggregate),
        ExprKind::Binary(binary) => operation(binary),
    }
}

fn aggregation(aggregate: &Aggregate) -> Value {
    json!({
        "type": "aggregation",
        "op": aggregate.op.name(),
        "expr": tree(&aggregate.expr),
        "param": aggregate.param.as_ref().map(tree),
        "grouping": aggregate.grouping,
        "without": aggregate.without,
    })
}

fn operation(binary: &Binary) -> Value {
    let is_vector = |side: &Expr| side.value_type() == ValueType::Vector;
    let matching = (is_vector(&binary.lhs) && is_vector(&binary.rhs)).then(|| {
        let cardinality = match binary.matching.cardinality {
            _ if binary.op.is_set() => "many-to-many",
            Cardinality::One => "one-to-one",
            Cardinality::Left => "many-to-one",
            Cardinality::Right => "one-to-many",
        };
        json!({
            "card": cardinality,
            "labels": binary.matching.labels,
            "on": binary.matching.is_on,
            "include": binary.matching.include,
        })
    });
    json!({
        "type": "binaryExpr",
        "op": binary.op.text(),
        "lhs": tree(&binary.lhs),
        "rhs": tree(&binary.rhs),
        "matching": matching,
        "bool": binary.is_bool,
    })
}

/// A node with `offset` and `@`.
fn timed(kind: &str, when: &When) -> Value {
    let (timestamp, word) = match when.at {
        None => (None, None),
        Some(At::Time(ms)) => (Some(ms), None),
        Some(At::Start) => (None, Some("start")),
        Some(At::End) => (None, Some("end")),
    };
    json!({"type": kind, "offset": when.offset_ms, "timestamp": timestamp, "startOrEnd": word})
}

fn name(node: &mut Value, selector: &Selector) {
    node["name"] = json!(selector.name.as_deref().unwrap_or_default());
    node["matchers"] = selector.matchers.iter().map(matcher).collect();
}

fn matcher(one: &Matcher) -> Value {
    json!({"name": one.name, "type": one.op.text(), "value": one.value})
}

/// A number without an exponent.
fn plain(number: f64) -> String {
    match number {
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        number => number.to_string(),
    }
}
