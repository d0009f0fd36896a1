//! Holds `styles/tokens.css` to the contrasts of WCAG 2.2 AA, in both themes.

use std::collections::BTreeMap;

use crate::chart::trace::BAND;

const TOKENS: &str = include_str!("../styles/tokens.css");

/// Text: 4.5:1 (SC 1.4.3).
const TEXT: f64 = 4.5;
/// Lines of charts, borders of controls: 3:1 (SC 1.4.11).
const GRAPHIC: f64 = 3.0;

/// Tokens with a colour in the first block whose selector is exactly `selector`.
fn theme(selector: &str) -> BTreeMap<&'static str, [f64; 3]> {
    let start = TOKENS
        .find(&format!("\n{selector} {{"))
        .expect("the theme has a block");
    let block = &TOKENS[start..];
    let block = &block[..block.find('}').expect("the block ends")];
    block
        .lines()
        .filter_map(|line| {
            let (name, value) = line.trim().strip_suffix(';')?.split_once(": ")?;
            let hex = value.strip_prefix('#').filter(|hex| hex.len() == 6)?;
            let channel = |at: usize| {
                u8::from_str_radix(&hex[at..at + 2], 16).map(|byte| f64::from(byte) / 255.0)
            };
            let [Ok(red), Ok(green), Ok(blue)] = [0, 2, 4].map(channel) else {
                panic!("{line:?} is no colour");
            };
            Some((name, [red, green, blue]))
        })
        .collect()
}

/// Relative luminance, as WCAG 2.2 defines it.
fn luminance(color: [f64; 3]) -> f64 {
    let [red, green, blue] = color.map(|channel| {
        if channel <= 0.040_45 {
            channel / 12.92
        } else {
            ((channel + 0.055) / 1.055).powf(2.4)
        }
    });
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[test]
fn both_themes_can_be_read() {
    for selector in [":root", ":root[data-theme=\"light\"]"] {
        let tokens = theme(selector);
        let check = |front: &str, back: &str, least: f64| {
            let got = contrast(tokens[front], tokens[back]);
            assert!(
                got >= least,
                "{selector}: {front} on {back} is {got:.2}, below {least}"
            );
        };
        for back in ["--bg", "--panel", "--raised"] {
            for front in [
                "--text", "--muted", "--faint", "--accent", "--ok", "--warn", "--crit", "--info",
            ] {
                check(front, back, TEXT);
            }
            check("--control", back, GRAPHIC);
        }
        for number in 1..=8 {
            let line = format!("--line-{number}");
            check(&line, "--panel", GRAPHIC);
        }
        // A band of a line's colour, as thick as it is laid on.
        let share = f64::from(u8::from_str_radix(BAND, 16).expect("hexadecimal")) / 255.0;
        let (line, panel) = (tokens["--line-1"], tokens["--panel"]);
        let band: [f64; 3] = std::array::from_fn(|at| share * line[at] + (1.0 - share) * panel[at]);
        let got = contrast(band, panel);
        assert!(got >= GRAPHIC, "{selector}: a band is {got:.2}");
        for line in ["--chart-1", "--chart-2", "--chart-3", "--chart-4"] {
            check(line, "--panel", GRAPHIC);
        }
        check("--on-accent", "--accent", TEXT);
        for status in ["--ok", "--warn", "--crit", "--info"] {
            check("--on-status", status, TEXT);
        }
    }
}

#[test]
fn themes_name_the_same_colours() {
    let names = |selector| theme(selector).into_keys().collect::<Vec<_>>();
    assert_eq!(names(":root"), names(":root[data-theme=\"light\"]"));
}

#[test]
fn the_formula_is_the_standards() {
    assert!((contrast([0.0; 3], [1.0; 3]) - 21.0).abs() < 1e-9);
}
