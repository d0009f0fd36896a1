//! What the lines of a chart did in the time that it shows, as a table that is its legend, too; and
//! how one of them did lately.

use yew::prelude::*;

use crate::{
    chart::{layout::Span, order, scale::rounded},
    format,
    markup::html,
    net::{json::Json, series::Line},
    platform,
    stores::track::{LINES_MAX, Track},
    words,
};

/// Digits that percentiles have: they are known within a hundredth.
const PERCENTILE_DIGITS: i32 = 2;

/// The columns of figures.
const COLUMNS: [&str; 4] = ["Last", words::MIN, words::MEAN, words::MAX];

/// What a click on a line does.
const ISOLATE: &str = "Click: this line alone; Shift-click: hide or show it";

/// By which column rows are sorted, and whether the greatest comes first; `None`: as they came.
pub(crate) type Order = Option<(usize, bool)>;

/// What one line did in `span`: [`COLUMNS`], and how many samples were no numbers.
fn figures(line: &Line, span: &Span) -> ([f64; 4], u64) {
    let (mut sum, mut count, mut odd) = (0.0, 0.0, 0);
    let mut ends = (f64::NAN, f64::NAN);
    let mut last = f64::NAN;
    for step in &line.steps {
        if step.t_ms < span.from_ms || step.t_ms > span.to_ms {
            continue;
        }
        odd += u64::from(step.odd);
        if step.mean.is_finite() {
            // Of the samples, not of the steps: a step that few came in counts as few.
            let samples = step.count.max(1.0);
            sum += step.mean * samples;
            count += samples;
            ends = (ends.0.min(step.least), ends.1.max(step.greatest));
            last = step.mean;
        }
    }
    if let Some(heard) = line.last {
        last = heard.value;
    }
    ([last, ends.0, sum / count, ends.1], odd)
}

/// How a line looks beside its name: as in the chart, see [`crate::chart::trace`].
fn swatch(index: usize, stale: bool) -> String {
    if stale {
        return "legend__line legend__line--stale".to_owned();
    }
    format!("legend__line legend__line--{}", index + 1)
}

/// A figure in its unit.
fn cell(figure: f64, unit: &str) -> Html {
    let (figure, unit) = format::measure(figure, unit);
    html! { <td>{ format!("{figure} {unit}") }</td> }
}

/// `last 24 h, 27 Nov 14:05 to 28 Nov 14:05`.
pub(super) fn span_words(span: &Span, is_live: bool) -> String {
    let moment = |at_ms: f64| {
        let offset_min = platform::zone_offset_min(at_ms);
        #[expect(clippy::cast_possible_truncation, reason = "Unix ms")]
        let at_ms = at_ms as i64;
        format!(
            "{} {}",
            format::date(at_ms, offset_min),
            format::clock_minutes(at_ms, offset_min)
        )
    };
    #[expect(clippy::cast_possible_truncation, reason = "a range in milliseconds")]
    let length = format::duration(span.length_ms() as i64);
    let last = if is_live { "last " } else { "" };
    format!(
        "{last}{length}, {} to {}",
        moment(span.from_ms),
        moment(span.to_ms)
    )
}

/// What the table of a chart's lines shows.
pub(crate) struct LineTable<'a> {
    /// The lines.
    pub(crate) track: &'a Track,
    /// The time that the chart shows.
    pub(crate) span: Span,
    /// That goes on with the clock.
    pub(crate) is_live: bool,
    /// Some of it is kept as steps, of which it is only known that something was in them.
    pub(crate) is_coarse: bool,
    /// The figures are not of now.
    pub(crate) is_stale: bool,
    /// How it is sorted.
    pub(crate) order: Order,
    /// Lines that the chart does not show, a bit each.
    pub(crate) hidden: u8,
    /// A heading was clicked.
    pub(crate) on_sort: &'a Callback<usize>,
    /// Other lines are to be hidden.
    pub(crate) on_hide: &'a Callback<u8>,
}

/// What is hidden once line number `index` of `count` was clicked: all others, or nothing any more;
/// with `toggled` this one alone is hidden or shown.
const fn hidden_after(hidden: u8, index: usize, count: usize, toggled: bool) -> u8 {
    let all = if count >= LINES_MAX {
        u8::MAX
    } else {
        (1 << count) - 1
    };
    let this = 1 << index;
    let next = if toggled {
        hidden ^ this
    } else if hidden == all & !this {
        0
    } else {
        all & !this
    };
    // Nothing at all is not looked at.
    if next & all == all { 0 } else { next }
}

