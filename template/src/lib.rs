//! Go's `text/template` and `html/template`, bounded in steps, bytes and depth: what rules and
//! notifications say. Pure: no clock, no I/O.
