//! How the reader wants to see the page: which view, range, pause, theme. Range and theme are
//! remembered, the view is in the address.

use std::rc::Rc;

use yewdux::store::Store;

use super::time::TimeRange;
use crate::words;

/// Where the browser remembers the range.
pub const RANGE_KEY: &str = "pulseboard-range";

/// A view of the page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Page {
    /// Figures, charts, alerts.
    #[default]
    Overview,
    /// What is wrong and what was, rules, silences, and who is told.
    Alerts,
    /// All series, and a chart of each.
    Explore,
    /// Machines.
    Hosts,
    /// What is scraped, and what is sent.
    Targets,
    /// What applications count.
    Aggregate,
    /// Figures and commands for who runs the server.
    Operator,
}

impl Page {
    /// All, in the order of the switch.
    pub const ALL: [Self; 7] = [
        Self::Overview,
        Self::Alerts,
        Self::Explore,
        Self::Hosts,
        Self::Targets,
        Self::Aggregate,
        Self::Operator,
    ];

    /// In the switch.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Alerts => words::ALERTS,
            Self::Explore => "Explore",
            Self::Hosts => "Hosts",
            Self::Targets => "Targets",
            Self::Aggregate => "Aggregate",
            Self::Operator => "Operator",
        }
    }

    /// The key that leads to it behind `g`.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Overview => "o",
            Self::Alerts => "l",
            Self::Explore => "e",
            Self::Hosts => "h",
            Self::Targets => "t",
            Self::Aggregate => "a",
            Self::Operator => "p",
        }
    }

    /// Whether its address has the time that is shown, with what else is `asked` in it.
    #[must_use]
    pub fn has_time(self, asked: &str) -> bool {
        let has = |name| asked.contains(name);
        match self {
            Self::Explore => has("match=") || has("expr="),
            Self::Hosts => has("host="),
            _ => false,
        }
    }

    /// In the address.
    #[must_use]
    pub const fn hash(self) -> &'static str {
        match self {
            Self::Overview => "#/",
            Self::Alerts => "#/alerts",
            Self::Explore => "#/explore",
            Self::Hosts => "#/hosts",
            Self::Targets => "#/targets",
            Self::Aggregate => "#/aggregate",
            Self::Operator => "#/operator",
        }
    }

    /// From the address, whatever is asked of the view in it; what is not known is the overview.
    #[must_use]
    pub fn from_hash(hash: &str) -> Self {
        let hash = hash.split('?').next().unwrap_or_default();
        let mut pages = Self::ALL.into_iter();
        let is_within =
            |page: &Self| page.hash() == hash || *page == Self::Alerts && !place(hash).is_empty();
        pages.find(is_within).unwrap_or_default()
    }
}

/// Which part of the view of alerts an address names, such as `rules` of `#/alerts/rules?q=cpu`;
/// empty for its first one, and of other views.
#[must_use]
pub fn place(hash: &str) -> &str {
    let path = hash.split('?').next().unwrap_or_default();
    let rest = path.strip_prefix(Page::Alerts.hash());
    let place = rest.and_then(|rest| rest.strip_prefix('/'));
    place.unwrap_or_default().trim_end_matches('/')
}

/// How much time the charts show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Range {
    /// One minute.
    Minute,
    /// Five minutes.
    #[default]
    FiveMinutes,
    /// Fifteen minutes.
    Quarter,
}

impl Range {
    /// All, shortest first.
    pub const ALL: [Self; 3] = [Self::Minute, Self::FiveMinutes, Self::Quarter];

    /// Milliseconds.
    #[must_use]
    pub const fn ms(self) -> f64 {
        match self {
            Self::Minute => 60_000.0,
            Self::FiveMinutes => 300_000.0,
            Self::Quarter => 900_000.0,
        }
    }

    /// On the button.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Minute => words::ONE_MINUTE,
            Self::FiveMinutes => words::FIVE_MINUTES,
            Self::Quarter => words::QUARTER_HOUR,
        }
    }

    /// In storage.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Minute => "1m",
            Self::FiveMinutes => "5m",
            Self::Quarter => "15m",
        }
    }

    /// From storage.
    #[must_use]
    pub fn from_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|range| range.key() == key)
    }
}

/// The reader's choice of theme. The small script in `index.html` knows the same names, since
/// it applies the choice before the first paint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ThemeChoice {
    /// As the system says.
    #[default]
    Auto,
    /// Dark.
    Dark,
    /// Light.
    Light,
}

impl ThemeChoice {
    /// All, in the order of the switch.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Dark, Self::Light];

    /// In storage and in the page's attributes.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Dark => "dark",
            Self::Light => "light",
        }
    }

    /// For the reader.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Auto => "Auto",
            Self::Dark => "Dark",
            Self::Light => "Light",
        }
    }

    /// From storage.
    #[must_use]
    pub fn from_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|choice| choice.key() == key)
    }
}

/// What lies over the page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overlay {
    /// Nothing.
    #[default]
    None,
    /// Keys, choices, where to read more.
    Help,
    /// Views, series and commands by name.
    Palette,
}

