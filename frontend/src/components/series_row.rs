//! A series as a row of a list: its name, its last minutes as a line, its newest value, its state.

use yew::prelude::*;

use super::series_link;
use crate::{format, markup::html, net::series::Series, words};

/// A line without axes: whole units of a box of 100 by 24, broken where nothing was.
pub(crate) fn spark_path(spark: &[f64]) -> String {
    let finite = spark.iter().copied().filter(|value| value.is_finite());
    let least = finite.clone().fold(f64::INFINITY, f64::min);
    let greatest = finite.fold(f64::NEG_INFINITY, f64::max);
    let height = (greatest - least).max(1e-300);
    #[expect(clippy::cast_precision_loss, reason = "some thirty points")]
    let step = 100.0 / (spark.len().max(2) - 1) as f64;
    let mut path = String::new();
    let mut broken = true;
    let mut x = 0.0;
    for value in spark {
        if value.is_finite() {
            let y = if greatest > least {
                22.0 - (value - least) / height * 20.0
            } else {
                12.0
            };
            path.push(if broken { 'M' } else { 'L' });
            path.push_str(&format!("{} {}", format::fixed(x, 1), format::fixed(y, 1)));
            if broken {
                // A point alone is seen, too.
                path.push_str("h0.01");
            }
        }
        broken = !value.is_finite();
        x += step;
    }
    path
}

/// How long it is from one sample to the next: as measured, to the tenth of a second.
fn rhythm(interval_ms: f64) -> String {
    if (1_000.0..60_000.0).contains(&interval_ms) {
        let tenths = format::fixed(interval_ms / 1_000.0, 1);
        return [tenths.trim_end_matches(".0"), " s"].concat();
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a positive number of milliseconds"
    )]
    let whole_ms = interval_ms as u64;
    if whole_ms < 1_000 {
        format::interval(whole_ms)
    } else {
        format::duration(whole_ms.cast_signed())
    }
}

/// A row of the list.
pub(crate) fn series_row(series: &Series, now_ms: f64) -> Html {
    #[expect(clippy::cast_possible_truncation, reason = "an age in milliseconds")]
    let age = format::duration((now_ms - series.last_ms) as i64);
    let state = if series.stopped {
        words::stopped(&age)
    } else {
        match (series.rate, series.interval_ms) {
            (Some(rate), _) => format!("{} /s", format::value(rate)),
            (None, Some(interval)) => format!("every {}", rhythm(interval)),
            (None, None) => format!("once, {age} ago"),
        }
    };
    let (figure, unit) = format::measure(series.last, &series.unit);
    html! {
        <li key={series.key.as_str()} class={classes!("series-row", series.stopped.then_some("is-old"))}>
            <span class="series-row__name">
                { series_link(&series.key, &series.name, series.labels()) }
            </span>
            <svg class="series-row__spark" viewBox="0 0 100 24" preserveAspectRatio="none" aria-hidden="true" focusable="false">
                <path d={spark_path(&series.spark)} />
            </svg>
            <span class="series-row__now">
                { figure }
                <span class="series-row__unit">{ format!(" {unit}") }</span>
            </span>
            <span class="series-row__state">{ state }</span>
        </li>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sparklines_break_where_nothing_was() {
        assert_eq!(spark_path(&[]), "");
        assert_eq!(
            spark_path(&[0.0, 1.0, f64::NAN, 0.5, 0.5]),
            "M0.0 22.0h0.01L25.0 2.0M75.0 12.0h0.01L100.0 12.0"
        );
        assert_eq!(spark_path(&[7.0, 7.0]), "M0.0 12.0h0.01L100.0 12.0");
    }

    #[test]
    fn a_rhythm_has_the_digits_that_one_sees() {
        let words = [250.0, 1_000.0, 2_500.0, 59_900.0, 90_000.0].map(rhythm);
        assert_eq!(words, ["250 ms", "1 s", "2.5 s", "59.9 s", "1 min 30 s"]);
    }
}
