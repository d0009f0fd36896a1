//! The tree of routes: which of them an alert takes, and what holds there.

use std::collections::BTreeSet;

use pulseboard_receivers::config::Span;
use pulseboard_shared::Labels;

use crate::{config::RouteConfig, matcher::Matchers};

const ALERTNAME: &str = "alertname";
const GROUP_WAIT_MS: i64 = 30_000;
const GROUP_INTERVAL_MS: i64 = 300_000;
const REPEAT_INTERVAL_MS: i64 = 4 * 3_600_000;

/// What holds on a route, inherited where it says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteOptions {
    pub receiver: String,
    pub group_by: GroupBy,
    pub group_wait_ms: i64,
    pub group_interval_ms: i64,
    pub repeat_interval_ms: i64,
    /// Not inherited.
    pub mute_time_intervals: Vec<String>,
    /// Not inherited.
    pub active_time_intervals: Vec<String>,
}

/// What alerts of one group have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupBy {
    /// `...`: each alert is a group.
    All,
    Labels(BTreeSet<String>),
}

impl GroupBy {
    /// The labels of the group that an alert belongs to.
    #[must_use]
    pub fn of(&self, labels: &Labels) -> Labels {
        let is_in = |name: &str| match self {
            Self::All => true,
            Self::Labels(names) => names.contains(name),
        };
        let all = labels.iter().filter(|(name, _)| is_in(name));
        all.map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }
}

/// One route.
#[derive(Clone, Debug)]
pub struct Route {
    matchers: Matchers,
    goes_on: bool,
    children: Vec<usize>,
    /// `{}/{severity="page"}`.
    pub key: String,
    pub options: RouteOptions,
}

/// All routes, the root first.
#[derive(Clone, Debug)]
pub struct Routes {
    all: Vec<Route>,
    /// The one that every alert takes, whatever else it takes.
    beside: Option<usize>,
}

impl Routes {
    /// The routes of a file that was checked; and one beside them to the receiver `beside`, which
    /// is told of everything: in the root's groups, or by rule where the root makes none.
    #[must_use]
    pub fn new(root: &RouteConfig, beside: Option<&str>) -> Self {
        let mut routes = Self {
            all: Vec::new(),
            beside: None,
        };
        let options = RouteOptions {
            receiver: String::new(),
            group_by: GroupBy::Labels(BTreeSet::new()),
            group_wait_ms: GROUP_WAIT_MS,
            group_interval_ms: GROUP_INTERVAL_MS,
            repeat_interval_ms: REPEAT_INTERVAL_MS,
            mute_time_intervals: Vec::new(),
            active_time_intervals: Vec::new(),
        };
        routes.add(root, None, options);
        if let (Some(receiver), Some(root)) = (beside, routes.all.first()) {
            let group_by = match &root.options.group_by {
                GroupBy::Labels(names) if names.is_empty() => {
                    GroupBy::Labels(BTreeSet::from([ALERTNAME.to_owned()]))
                }
                own => own.clone(),
            };
            let options = RouteOptions {
                receiver: receiver.to_owned(),
                group_by,
                mute_time_intervals: Vec::new(),
                active_time_intervals: Vec::new(),
                ..root.options.clone()
            };
            routes.beside = Some(routes.all.len());
            routes.all.push(Route {
                matchers: Matchers::default(),
                goes_on: true,
                children: Vec::new(),
                key: format!("beside/{receiver}"),
                options,
            });
        }
        routes
    }

    fn add(&mut self, config: &RouteConfig, parent: Option<&str>, above: RouteOptions) -> usize {
        let matchers = config.matchers().unwrap_or_default();
        let key = match parent {
            Some(parent) => format!("{parent}/{matchers}"),
            None => matchers.to_string(),
        };
        let mut options = above;
        if !config.receiver.is_empty() {
            options.receiver.clone_from(&config.receiver);
        }
        // As there: an empty list says nothing.
        if let Some(names) = config.group_by.as_ref().filter(|names| !names.is_empty()) {
            options.group_by = match names.iter().any(|name| name == "...") {
                true => GroupBy::All,
                false => GroupBy::Labels(names.iter().cloned().collect()),
            };
        }
        for (given, held) in [
            (config.group_wait, &mut options.group_wait_ms),
            (config.group_interval, &mut options.group_interval_ms),
            (config.repeat_interval, &mut options.repeat_interval_ms),
        ] {
            if let Some(span) = given {
                *held = milliseconds(span);
            }
        }
        options
            .mute_time_intervals
            .clone_from(&config.mute_time_intervals);
        options
            .active_time_intervals
            .clone_from(&config.active_time_intervals);
        let number = self.all.len();
        self.all.push(Route {
            matchers,
            goes_on: config.goes_on,
            children: Vec::new(),
            key: key.clone(),
            options: options.clone(),
        });
        for child in &config.routes {
            let child = self.add(child, Some(&key), options.clone());
            self.all[number].children.push(child);
        }
        number
    }

    /// The route of that number.
    #[must_use]
    pub fn get(&self, number: usize) -> Option<&Route> {
        self.all.get(number)
    }

