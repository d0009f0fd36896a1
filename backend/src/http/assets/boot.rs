//! What the page is told in its own HTML, so that it asks for nothing before it shows something:
//! its settings, who the server takes it for, and the newest figures.
//!
//! `index.html` has a block of JSON, `<script type="application/json" id="boot">{}</script>`,
//! which is data to a browser and nothing that the policy would have to allow, and four places for
//! figures. Served from elsewhere they stay as they are, and the page asks. Whoever may not read
//! gets settings and session alone.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use pulseboard_shared::BUILT_IN;
use salvo::{Depot, Request};
use serde::Serialize;
use serde_json::Value;

use super::encoding::Encoding;
use crate::{
    app::App,
    base::{error::AppError, json::json_text},
    http::{
        self, caller,
        session::{SessionInfo, session_of},
        tenant,
    },
    ticks::live::Live,
};

/// Around the data.
const BLOCK: [&str; 2] = [
    "<script type=\"application/json\" id=\"boot\">",
    "</script>",
];

/// Where a figure is to stand; in the order of [`BUILT_IN`].
const FIGURE: &str = "<span class=\"value is-unknown\">––</span>";

/// A window of more ticks is not in the page: it is some fifty bytes a tick, and the figures are
/// to be there before the charts.
const TICKS_MAX: usize = 120;

/// The same bytes serve everybody who may see the same for this long, unless a tick comes.
const KEPT_MS: i64 = 1_000;

/// Different answers that are kept for that long.
const KEPT_MAX: usize = 16;

/// `index.html` with gaps.
#[derive(Debug)]
pub(super) struct Template {
    /// One more than there are gaps.
    pieces: Vec<Bytes>,
    gaps: Vec<Gap>,
    config: Option<Config>,
    kept: Mutex<Kept>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gap {
    Data,
    Figure(usize),
}

/// `config.json`.
#[derive(Debug)]
struct Config {
    value: Value,
    /// The page asks another server than this one, which therefore has nothing to tell it.
    is_of_another: bool,
}

#[derive(Debug, Default)]
struct Kept {
    newest: u64,
    made_ms: i64,
    pages: Vec<(Whose, Encoding, Bytes)>,
}

/// Those of whom it is equal get the same page.
#[derive(Debug, PartialEq)]
struct Whose {
    session: SessionInfo,
    reads: bool,
}

#[derive(Serialize)]
struct Boot<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<&'a SessionInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ticks: Option<Ticks>,
}

/// The window, shorter than as the metrics socket tells it.
#[derive(Debug, Serialize)]
struct Ticks {
    /// With the offset of the newest; only where the whole window is here, so that it can be
    /// gone on from.
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<String>,
    offset: u64,
    window: u64,
    interval_ms: u64,
    sent_ms: i64,
    /// When it was sampled, and the four figures; `null` for one that could not be measured.
    rows: Vec<(i64, [Option<f64>; BUILT_IN.len()])>,
}

impl Ticks {
    fn of(live: &Live, now_ms: i64) -> Self {
        live.with_window(|window| {
            let is_whole = window.capacity() <= TICKS_MAX;
            let ticks = window.ticks().rev();
            let ticks = ticks.take(if is_whole { TICKS_MAX } else { 1 });
            let mut rows: Vec<_> = ticks
                .map(|tick| {
                    let figure = |metric| Some(tick.built_in(metric)).filter(|v| v.is_finite());
                    (tick.sampled_ms, BUILT_IN.map(figure))
                })
                .collect();
            rows.reverse();
            Self {
                epoch: is_whole.then(|| live.feed().epoch().to_string()),
                offset: window.newest_offset(),
                window: window.capacity() as u64,
                interval_ms: live.interval_ms(),
                sent_ms: now_ms,
                rows,
            }
        })
    }
}

impl Template {
    /// The gaps in a page; `None` for one that has no place for data. `config` is the text of
    /// `config.json`.
    pub(super) fn of(html: &str, config: Option<&str>) -> Option<Self> {
        let (before, rest) = html.split_once(BLOCK[0])?;
        let end = rest.find(BLOCK[1])?;
        let data = before.len() + BLOCK[0].len();
        let mut places: Vec<(usize, usize, Gap)> = html
            .match_indices(FIGURE)
            .take(BUILT_IN.len())
            .enumerate()
            .map(|(index, (at, _))| (at, at + FIGURE.len(), Gap::Figure(index)))
            .collect();
        places.push((data, data + end, Gap::Data));
        places.sort_unstable_by_key(|place| place.0);
        let mut pieces = Vec::with_capacity(places.len() + 1);
        let mut at = 0;
        for (start, end, _) in &places {
            pieces.push(Bytes::copy_from_slice(html.get(at..*start)?.as_bytes()));
            at = *end;
        }
        pieces.push(Bytes::copy_from_slice(html.get(at..)?.as_bytes()));
        let config = config.and_then(|text| {
            let value: Value = serde_json::from_str(text).ok()?;
            let backend = value.as_object()?.get("backend").and_then(Value::as_str);
            Some(Config {
                is_of_another: backend.is_some_and(|backend| !backend.trim().is_empty()),
                value,
            })
        });
        Some(Self {
            pieces,
            gaps: places.into_iter().map(|(_, _, gap)| gap).collect(),
            config,
            kept: Mutex::default(),
        })
    }

