//! What is usual for a figure at this time of the week, as expressions in PromQL: they are drawn,
//! and stand in rules, like any other, here and in Prometheus.
//!
//! At each time the same half hour of earlier days and weeks is looked at: the median of their
//! means is what is expected, and the median of their standard deviations how far it commonly goes.
//! One outage a week ago moves neither.

use super::expression::bare_selector;

/// How many days ago the same time is looked at.
const DAYS: [u32; 6] = [1, 2, 3, 7, 14, 21];

/// So many deviations from what is expected are usual.
const WIDTH: &str = "4";

/// Half of the stretch around the same time, in minutes.
const AROUND_MIN: u32 = 15;

/// The label that tells the days apart.
const LABEL: &str = "days_ago";

/// The median over the days of what `function` makes of each.
fn median(function: &str, expression: &str) -> String {
    let stretch = match bare_selector(expression) {
        Some(selector) => format!("{selector}[{}m]", 2 * AROUND_MIN),
        None => format!("({expression})[{}m:1m]", 2 * AROUND_MIN),
    };
    let days: Vec<String> = DAYS
        .iter()
        .map(|days| {
            // Its end: so the stretch lies around the same time of that day.
            let ago = days * 24 * 60 - AROUND_MIN;
            format!(
                "label_replace({function}({stretch} offset {ago}m), \"{LABEL}\", \"{days}\", \"\", \"\")"
            )
        })
        .collect();
    format!("quantile without ({LABEL}) (0.5, {})", days.join(" or "))
}

fn edge(sign: &str, expression: &str) -> String {
    let (mean, deviation) = (
        median("avg_over_time", expression),
        median("stddev_over_time", expression),
    );
    format!("{mean} {sign} {WIDTH} * {deviation}")
}

/// The lowest and the highest usual value of an expression over time.
#[must_use]
pub fn band(expression: &str) -> [String; 2] {
    ["-", "+"].map(|sign| edge(sign, expression.trim()))
}

/// Holds while an expression is outside of [`band`].
#[must_use]
pub fn unusual(expression: &str) -> String {
    let expression = expression.trim();
    let (mean, deviation) = (
        median("avg_over_time", expression),
        median("stddev_over_time", expression),
    );
    // A difference has no name, as what it is compared with has none.
    format!("abs(({expression}) - {mean}) > {WIDTH} * {deviation}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_half_hour_of_earlier_days_is_looked_at() {
        let [low, high] = band(" cpu{instance=\"a\"} ");
        assert!(low.contains(
            "label_replace(avg_over_time(cpu{instance=\"a\"}[30m] offset 1425m), \
             \"days_ago\", \"1\", \"\", \"\")"
        ));
        // Seven days less a quarter of an hour.
        assert!(low.contains("offset 10065m"));
        assert!(
            low.contains(") - 4 * quantile without (days_ago) (0.5, label_replace(stddev_over")
        );
        assert_eq!(low.replacen(" - 4 *", " + 4 *", 1), high);
    }

    #[test]
    fn what_is_no_selector_is_looked_at_step_by_step() {
        let rule = unusual("sum(rate(x[1m]))");
        assert!(rule.starts_with("abs((sum(rate(x[1m]))) - quantile without"));
        assert!(rule.contains("avg_over_time((sum(rate(x[1m])))[30m:1m] offset 1425m)"));
        assert!(rule.contains(" > 4 * quantile without"));
    }
}
