//! What an evaluation holds: little more than its answer, however many series it reads, and nothing
//! when it is over.

use std::cell::Cell;

use pulseboard_promql::{Options, parse, range};

use crate::support::{Counts, Holds, Memory};

#[test]
fn what_is_held_is_little_more_than_the_answer() {
    let lines: String = (0..500)
        .map(|number| format!("load{{n=\"{number}\",g=\"{}\"}} 0+1x10\n", number % 5))
        .collect();
    let memory = Memory::load(60_000, &lines);
    let (steps, column) = (600, 600 * 8);
    for (query, columns_most) in [
        // One column at a time, and the cells of a group.
        ("sum(load)", 12),
        ("avg by (g) (rate(load[5m]))", 40),
        ("max without (n) (max_over_time(load[2m]))", 40),
        // All at once, and what was made on the way is let go.
        ("sum(((load + 1) * 2) - 3)", 1_200),
        ("abs(abs(abs(abs(abs(abs(load))))))", 1_200),
        // What may stay at each step, and the labels of what it chooses from.
        ("topk(3, load)", 60),
        ("bottomk by (g) (1, rate(load[5m]))", 60),
        // A column for each value that there is.
        ("count_values(\"v\", load)", 40),
        // All values of a group at a step are needed.
        ("quantile(0.5, load)", 600),
    ] {
        let counts = Counts::with_room(usize::MAX);
        let expr = parse(query).expect("parses");
        let times = (0, (steps - 1) * 1_000, 1_000);
        let answer = range(&expr, times, &memory, &counts, Options::default());
        let (answer, _) = answer.expect("an answer");
        assert!(!answer.is_empty(), "{query}");
        let most = counts.most.get() / column;
        assert!(most <= columns_most, "{query} held {most} columns");
    }
}

#[test]
fn a_quantile_that_does_not_fit_is_computed_some_steps_at_a_time() {
    let lines: String = (0..500)
        .map(|number| {
            let gap = if number % 7 == 0 { "_x3" } else { "" };
            format!(
                "load{{n=\"{number}\",g=\"{}\"}} {}+{number}x4 {gap} 7+1x5\n",
                number % 3,
                number * 31 % 97
            )
        })
        .collect();
    let memory = Memory::load(60_000, &lines);
    let asked = |query: &str, room: usize| {
        let expr = parse(query).expect("parses");
        let holds = Holds(Cell::new(room));
        let times = (0, 599_000, 1_000);
        let answer = range(&expr, times, &memory, &holds, Options::default());
        let (answer, _) = answer.unwrap_or_else(|error| panic!("{query} in {room}: {error}"));
        assert!(!answer.is_empty(), "{query}");
        answer
    };
    let all_values = 500 * 600 * 8;
    for query in [
        "quantile(0.9, load)",
        "quantile by (g) (scalar(vector(time() / 600)), load)",
        "quantile without (n) (0.5, max_over_time(load[2m]))",
    ] {
        let whole = asked(query, usize::MAX);
        for part in [2, 7] {
            assert!(asked(query, all_values / part) == whole, "{query} / {part}");
        }
    }
}
