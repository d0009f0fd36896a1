//! The operator's view: six figures, the commands, and a log of what was answered and raised.

use gloo::timers::callback::Timeout;
use pulseboard_shared::{BuiltIn, protocol::operator::Figures};
use web_sys::HtmlInputElement;
use yew::prelude::*;
use yewdux::prelude::use_dispatch;

use super::live_chart::limits;
use crate::{
    format,
    hooks::{Channel, Heard, Kind, Stream, use_channel, use_effect_with, use_feed, use_selector},
    markup::html,
    net::{
        config::Endpoint,
        json::{Json, quote},
        link::Standing,
        rooms::Follow,
    },
    platform,
    stores::{change::Change, operator::OperatorStore, session::SessionStore},
    words,
};

/// Props of [`OperatorView`] and its parts.
#[derive(Clone, Debug, PartialEq, Properties)]
pub struct Props {
    /// Where the backend is.
    pub endpoint: Endpoint,
}

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
            "CPU",
            decimal(|figures| figures.cpu_percent),
            "%",
            mark(|figures| figures.cpu_percent),
        ),
        tile(
            "Memory",
            decimal(|figures| figures.memory_percent),
            "%",
            mark(|figures| figures.memory_percent),
        ),
        tile(
            "Requests",
            whole(|figures| figures.requests_total),
            "",
            None,
        ),
        tile("Errors", whole(|figures| figures.errors_total), "", None),
        tile(
            "Connections",
            whole(|figures| figures.active_connections),
            "",
            None,
        ),
        tile(
            "Threshold",
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
        ("CPU", Some("warn")) => "Above the threshold",
        ("CPU", Some(_)) => "Not above the threshold",
        ("Requests" | "Errors", _) => "Since the start or the last reset",
        ("Connections", _) => "Control sockets open now",
        ("Threshold", _) => return limits(BuiltIn::Cpu, threshold).join(" · "),
        _ => "",
    }
    .to_owned()
}

