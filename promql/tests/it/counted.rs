//! What an evaluation takes of the machine's memory, by an allocator that counts it: never much
//! more than it asked its guard for, whatever the expression is. A guard can only refuse what it is
//! asked.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use fastrand::Rng;
use pulseboard_promql::{Options, parse, range};

use crate::{
    generated::{self, LENGTH_S, START_S},
    grammar::Grammar,
    support::{Counts, Memory},
};

thread_local! {
    /// Bytes that this thread has and has not given back; another may give them back for it.
    static NOW: Cell<isize> = const { Cell::new(0) };
    /// The most of them since somebody began to count.
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn grow(by: isize) {
    // A thread that ends has nothing to count with any more.
    let _ended = NOW.try_with(|now| {
        now.set(now.get() + by);
        let _ended = MOST.try_with(|most| most.set(most.get().max(now.get())));
    });
}

/// The system's, with each thread's bytes counted.
struct Counting;

// SAFETY: every call is handed on to the system's allocator with the same arguments, and what it
// gives is handed back. Counting allocates nothing: its cells are constant and have no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size().cast_signed());
        // SAFETY: the caller's promise is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grow(layout.size().cast_signed());
        // SAFETY: the caller's promise is the system's.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        grow(-layout.size().cast_signed());
        // SAFETY: the memory is the system's, and the caller's promise, too.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        grow(size.cast_signed() - layout.size().cast_signed());
        // SAFETY: the memory is the system's, and the caller's promise, too.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// There is so much room for one question.
const ROOM: usize = 4 << 20;

/// Around an expression, what makes much of little.
fn larger(random: &mut Rng, expr: &str) -> String {
    let long = "x".repeat(random.usize(1..3_000));
    let joined = vec!["\"job\""; random.usize(2..200)].join(",");
    match random.u8(..9) {
        0 => format!("label_replace({expr}, \"job\", \"{long}$1$1\", \"job\", \"(.*)\")"),
        1 => format!("label_join({expr}, \"job\", \"{long}\", {joined})"),
        2 => format!("count_values(\"{long}\", {expr})").replace(&long, "job"),
        3 => format!("sum_over_time(({expr})[5m:100ms])"),
        4 => format!("max_over_time(({expr})[10m:1s])"),
        5 => format!("({expr}) or label_replace({expr}, \"o\", \"{long}\", \"\", \"\")"),
        6 => format!("sort_desc({expr})"),
        7 => format!("topk(1000000, {expr})"),
        _ => format!("quantile by (job, instance) (0.5, {expr})"),
    }
}

#[test]
fn no_expression_takes_much_more_than_it_asked_for() {
    let mut random = Rng::with_seed(8);
    let (mut asked, mut refused) = (0, 0);
    let memory = Memory::of(generated::all(&mut random));
    let times = (START_S * 1_000 + 300, (START_S + LENGTH_S) * 1_000, 1_000);
    while asked < 100 {
        let mut query = Grammar::free(&mut random).question().text;
        for _ in 0..random.u8(..4) {
            query = larger(&mut random, &query);
        }
        if query.len() > 16 * 1_024 {
            continue;
        }
        let Ok(expr) = parse(&query) else {
            continue;
        };
        asked += 1;
        let counts = Counts::with_room(ROOM);
        let before = NOW.get();
        MOST.set(before);
        let answer = range(&expr, times, &memory, &counts, Options::default());
        let took = (MOST.get() - before).unsigned_abs();
        refused += usize::from(answer.is_err());
        let most = counts.most.get();
        assert!(
            took <= 2 * most + (1 << 20),
            "{took} bytes were taken, {most} asked for: {query}"
        );
    }
    assert!(refused > 4 && refused < 80, "{refused} of {asked}");
}
