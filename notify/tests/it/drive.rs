//! A manager with a clock that is turned by hand.

use std::{path::Path, sync::Arc};

use pulseboard_notify::{
    Action, Delivery, Fingerprint, Input, Manager, NotSent, Options, PostedAlert, config::Config,
};
use pulseboard_receivers::AlertStatus;
use pulseboard_shared::Labels;

pub(crate) const SECOND: i64 = 1000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const HOUR: i64 = 60 * MINUTE;

/// Monday, 2026-11-30 00:00 UTC.
pub(crate) const START: i64 = 1_795_996_800_000;

pub(crate) fn labels(text: &str) -> Labels {
    text.split(',')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

pub(crate) fn fingerprint(text: &str) -> Fingerprint {
    Fingerprint::of(&labels(text))
}

pub(crate) fn config(yaml: &str) -> Arc<Config> {
    Arc::new(Config::parse(yaml, Path::new("alertmanager.yml")).expect("a configuration"))
}

/// Alertmanager's own behaviour alone.
pub(crate) fn plain() -> Options {
    Options {
        budget: None,
        flap: None,
        ..Options::default()
    }
}

/// One that was told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Told {
    pub(crate) at_ms: i64,
    pub(crate) receiver: String,
    pub(crate) group: String,
    pub(crate) firing: Vec<String>,
    pub(crate) resolved: Vec<String>,
}

pub(crate) struct Drive {
    pub(crate) manager: Manager,
    pub(crate) now: i64,
    /// Whether each delivery arrives at once.
    pub(crate) delivers: bool,
    pub(crate) sent: Vec<Delivery>,
    pub(crate) not_sent: Vec<NotSent>,
    pub(crate) other: Vec<Action>,
}

impl Drive {
    pub(crate) fn new(yaml: &str, options: Options) -> Self {
        Self::of(Manager::new(Arc::from("t"), config(yaml), options), START)
    }

    pub(crate) fn of(manager: Manager, now: i64) -> Self {
        Self {
            manager,
            now,
            delivers: true,
            sent: Vec::new(),
            not_sent: Vec::new(),
            other: Vec::new(),
        }
    }

    pub(crate) fn handle(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            for action in self.manager.handle(self.now, input) {
                match action {
                    Action::Notify(delivery) => {
                        if self.delivers {
                            let key = delivery.notification.key.clone();
                            inputs.push(Input::Sent { key });
                        }
                        self.sent.push(*delivery);
                    }
                    Action::NotSent(not_sent) => self.not_sent.push(not_sent),
                    action => self.other.push(action),
                }
            }
        }
    }

    pub(crate) fn set_config(&mut self, yaml: &str) {
        for action in self.manager.set_config(self.now, config(yaml)) {
            if let Action::Notify(delivery) = action {
                let key = delivery.notification.key.clone();
                self.sent.push(*delivery);
                self.handle(Input::Sent { key });
            }
        }
    }

    /// Lets time pass, doing what is due when it is.
    pub(crate) fn until(&mut self, at: i64) {
        while let Some(due) = self.manager.next_due_ms()
            && due <= at
        {
            self.now = self.now.max(due);
            self.handle(Input::Tick);
        }
        self.now = at;
    }

    pub(crate) fn pass(&mut self, by: i64) {
        self.until(self.now + by);
    }

    pub(crate) fn fire(&mut self, text: &str) {
        self.post(text, None, None);
    }

    pub(crate) fn resolve(&mut self, text: &str) {
        self.post(text, None, Some(self.now));
    }

    pub(crate) fn post(&mut self, text: &str, starts_at_ms: Option<i64>, ends_at_ms: Option<i64>) {
        let posted = PostedAlert {
            labels: labels(text),
            starts_at_ms,
            ends_at_ms,
            ..PostedAlert::default()
        };
        self.handle(Input::Alerts(vec![posted]));
    }

    /// Fires and says nothing about an end for a long while.
    pub(crate) fn fire_long(&mut self, text: &str) {
        self.post(text, Some(self.now), Some(self.now + 1000 * HOUR));
    }

    pub(crate) fn told(&self) -> Vec<Told> {
        self.sent.iter().map(told).collect()
    }

    /// What was told since the last call, short: seconds since the start, receiver, firing,
    /// resolved.
    pub(crate) fn news(&mut self) -> Vec<String> {
        let sent = std::mem::take(&mut self.sent);
        let short = sent.iter().map(told).map(|told| {
            let mut text = format!("{} {}", (told.at_ms - START) / SECOND, told.receiver);
            for (sign, all) in [('+', told.firing), ('-', told.resolved)] {
                for one in all {
                    text.push_str(&format!(" {sign}{one}"));
                }
            }
            text
        });
        short.collect()
    }

    /// Kinds of reasons of one alert since the last call, new ones only.
    pub(crate) fn reasons(&mut self, text: &str) -> Vec<&'static str> {
        let fingerprint = fingerprint(text);
        let all = std::mem::take(&mut self.not_sent);
        all.iter()
            .filter(|one| one.fingerprint == fingerprint && !one.again)
            .map(|one| one.reason.kind())
            .collect()
    }
}

pub(crate) fn told(delivery: &Delivery) -> Told {
    let notification = &delivery.notification;
    let names = |status: AlertStatus| {
        let alerts = notification.alerts.iter();
        alerts
            .filter(|alert| alert.status == status)
            .map(|alert| {
                let name = alert.labels.get("i").or(alert.labels.get("alertname"));
                name.cloned().unwrap_or_default()
            })
            .collect()
    };
    Told {
        at_ms: notification.created_ms,
        receiver: notification.receiver.clone(),
        group: notification.group_key.clone(),
        firing: names(AlertStatus::Firing),
        resolved: names(AlertStatus::Resolved),
    }
}