    /// All, by number.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.all.iter()
    }

    /// The numbers of the routes that labels take: the deepest that match, one for each branch
    /// until one does not go on.
    #[must_use]
    pub fn matching(&self, labels: &Labels) -> Vec<usize> {
        let mut found = Vec::new();
        self.walk(0, labels, &mut found);
        found.extend(self.beside);
        found
    }

    fn walk(&self, number: usize, labels: &Labels, found: &mut Vec<usize>) -> bool {
        let Some(route) = self.all.get(number) else {
            return false;
        };
        if !route.matchers.matches(labels) {
            return false;
        }
        let before = found.len();
        for child in &route.children {
            let is_it = self.walk(*child, labels, found);
            if is_it && !self.all[*child].goes_on {
                break;
            }
        }
        if found.len() == before {
            found.push(number);
        }
        true
    }
}

/// Ten years are for ever here.
fn milliseconds(span: Span) -> i64 {
    const LONG_MS: u64 = 10 * 365 * 86_400_000;
    span.as_millis().min(LONG_MS).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::of;

    fn routes(yaml: &str) -> Routes {
        Routes::new(&yaml_serde::from_str(yaml).expect("routes"), None)
    }

    #[test]
    fn an_empty_group_by_is_none() {
        let tree = routes(
            "{receiver: a, group_by: [alertname], routes: [{group_by: []}, {group_by: [x]}, {}]}",
        );
        let of = |name: &str| GroupBy::Labels(BTreeSet::from([name.to_owned()]));
        let found: Vec<_> = tree
            .iter()
            .map(|route| route.options.group_by.clone())
            .collect();
        let by_name = of("alertname");
        assert_eq!(found, [by_name.clone(), by_name.clone(), of("x"), by_name]);
    }

    fn taken(routes: &Routes, labels: &[(&str, &str)]) -> Vec<String> {
        let numbers = routes.matching(&of(labels)).into_iter();
        numbers
            .filter_map(|number| routes.get(number))
            .map(|route| format!("{} {}", route.options.receiver, route.key))
            .collect()
    }

    const TREE: &str = r#"
receiver: default
group_by: [alertname]
group_wait: 10s
routes:
  - matchers: ['severity="page"']
    receiver: pager
    continue: true
    repeat_interval: 1h
    mute_time_intervals: [night]
    routes:
      - match: {team: db}
        group_by: ['...']
      - match_re: {team: web|app}
        receiver: web
  - matchers: [severity=~"page|warning", team!=db]
    receiver: chat
  - matchers: [team=db]
    group_by: []
    group_interval: 1m
"#;

    #[test]
    fn an_alert_takes_the_deepest_route_of_each_branch_until_one_does_not_go_on() {
        let routes = routes(TREE);
        for (labels, expected) in [
            (&[("x", "y")][..], &["default {}"][..]),
            (
                &[("severity", "page")],
                &[
                    r#"pager {}/{severity="page"}"#,
                    r#"chat {}/{severity=~"page|warning",team!="db"}"#,
                ],
            ),
            (
                &[("severity", "page"), ("team", "db")],
                &[
                    r#"pager {}/{severity="page"}/{team="db"}"#,
                    r#"default {}/{team="db"}"#,
                ],
            ),
            (
                &[("severity", "page"), ("team", "app")],
                &[
                    r#"web {}/{severity="page"}/{team=~"^(?:web|app)$"}"#,
                    r#"chat {}/{severity=~"page|warning",team!="db"}"#,
                ],
            ),
            (&[("team", "db")], &[r#"default {}/{team="db"}"#]),
        ] {
            assert_eq!(taken(&routes, labels), expected, "{labels:?}");
        }
    }

    #[test]
    fn what_a_route_does_not_say_holds_as_above_but_for_its_times() {
        let routes = routes(TREE);
        let all: Vec<_> = routes.iter().map(|route| &route.options).collect();
        let names =
            |names: &[&str]| GroupBy::Labels(names.iter().map(|&name| name.to_owned()).collect());
        assert_eq!(all[0].group_by, names(&["alertname"]));
        assert_eq!(
            (all[0].group_wait_ms, all[0].group_interval_ms),
            (10_000, 300_000)
        );
        assert_eq!(all[0].repeat_interval_ms, 4 * 3_600_000);
        assert_eq!(all[1].mute_time_intervals, ["night"]);
        assert_eq!(
            (all[2].group_by.clone(), all[2].repeat_interval_ms),
            (GroupBy::All, 3_600_000)
        );
        assert!(all[2].mute_time_intervals.is_empty());
        assert_eq!(all[3].group_by, names(&["alertname"]));
        assert_eq!(
            (all[5].group_by.clone(), all[5].group_interval_ms),
            (names(&["alertname"]), 60_000)
        );
        let labels = of(&[("alertname", "a"), ("b", "c")]);
        assert_eq!(all[0].group_by.of(&labels), of(&[("alertname", "a")]));
        assert_eq!(all[2].group_by.of(&labels), labels);
    }
}