/// One row a line, and one for the rest; stale ones have the swatch that their line has.
pub(crate) fn line_table(table: &LineTable<'_>) -> Html {
    let LineTable {
        track,
        span,
        is_stale: stale,
        order,
        hidden,
        on_sort,
        on_hide,
        ..
    } = *table;
    let at_least = if table.is_coarse { "≥ " } else { "" };
    let count = track.lines.len();
    let lines = track.lines.iter().take(LINES_MAX).enumerate();
    let mut rows: Vec<_> = lines
        .map(|(index, line)| (index, line, figures(line, &span)))
        .collect();
    if let Some((column, greatest_first)) = order {
        let mut places: Vec<(f64, f64)> = Vec::new();
        for (place, (_, _, (figures, _))) in (0_u32..).zip(&rows) {
            let figure = figures[column];
            let key = if greatest_first { -figure } else { figure };
            places.push((key, f64::from(place)));
        }
        order::by_first(&mut places);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a place that was counted above"
        )]
        let sorted = places.iter().map(|(_, place)| rows[*place as usize]);
        rows = sorted.collect();
    }
    let is_odd = rows.iter().any(|(_, _, (_, odd))| *odd > 0);
    let unit = track.unit();
    let in_unit = if unit.is_empty() {
        String::new()
    } else {
        format!(", {unit}")
    };
    let head = |(column, title): (usize, &&'static str)| {
        let on_sort = on_sort.clone();
        let sorted = order
            .filter(|(by, _)| *by == column)
            .map(|(_, greatest_first)| greatest_first);
        let (sort, arrow) = match sorted {
            None => ("none", ""),
            Some(true) => ("descending", " ↓"),
            Some(false) => ("ascending", " ↑"),
        };
        html! {
            <th scope="col" aria-sort={sort}>
                <button class="lines__sort" type="button" onclick={move |_| on_sort.emit(column)}>
                    { format!("{title}{in_unit}{arrow}") }
                </button>
            </th>
        }
    };
    let row = |(index, line, (figures, odd)): &(usize, &Line, ([f64; 4], u64))| {
        let (index, on_hide) = (*index, on_hide.clone());
        let is_hidden = hidden & (1 << index) != 0;
        let onclick = move |event: MouseEvent| {
            let toggled = event.shift_key() || event.ctrl_key() || event.meta_key();
            on_hide.emit(hidden_after(hidden, index, count, toggled));
        };
        html! {
            <tr key={line.key.as_str()} class={classes!(is_hidden.then_some("is-hidden"))}>
                <th scope="row">
                    <button
                        class={classes!("legend__button", swatch(index, stale))}
                        type="button"
                        aria-pressed={if is_hidden { "false" } else { "true" }}
                        title={ISOLATE}
                        {onclick}
                    >
                        { line.key.clone() }
                    </button>
                </th>
                { for figures.iter().map(|figure| cell(*figure, &line.unit)) }
                if is_odd {
                    <td>{ [at_least, &format::grouped(*odd)].concat() }</td>
                }
            </tr>
        }
    };
    let others = track.others.as_ref().map(|others| {
        // How many samples each of its steps has is not told, so it has no mean.
        let ([_, least, _, greatest], _) = figures(others, &span);
        html! {
            <tr key="others">
                <th scope="row" class="legend__line legend__line--others">
                    { format!("{} others combined", format::grouped(track.others_count)) }
                </th>
                <td></td>
                { cell(least, unit) }
                <td></td>
                { cell(greatest, unit) }
                if is_odd {
                    <td></td>
                }
            </tr>
        }
    });
    html! {
        <div class="windows panel" tabindex="0" role="region" aria-label="Figures of the lines">
            <table>
                <caption>{ format!("Shown: {}", span_words(&span, table.is_live)) }</caption>
                <thead>
                    <tr>
                        <th scope="col">{ words::SERIES }</th>
                        { for COLUMNS.iter().enumerate().map(head) }
                        if is_odd {
                            <th scope="col">{ words::NOT_FINITE }</th>
                        }
                    </tr>
                </thead>
                <tbody>
                    { for rows.iter().map(row) }
                    { others }
                </tbody>
            </table>
        </div>
    }
}

