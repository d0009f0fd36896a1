//! Label values that an expression makes: they cannot grow past a bound, however they are nested.

use pulseboard_promql::{EvalError, Options, instant, parse, storage::Unguarded};

use crate::support::Memory;

fn error_of(query: &str) -> String {
    let memory = Memory::load(60_000, "a 1");
    let expr = parse(query).expect("parses");
    match instant(&expr, 0, &memory, &Unguarded, Options::default()) {
        Err(EvalError::Execution(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// Each of these asks for gigabytes where nothing is counted before it is made.
#[test]
fn values_do_not_grow_past_a_bound() {
    let long = "a".repeat(100);
    let seed = format!("label_replace(vector(1), \"d\", \"{long}\", \"\", \"\")");
    let joined = |query: String, count: usize| {
        let from = vec!["\"d\""; count].join(",");
        format!("label_join({query}, \"d\", \"\", {from})")
    };
    let wide = (0..3).fold(seed.clone(), |query, _| joined(query, 1_250));
    assert!(error_of(&wide).contains("label_join() makes a label value"));
    let deep = (0..28).fold(seed.clone(), |query, _| joined(query, 2));
    assert!(error_of(&deep).contains("label_join() makes a label value"));
    let replacement = "$1".repeat(40);
    let replaced = (0..8).fold(seed, |query, _| {
        format!("label_replace({query}, \"d\", \"{replacement}\", \"d\", \"(.*)\")")
    });
    assert!(error_of(&replaced).contains("label_replace() makes a label value"));
}
