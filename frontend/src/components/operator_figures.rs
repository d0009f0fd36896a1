//! The operator's six figures, those that have a threshold compared with it.

use pulseboard_shared::{BuiltIn, protocol::operator::Figures};
use yew::prelude::*;

use super::live_chart::limits;
use crate::{format, markup::html, words};

/// A figure as shown.
struct Tile {
    name: &'static str,
    value: String,
    unit: &'static str,
    /// `ok` or `warn`, of figures that are compared with the threshold.
    mark: Option<&'static str>,
}

/// The six, in the order of the contract; before the first ones came their places are empty.
fn tiles(figures: Option<&Figures>) -> [Tile; 6] {
    let decimal = |of: fn(&Figures) -> f64| format::figure(figures.map_or(f64::NAN, of));
    let whole = |of: fn(&Figures) -> u64| {
        figures.map_or_else(|| format::UNKNOWN.to_owned(), |known| of(known).to_string())
    };
    let mark = |of: fn(&Figures) -> f64| {
        figures.map(|known| {
            if of(known) > known.alert_threshold {
                "warn"
            } else {
                "ok"
            }
        })
    };
    let tile = |name, value, unit, mark| Tile {
        name,
        value,
        unit,
        mark,
    };
    [
        tile(
            words::CPU,
            decimal(|figures| figures.cpu_percent),
            "%",
            mark(|figures| figures.cpu_percent),
        ),
        tile(
            words::MEMORY,
            decimal(|figures| figures.memory_percent),
            "%",
            mark(|figures| figures.memory_percent),
        ),
        tile(
            words::REQUESTS,
            whole(|figures| figures.requests_total),
            "",
            None,
        ),
        tile(
            words::ERRORS,
            whole(|figures| figures.errors_total),
            "",
            None,
        ),
        tile(
            words::CONNECTIONS,
            whole(|figures| figures.active_connections),
            "",
            None,
        ),
        tile(
            words::THRESHOLD,
            // As it was set: of 61.25 nothing is left out, and 80 has nothing behind it.
            figures.map_or_else(
                || format::UNKNOWN.to_owned(),
                |known| format::plain(known.alert_threshold),
            ),
            "%",
            None,
        ),
    ]
}

/// What a figure is. The threshold is of the CPU: it says nothing of the memory, whose class is
/// all that is compared.
/// Beside it stands what is beside it in the CPU's chart.
fn note(tile: &Tile, threshold: Option<f64>) -> String {
    match (tile.name, tile.mark) {
        (words::CPU, Some("warn")) => "Above the threshold",
        (words::CPU, Some(_)) => "Not above the threshold",
        (words::REQUESTS | words::ERRORS, _) => "Since the start or the last reset",
        (words::CONNECTIONS, _) => "Control sockets open now",
        (words::THRESHOLD, _) => return limits(BuiltIn::Cpu, threshold).join(" · "),
        _ => "",
    }
    .to_owned()
}

/// A card for each; `threshold` is the one of the log, in percent of the CPU.
pub(crate) fn operator_figures(figures: Option<&Figures>, threshold: Option<f64>) -> Html {
    let card = |tile: Tile| {
        let note = note(&tile, threshold);
        html! {
            <article class={classes!("figure", tile.mark)} key={tile.name}>
                <h3>{ tile.name }</h3>
                <p class="figure__now">
                    <span class={classes!("value", tile.mark)}>{ tile.value }</span>
                    if !tile.unit.is_empty() {
                        <span class="unit">{ tile.unit }</span>
                    }
                </p>
                <p class="figure__note">{ note }</p>
            </article>
        }
    };
    html! { <>{ for tiles(figures).into_iter().map(card) }</> }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_what_is_above_the_threshold() {
        let figures = Figures {
            cpu_percent: 87.34,
            memory_percent: 80.0,
            requests_total: 12_345,
            errors_total: 0,
            active_connections: 1,
            alert_threshold: 80.0,
        };
        let shown: Vec<(&str, String, Option<&str>)> = tiles(Some(&figures))
            .into_iter()
            .map(|tile| (tile.name, tile.value, tile.mark))
            .collect();
        assert_eq!(
            shown,
            [
                ("CPU", "87.3".to_owned(), Some("warn")),
                ("Memory", "80.0".to_owned(), Some("ok")),
                ("Requests", "12345".to_owned(), None),
                ("Errors", "0".to_owned(), None),
                ("Connections", "1".to_owned(), None),
                ("Threshold", "80".to_owned(), None),
            ]
        );
        let figures = Figures {
            alert_threshold: 61.25,
            ..figures
        };
        assert_eq!(tiles(Some(&figures))[5].value, "61.25");
        assert!(tiles(None).iter().all(|tile| tile.value == format::UNKNOWN));
    }

    #[test]
    fn a_threshold_of_the_cpu_does_not_judge_the_memory() {
        let figures = Figures {
            cpu_percent: 3.0,
            memory_percent: 81.0,
            requests_total: 1,
            errors_total: 0,
            active_connections: 1,
            alert_threshold: 5.0,
        };
        let tiles = tiles(Some(&figures));
        let notes: Vec<_> = tiles.iter().map(|tile| note(tile, Some(5.0))).collect();
        assert_eq!(
            notes,
            [
                "Not above the threshold",
                "",
                "Since the start or the last reset",
                "Since the start or the last reset",
                "Control sockets open now",
                "Limit 90 %, critical · Operator's log above 5 %",
            ]
        );
    }
}