/// How the last minutes of one series went; what reaches further back than `range_ms` is left out.
pub(crate) fn window_table(json: &Json, line: &Line, range_ms: f64) -> Html {
    const EXACT: [(&str, &str); 3] = [
        ("avg", words::MEAN),
        ("min", words::MIN),
        ("max", words::MAX),
    ];
    const SKETCHED: [&str; 4] = ["p50", "p90", "p95", "p99"];
    let mut all = json.list().iter();
    let Some(series) = all.find(|series| series.text_of("key") == line.key) else {
        return Html::default();
    };
    let seconds = |window: &Json| window.get("seconds").number().unwrap_or(0.0);
    let shown = series.get("windows").list().iter();
    let shown = shown.filter(|window| seconds(window) * 1_000.0 <= range_ms);
    let row = |window: &Json| {
        #[expect(clippy::cast_possible_truncation, reason = "an hour at most")]
        let length = format::duration((seconds(window) * 1_000.0) as i64);
        html! {
            <tr>
                <th scope="row">{ format!("Last {length}") }</th>
                <td>{ format::value(window.get("count").figure()) }</td>
                { for EXACT.iter().map(|(name, _)| cell(window.get(name).figure(), &line.unit)) }
                { for SKETCHED.iter().map(|name| {
                    cell(rounded(window.get(name).figure(), PERCENTILE_DIGITS), &line.unit)
                }) }
            </tr>
        }
    };
    let in_unit = if line.unit.is_empty() {
        String::new()
    } else {
        format!(", {}", line.unit)
    };
    html! {
        <div class="windows panel" tabindex="0" role="region" aria-label="Live windows">
            <table>
                <caption>
                    { format!("Live windows of {}; percentiles are within 1 %", line.key) }
                </caption>
                <thead>
                    <tr>
                        <th scope="col">{ "Window" }</th>
                        <th scope="col">{ "Samples" }</th>
                        { for EXACT.iter().map(|(_, title)| html! {
                            <th scope="col">{ format!("{title}{in_unit}") }</th>
                        }) }
                        { for SKETCHED.iter().map(|title| html! {
                            <th scope="col">{ format!("≈ {title}{in_unit}") }</th>
                        }) }
                    </tr>
                </thead>
                <tbody>{ for shown.map(row) }</tbody>
            </table>
        </div>
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::trace::STALE_DASH;

    #[test]
    fn a_line_that_stopped_looks_in_the_table_as_in_the_chart() {
        assert_eq!(swatch(2, false), "legend__line legend__line--3");
        assert_eq!(swatch(2, true), "legend__line legend__line--stale");
        let styles = include_str!("../../styles/components/series-list.css");
        assert!(styles.contains(
            ".legend__line--stale { --series: repeating-linear-gradient(90deg, var(--faint) 0 6px, transparent 6px 10px); }"
        ));
        let [dash, gap] = STALE_DASH else {
            panic!("{STALE_DASH:?}");
        };
        assert_eq!((*dash, *gap), (6.0, 4.0));
    }

    #[test]
    fn a_line_is_looked_at_alone() {
        let alone = hidden_after(0, 1, 3, false);
        assert_eq!(alone, 0b101);
        assert_eq!(hidden_after(alone, 1, 3, false), 0, "and all again");
        assert_eq!(hidden_after(alone, 2, 3, false), 0b011, "another one");
        assert_eq!(hidden_after(0, 0, 3, true), 0b001);
        assert_eq!(hidden_after(0b011, 2, 3, true), 0, "never none");
        assert_eq!(hidden_after(0, 7, 8, false), 0b0111_1111);
    }

    #[test]
    fn a_row_is_of_what_is_shown() {
        let json = Json::parse(
            r#"{"key":"a","points":[[0,99,99,99],[1000,2,1,3],[2000,4,0,9]],"counts":[1,9,1],"not_finite":[[2000,2],[3000,5]]}"#,
        );
        let line = Line::read(&json.expect("JSON"));
        let span = Span {
            from_ms: 500.0,
            to_ms: 5_000.0,
        };
        assert_eq!(figures(&line, &span), ([4.0, 0.0, 2.2, 9.0], 7));
        let nothing = figures(&Line::default(), &span);
        assert!(nothing.0.iter().all(|figure| figure.is_nan()) && nothing.1 == 0);
    }
}