/// `set_threshold` as sent: a number where it is one, else the text, which the server refuses
/// in words.
fn threshold_command(text: &str) -> String {
    let text = text.trim();
    let value = match Json::parse(text) {
        Some(Json::Number(_)) => text.to_owned(),
        _ => quote(text),
    };
    format!(r#"{{"command":"set_threshold","value":{value}}}"#)
}

/// A reset can be undone for so long.
const UNDO_MS: u32 = 3_000;

const STREAM: Stream = Stream {
    path: "/api/metrics/stream",
    names: &["metrics", "alert"],
};

/// See the module.
#[component]
pub fn OperatorView(Props { endpoint }: &Props) -> Html {
    let store = use_selector(OperatorStore::clone);
    let role = *use_selector(|store: &SessionStore| store.session().map(|session| session.role));
    let old = use_feed(endpoint, Follow::OPERATOR, STREAM, "") != Standing::Open;

    html! {
        <section class="operator" aria-label="Operator">
            <h2 class="visually-hidden">{ "Operator" }</h2>
            <div class={classes!("operator__figures", old.then_some("is-old"))}>
                { for tiles(store.figures()).into_iter().map(|tile| { let note = note(&tile, store.select_threshold()); html! {
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
                } }) }
            </div>
            <div class="operator__commands panel">
                <h3>{ "Commands" }</h3>
                { match role {
                    Some(role) if role.operates() => {
                        html! { <Commands endpoint={endpoint.clone()} /> }
                    }
                    Some(role) => html! {
                        <p class="operator__refused">
                            { format!("Commands need the role operator; yours is {role}.") }
                        </p>
                    },
                    // Asked for at this moment.
                    None => Html::default(),
                } }
            </div>
            <div class="operator__log panel">
                <h3>{ "Log" }</h3>
                <div class="log" role="log" aria-label="Log" tabindex="0"><ol>
                    { for store.lines().map(|line| {
                        #[expect(clippy::cast_possible_truncation, reason = "Unix ms")]
                        let at_ms = line.at_ms as i64;
                        let clock = format::clock(at_ms, platform::zone_offset_min(line.at_ms));
                        html! { <li key={line.number}>{ format!("[{clock}] {}", line.text) }</li> }
                    }) }
                </ol></div>
                if store.lines().len() == 0 {
                    <p class="operator__empty">{ "Replies and alerts appear here" }</p>
                }
            </div>
        </section>
    }
}

/// How the control channel stands, where that keeps commands from being sent.
fn obstacle(channel: &Channel) -> Option<String> {
    match &channel.standing {
        Standing::Open => None,
        Standing::Opening => Some(words::CONNECTING.to_owned()),
        Standing::Lost => Some(words::LOST.to_owned()),
        Standing::Refused(why) => Some(words::refused(why)),
    }
}

/// The control channel, open for as long as the view is shown to somebody who may command.
#[component]
fn Commands(Props { endpoint }: &Props) -> Html {
    let dispatch = use_dispatch::<OperatorStore>();
    let threshold = *use_selector(|store: &OperatorStore| {
        store.figures().map(|figures| figures.alert_threshold)
    });
    let draft = use_state(|| None::<String>);
    let on_heard = Callback::from(move |Heard { event, data }: Heard| {
        if event == "message" {
            dispatch.change(|store| store.reply(&data, platform::now_ms()));
        }
    });
    let control = use_channel(
        endpoint.clone(),
        "/ws/control".into(),
        Kind::Socket,
        on_heard,
    );
    let obstacle = obstacle(&control);
    let value = draft.as_deref().map_or_else(
        || threshold.map_or_else(String::new, format::plain),
        str::to_owned,
    );

    // What cannot be taken back is not sent at once.
    let resetting = use_state_eq(|| false);
    {
        let (send, done) = (control.send.clone(), resetting.setter());
        use_effect_with(*resetting, move |resetting| {
            let timer = resetting.then(|| {
                Timeout::new(UNDO_MS, move || {
                    send.emit(r#"{"command":"reset_counters"}"#.to_owned());
                    done.set(false);
                })
            });
            move || drop(timer)
        });
    }
    let on_reset = {
        let resetting = resetting.clone();
        move |_: MouseEvent| resetting.set(!*resetting)
    };
    let oninput = {
        let draft = draft.setter();
        move |event: InputEvent| {
            draft.set(Some(
                event.target_unchecked_into::<HtmlInputElement>().value(),
            ));
        }
    };
    let onsubmit = {
        let (send, draft, value) = (control.send, draft.setter(), value.clone());
        move |event: SubmitEvent| {
            event.prevent_default();
            send.emit(threshold_command(&value));
            draft.set(None);
        }
    };
    html! {
        <div class="operator__controls">
            <form class="operator__threshold" {onsubmit} novalidate=true>
                <label class="field">
                    <span class="field__label">{ words::LOG_THRESHOLD }</span>
                    <input
                        class="field__input"
                        type="number"
                        name="threshold"
                        min="0"
                        max="100"
                        step="any"
                        inputmode="decimal"
                        {value}
                        {oninput}
                    />
                </label>
                <button class="button button--primary" type="submit" disabled={obstacle.is_some()}>
                    { "Set threshold" }
                </button>
            </form>
            <button class="button" type="button" onclick={on_reset} disabled={obstacle.is_some()}>
                { if *resetting { "Undo" } else { "Reset counters" } }
            </button>
            <p class="operator__obstacle" role="status">
                { if *resetting { "Requests and errors go to 0 in a moment; after that it cannot be undone." } else { "" } }
            </p>
            <p class="operator__obstacle" role="status">{ obstacle.unwrap_or_default() }</p>
        </div>
    }
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

    #[test]
    fn commands_are_what_the_server_reads() {
        use pulseboard_shared::protocol::operator::ControlCommand;
        assert_eq!(
            ControlCommand::parse(&threshold_command(" 72.5 ")),
            Ok(ControlCommand::SetThreshold(72.5))
        );
        for wrong in ["", "much", "101"] {
            assert!(
                ControlCommand::parse(&threshold_command(wrong))
                    .is_err_and(|text| text.starts_with("Error: ")),
                "{wrong:?}"
            );
        }
    }
}