    /// The page for whoever asks, packed.
    ///
    /// # Errors
    /// There is no server around the handler, as in its tests.
    pub(super) fn fill(
        &self,
        request: &Request,
        depot: &Depot,
        encoding: Encoding,
    ) -> Result<Bytes, AppError> {
        let app = http::app::app(depot)?;
        let whose = Whose {
            session: session_of(depot)?,
            // As the metrics socket asks.
            reads: caller::require_read(depot).is_ok() && tenant::borrowed(request, depot).is_ok(),
        };
        let now_ms = app.clock.now_ms();
        let newest = app.live.with_window(|window| window.newest_offset());
        {
            let mut kept = self.kept.lock();
            if kept.newest != newest || !(0..KEPT_MS).contains(&(now_ms - kept.made_ms)) {
                *kept = Kept {
                    newest,
                    made_ms: now_ms,
                    pages: Vec::new(),
                };
            }
            let mut known = kept.pages.iter();
            if let Some((_, _, page)) =
                known.rfind(|(of, packed, _)| *of == whose && *packed == encoding)
            {
                return Ok(page.clone());
            }
        }
        let page = encoding.pack(self.page(&app, &whose, now_ms));
        let mut kept = self.kept.lock();
        if kept.newest == newest && kept.pages.len() < KEPT_MAX {
            kept.pages.push((whose, encoding, page.clone()));
        }
        Ok(page)
    }

    fn page(&self, app: &Arc<App>, whose: &Whose, now_ms: i64) -> Vec<u8> {
        let is_ours = self
            .config
            .as_ref()
            .is_none_or(|config| !config.is_of_another);
        // A server without a source has none, and says so on the socket.
        let ticks = (is_ours && whose.reads && !app.live.is_sourceless())
            .then(|| Ticks::of(&app.live, now_ms));
        let figures = ticks
            .as_ref()
            .and_then(|ticks| ticks.rows.last())
            .map_or([None; BUILT_IN.len()], |(_, figures)| *figures);
        let boot = Boot {
            config: self.config.as_ref().map(|config| &config.value),
            session: is_ours.then_some(&whose.session),
            ticks,
        };
        self.write(&json_text(&boot), figures)
    }

    fn write(&self, boot: &str, figures: [Option<f64>; BUILT_IN.len()]) -> Vec<u8> {
        let mut page = Vec::with_capacity(16 * 1024);
        let mut pieces = self.pieces.iter();
        for gap in &self.gaps {
            page.extend_from_slice(pieces.next().map_or(b"", |piece| piece));
            match gap {
                Gap::Data => page.extend_from_slice(harmless(boot).as_bytes()),
                Gap::Figure(index) => match figures.get(*index).copied().flatten() {
                    // With one decimal, as the page writes figures itself.
                    Some(figure) => page.extend_from_slice(
                        format!("<span class=\"value\">{}</span>", one_decimal(figure)).as_bytes(),
                    ),
                    None => page.extend_from_slice(FIGURE.as_bytes()),
                },
            }
        }
        page.extend_from_slice(pieces.next().map_or(b"", |piece| piece));
        page
    }
}

fn one_decimal(figure: f64) -> String {
    let text = format!("{figure:.1}");
    // Nothing is less than nothing.
    if text == "-0.0" {
        "0.0".to_owned()
    } else {
        text
    }
}

/// JSON that can stand in HTML: what could end its element or begin a comment is written by its
/// number. It stands inside texts only, since nothing else of JSON has these characters.
fn harmless(json: &str) -> String {
    let mut text = String::with_capacity(json.len() + 64);
    for character in json.chars() {
        match character {
            '<' => text.push_str("\\u003c"),
            '>' => text.push_str("\\u003e"),
            '&' => text.push_str("\\u0026"),
            '\u{2028}' => text.push_str("\\u2028"),
            '\u{2029}' => text.push_str("\\u2029"),
            _ => text.push(character),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = include_str!("../../../../index.html");

    fn page(template: &Template, boot: &str, figures: [Option<f64>; 4]) -> String {
        String::from_utf8(template.write(boot, figures)).expect("text")
    }

    #[test]
    fn the_page_has_a_place_for_its_data_and_for_each_figure() {
        let template = Template::of(INDEX, Some(r#"{ "backend": "" }"#)).expect("a place");
        assert_eq!(template.gaps.len(), 1 + BUILT_IN.len());
        assert_eq!(
            page(&template, "{}", [None; 4]),
            INDEX,
            "nothing else changes"
        );
        let filled = page(
            &template,
            r#"{"a":1}"#,
            [Some(42.34), None, Some(-0.01), Some(1e3)],
        );
        let figures: Vec<&str> = filled
            .split("<span class=\"value\">")
            .skip(1)
            .filter_map(|rest| rest.split('<').next())
            .collect();
        assert_eq!(figures, ["42.3", "0.0", "1000.0"]);
        assert_eq!(filled.matches("––").count(), 1);
        assert!(filled.contains("id=\"boot\">{\"a\":1}</script>"));
    }

    #[test]
    fn a_name_cannot_leave_the_block() {
        let evil = "</script><script>alert(1)//<!--\u{2028}&amp;";
        let text = harmless(&json_text(&evil));
        assert!(!text.contains(['<', '>', '&', '\u{2028}']), "{text}");
        assert_eq!(
            serde_json::from_str::<String>(&text).ok().as_deref(),
            Some(evil)
        );
    }

    #[test]
    fn a_page_of_another_server_is_told_its_settings_alone() {
        let of = |config| {
            let template = Template::of(INDEX, config).expect("a place");
            template.config.map(|config| config.is_of_another)
        };
        assert_eq!(of(Some(r#"{"backend":"https://a.example"}"#)), Some(true));
        assert_eq!(of(Some(r#"{"backend":" "}"#)), Some(false));
        assert_eq!(
            of(Some("nonsense")),
            None,
            "the page says what is wrong with it"
        );
        assert_eq!(of(None), None);
    }
}
