//! What the server wrote into the page itself: settings, who it takes the page for, and the newest
//! figures. Nothing of it is there where the page is hosted apart from a server, and then it is
//! asked for.

use std::cell::RefCell;

use super::{
    config::Config,
    feed::event::{Cursor, Row, Update},
    json::Json,
    session::Session,
};
use crate::platform;

thread_local! {
    static BOOT: RefCell<Option<Boot>> = const { RefCell::new(None) };
}

/// What the server wrote into the page; each part is `None` where it did not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Boot {
    /// The text of `config.json`, read.
    pub config: Option<Config>,
    /// Who the page is.
    pub session: Option<Session>,
    /// The figures.
    pub ticks: Option<Ticks>,
}

/// The server's window, or the newest tick of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Ticks {
    /// Where they end in the server's log, when they are the whole window: what comes behind
    /// them is all that is missing.
    pub cursor: Option<Cursor>,
    /// When they were sent, by the server's clock.
    pub sent_ms: f64,
    /// When they came, by ours.
    pub came_ms: f64,
    /// Nominal milliseconds between ticks.
    pub interval_ms: u64,
    /// Ticks in a full window.
    pub window: u64,
    /// Oldest first.
    pub rows: Vec<Row>,
}

impl Boot {
    /// Reads what is in the page, which came at this time.
    #[must_use]
    pub fn read(text: &str, came_ms: f64) -> Self {
        let json = Json::parse(text).unwrap_or_default();
        let config = Config::read(json.get("config")).ok();
        // What is of this server says nothing of another one.
        let ours = config
            .as_ref()
            .is_some_and(|config| config.backend.is_empty());
        Self {
            session: Session::of(json.get("session")).filter(|_| ours),
            ticks: Ticks::read(json.get("ticks"), came_ms).filter(|_| ours),
            config,
        }
    }
}

impl Ticks {
    fn read(json: &Json, came_ms: f64) -> Option<Self> {
        let row = |row: &Json| {
            let [at, figures] = row.list() else {
                return None;
            };
            let mut values = [f64::NAN; 4];
            for (value, figure) in values.iter_mut().zip(figures.list()) {
                *value = figure.figure();
            }
            let t_ms = at.number()?;
            Some(Row { t_ms, values })
        };
        let epoch = json.get("epoch").text();
        let offset = json.get("offset").count()?;
        Some(Self {
            cursor: epoch.map(|epoch| Cursor {
                epoch: epoch.to_owned(),
                offset,
            }),
            sent_ms: json.get("sent_ms").number()?,
            came_ms,
            interval_ms: json.get("interval_ms").count()?,
            window: json.get("window").count()?,
            rows: json.get("rows").list().iter().filter_map(row).collect(),
        })
    }

    /// For the stores, and how far the server's clock was ahead of ours.
    #[must_use]
    pub fn update(&self) -> (Update, f64) {
        let update = Update::Window {
            rows: self.rows.clone(),
            window: self.window,
            interval_ms: self.interval_ms,
            restarted: false,
        };
        (update, self.sent_ms - self.came_ms)
    }
}

/// Reads the page, once at the start.
#[must_use]
pub fn load() -> Boot {
    let document = gloo::utils::document();
    let text = document
        .get_element_by_id("boot")
        .and_then(|block| block.text_content());
    let came_ms = gloo::utils::document_element()
        .get_attribute("data-came")
        .and_then(|came| came.parse::<u64>().ok());
    #[expect(clippy::cast_precision_loss, reason = "Unix ms fit 2^53")]
    let came_ms = came_ms.map_or_else(platform::now_ms, |came| came as f64);
    let boot = Boot::read(&text.unwrap_or_default(), came_ms);
    BOOT.replace(Some(boot.clone()));
    boot
}

/// The figures, for the first who asks: later they are old.
#[must_use]
pub fn take_ticks() -> Option<Ticks> {
    BOOT.with_borrow_mut(|boot| boot.as_mut()?.ticks.take())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"config":{"backend":""},
        "session":{"role":"viewer","tenant":null,"anonymous":true,"login_needed":false},
        "ticks":{"epoch":"17","offset":41,"window":60,"interval_ms":1000,"sent_ms":5000,
            "rows":[[3000,[1.5,2,3,null]],[4000,[2.5,2,3,4]]]}}"#;

    #[test]
    fn reads_what_the_server_wrote() {
        let boot = Boot::read(TEXT, 4_900.0);
        assert!(boot.session.is_some() && boot.config == Some(Config::default()));
        let ticks = boot.ticks.expect("ticks");
        assert_eq!(ticks.cursor.as_ref().map(|cursor| cursor.offset), Some(41));
        let (Update::Window { rows, window, .. }, offset_ms) = ticks.update() else {
            panic!("no window");
        };
        assert_eq!((rows.len(), window, offset_ms), (2, 60, 100.0));
        assert_eq!(rows[1].values, [2.5, 2.0, 3.0, 4.0]);
        assert!(rows[0].values[3].is_nan());
    }

    #[test]
    fn a_page_hosted_apart_or_of_another_server_asks() {
        for text in ["", "{}", "nonsense", "[]"] {
            assert_eq!(Boot::read(text, 0.0), Boot::default(), "{text}");
        }
        let foreign = TEXT.replace(r#""backend":"""#, r#""backend":"https://a.example""#);
        let boot = Boot::read(&foreign, 0.0);
        assert!(boot.config.is_some() && boot.session.is_none() && boot.ticks.is_none());
    }
}