/// An address of a view with another time in it: the part behind and with the `#`.
#[must_use]
pub fn time_hash(hash: &str, time: TimeRange) -> String {
    let (view, asked) = hash.split_once('?').unwrap_or((hash, ""));
    let view = if view.is_empty() { "#/" } else { view };
    let is_time = |part: &&str| {
        let name = part.split('=').next().unwrap_or_default();
        matches!(name, "range" | "from" | "to" | "")
    };
    let mut parts: Vec<&str> = asked.split('&').filter(|part| !is_time(part)).collect();
    let time = time.query();
    parts.push(&time);
    [view, "?", &parts.join("&")].concat()
}

/// How the reader wants to see the page: view, range, pause and theme.
#[derive(Clone, Debug, Default, PartialEq, Store)]
pub struct ViewStore {
    /// Which view is shown.
    pub page: Page,
    /// What is asked of it in the address, such as `match=queue_depth&range=1h`.
    pub asked: Rc<str>,
    /// Which part of the view is shown; see [`place`].
    pub place: Rc<str>,
    /// How much time the charts show.
    pub range: Range,
    /// A part of that, which is looked at closely.
    pub zoom: Option<TimeRange>,
    /// The moment (server's clock, Unix ms) at which the charts are held; they move when `None`.
    pub paused_at: Option<f64>,
    /// Ticks that the page had when it was paused.
    pub paused_pushed: u64,
    /// Dark, light, or as the system says.
    pub theme: ThemeChoice,
    /// What lies over the page.
    pub overlay: Overlay,
    /// Grows when times are to be written in another way.
    pub clocks: u32,
}

impl ViewStore {
    /// Looks closely at a part of what the charts show; `false` where they show no such time.
    pub fn zoom_to(&mut self, time: TimeRange, now_ms: f64) -> bool {
        // The ends of what is shown are rounded to whole columns.
        let oldest_ms = now_ms - self.range.ms() * 1.01;
        let is_shown = time.from.at(now_ms) >= oldest_ms;
        if is_shown {
            self.zoom = Some(time);
        }
        is_shown
    }

    /// Shows so much time, up to now.
    pub const fn show(&mut self, range: Range) {
        self.range = range;
        self.zoom = None;
    }

    /// Which time the charts show.
    #[must_use]
    pub fn time(&self) -> TimeRange {
        self.zoom.unwrap_or(TimeRange::last(self.range.ms()))
    }

    /// Holds the charts at `now_ms`, or lets them go.
    pub const fn toggle_pause(&mut self, now_ms: f64, pushed: u64) {
        self.paused_at = match self.paused_at {
            Some(_) => None,
            None => Some(now_ms),
        };
        self.paused_pushed = pushed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_understood() {
        for range in Range::ALL {
            assert_eq!(Range::from_key(range.key()), Some(range));
        }
        for choice in ThemeChoice::ALL {
            assert_eq!(ThemeChoice::from_key(choice.key()), Some(choice));
        }
        assert_eq!(ThemeChoice::from_key("sepia"), None);
    }

    #[test]
    fn the_address_names_the_view() {
        for page in Page::ALL {
            assert_eq!(Page::from_hash(page.hash()), page);
        }
        assert_eq!(Page::from_hash("#/explore?match=a"), Page::Explore);
        assert_eq!(Page::from_hash("#/alerts/rules?q=cpu"), Page::Alerts);
        for (hash, part) in [
            ("#/alerts", ""),
            ("#/alerts/?q=a/b", ""),
            ("#/alerts/rules/7?q=cpu", "rules/7"),
            ("#/alertsmore", ""),
            ("#/explore?match=a", ""),
        ] {
            assert_eq!(place(hash), part);
        }
        for other in ["", "#", "#/nothing", "#/alertsmore"] {
            assert_eq!(Page::from_hash(other), Page::Overview, "{other:?}");
        }
    }

    #[test]
    fn another_time_is_another_address() {
        let hour = TimeRange::last(3_600_000.0);
        for (hash, expected) in [
            ("", "#/?range=1h"),
            ("#/explore", "#/explore?range=1h"),
            (
                "#/explore?match=up&from=1&to=2&tz=UTC",
                "#/explore?match=up&tz=UTC&range=1h",
            ),
        ] {
            assert_eq!(time_hash(hash, hour), expected);
        }
    }

    #[test]
    fn a_part_is_looked_at_closely_until_the_whole_is_wanted() {
        let now_ms = 1_000_000.0;
        let mut view = ViewStore::default();
        let part = TimeRange::between(800_000.0, 850_000.0);
        assert!(view.zoom_to(part, now_ms));
        assert_eq!(view.time(), part);
        let before = TimeRange::between(600_000.0, 850_000.0);
        assert!(
            !view.zoom_to(before, now_ms),
            "the charts have no such time"
        );
        assert_eq!(view.time(), part);
        view.show(Range::Minute);
        assert_eq!(view.time(), TimeRange::last(60_000.0));
    }

    #[test]
    fn pauses_and_goes_on() {
        let mut view = ViewStore::default();
        view.toggle_pause(5.0, 7);
        assert_eq!((view.paused_at, view.paused_pushed), (Some(5.0), 7));
        view.toggle_pause(9.0, 8);
        assert_eq!(view.paused_at, None);
    }
}
