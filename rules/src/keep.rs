//! The state of groups across a restart, as plain data for a document.
//!
//! Kept are alerts with all their times, the series that were written last (so that those which are
//! gone get their stale markers), and what a rule with `missing: alert` remembers. A group takes
//! back what was kept of rules with its own names and labels; of the others there are stale
//! markers.

use std::{collections::BTreeMap, sync::Arc};

use foldhash::HashSet;
use pulseboard_promql::Labels;
use pulseboard_shared::figure;
use serde::{Deserialize, Serialize};

use crate::{
    group::{Group, Health, Sample},
    spec::RuleSpec,
    state::{Alert, State, labels_of},
};

type Texts = BTreeMap<String, String>;

/// An alert that is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptAlert {
    /// See [`Alert::labels`].
    pub labels: Texts,
    /// See [`Alert::annotations`].
    pub annotations: Texts,
    /// See [`Alert::source`].
    pub source: Texts,
    /// See [`Alert::state`].
    pub state: State,
    /// See [`Alert::value`]; none in older documents where it was no finite number.
    #[serde(default, with = "figure::option")]
    pub value: Option<f64>,
    /// See [`Alert::active_at_ms`].
    pub active_at_ms: i64,
    /// See [`Alert::fired_at_ms`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fired_at_ms: Option<i64>,
    /// See [`Alert::resolved_at_ms`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_at_ms: Option<i64>,
    /// See [`Alert::keep_firing_since_ms`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_firing_since_ms: Option<i64>,
    /// See [`Alert::last_sent_at_ms`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sent_at_ms: Option<i64>,
    /// See [`Alert::valid_until_ms`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until_ms: Option<i64>,
}

/// What is kept of a rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KeptRule {
    /// See [`RuleSpec::alert`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub alert: String,
    /// See [`RuleSpec::record`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub record: String,
    /// See [`RuleSpec::labels`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Texts,
    /// Its alerts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<KeptAlert>,
    /// Series of its last evaluation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub written: Vec<Texts>,
    /// Series that would be missed, and when they were there last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub known: Vec<(Texts, i64)>,
}

/// What is kept of a group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KeptGroup {
    /// See [`Group::file`].
    pub file: String,
    /// See [`Group::name`].
    pub name: String,
    /// Its rules.
    pub rules: Vec<KeptRule>,
}

/// How a rule's last evaluation was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RuleFigures {
    /// How it is.
    pub health: Health,
    /// Empty where there is none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub last_error: String,
    /// When it was, Unix ms.
    pub last_evaluation_ms: Option<i64>,
    /// How long it took.
    pub evaluation_seconds: f64,
}

/// How a group's last evaluation was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupFigures {
    /// When it was, Unix ms.
    pub last_evaluation_ms: Option<i64>,
    /// How long it took.
    pub evaluation_seconds: f64,
    /// Of its rules, in their order.
    pub rules: Vec<RuleFigures>,
}

fn texts(labels: &Labels) -> Texts {
    let all = labels.iter();
    all.map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn labels(texts: &Texts) -> Labels {
    let all = texts.iter();
    labels_of(all.map(|(name, value)| (name.as_str(), value.as_str())))
}

impl From<&Alert> for KeptAlert {
    fn from(alert: &Alert) -> Self {
        Self {
            labels: texts(&alert.labels),
            annotations: (*alert.annotations).clone(),
            source: texts(&alert.source),
            state: alert.state,
            value: Some(alert.value),
            active_at_ms: alert.active_at_ms,
            fired_at_ms: alert.fired_at_ms,
            resolved_at_ms: alert.resolved_at_ms,
            keep_firing_since_ms: alert.keep_firing_since_ms,
            last_sent_at_ms: alert.last_sent_at_ms,
            valid_until_ms: alert.valid_until_ms,
        }
    }
}

impl From<&KeptAlert> for Alert {
    fn from(kept: &KeptAlert) -> Self {
        Self {
            labels: labels(&kept.labels),
            annotations: Arc::new(kept.annotations.clone()),
            source: labels(&kept.source),
            state: kept.state,
            value: kept.value.unwrap_or(f64::NAN),
            active_at_ms: kept.active_at_ms,
            fired_at_ms: kept.fired_at_ms,
            resolved_at_ms: kept.resolved_at_ms,
            keep_firing_since_ms: kept.keep_firing_since_ms,
            last_sent_at_ms: kept.last_sent_at_ms,
            valid_until_ms: kept.valid_until_ms,
        }
    }
}

impl Group {
    /// What is to be kept of it.
    #[must_use]
    pub fn kept(&self) -> KeptGroup {
        let rules = self.runners.iter().map(|runner| {
            let spec = runner.rule.spec();
            let known = runner.machine.known.iter();
            KeptRule {
                alert: spec.alert.clone(),
                record: spec.record.clone(),
                labels: spec.labels.clone(),
                alerts: runner.machine.alerts().map(KeptAlert::from).collect(),
                written: runner.written.iter().map(texts).collect(),
                known: known
                    .map(|(labels, at_ms)| (texts(labels), *at_ms))
                    .collect(),
            }
        });
        KeptGroup {
            file: self.file().to_owned(),
            name: self.name().to_owned(),
            rules: rules.collect(),
        }
    }

    /// How its last evaluation was.
    #[must_use]
    pub fn figures(&self) -> GroupFigures {
        let rules = self.runners.iter().map(|runner| RuleFigures {
            health: runner.health,
            last_error: runner.last_error.clone(),
            last_evaluation_ms: runner.last_evaluation_ms,
            evaluation_seconds: runner.evaluation_seconds,
        });
        GroupFigures {
            last_evaluation_ms: self.last_evaluation_ms,
            evaluation_seconds: self.evaluation_seconds,
            rules: rules.collect(),
        }
    }

    /// Says how its last evaluation was, which another server made.
    pub fn take_figures(&mut self, figures: GroupFigures) {
        self.last_evaluation_ms = figures.last_evaluation_ms;
        self.evaluation_seconds = figures.evaluation_seconds;
        for (runner, figures) in self.runners.iter_mut().zip(figures.rules) {
            runner.health = figures.health;
            runner.last_error = figures.last_error;
            runner.last_evaluation_ms = figures.last_evaluation_ms;
            runner.evaluation_seconds = figures.evaluation_seconds;
        }
    }

    /// Takes back what was kept, before its first evaluation. What comes is to be written: stale
    /// markers for series of rules that are no more.
    pub fn take_back(&mut self, kept: &KeptGroup, at_ms: i64) -> Vec<Sample> {
        let mut left: Vec<&KeptRule> = kept.rules.iter().collect();
        for runner in &mut self.runners {
            let spec = runner.rule.spec();
            let Some(same) = left.iter().position(|one| is_same(one, spec)) else {
                continue;
            };
            let one = left.swap_remove(same);
            let alerts = one.alerts.iter().map(Alert::from);
            runner.machine.active = alerts.map(|alert| (alert.labels.clone(), alert)).collect();
            let known = one.known.iter();
            runner.machine.known = known
                .map(|(texts, at_ms)| (labels(texts), *at_ms))
                .collect();
            runner.written = one.written.iter().map(labels).collect();
        }
        let own: HashSet<&Labels> = self
            .runners
            .iter()
            .flat_map(|runner| &runner.written)
            .collect();
        let gone = left
            .into_iter()
            .flat_map(|one| one.written.iter().map(labels));
        gone.filter(|labels| !own.contains(labels))
            .map(|labels| Sample {
                labels,
                at_ms,
                value: f64::from_bits(pulseboard_series::STALE_MARKER_BITS),
            })
            .collect()
    }
}

fn is_same(kept: &KeptRule, spec: &RuleSpec) -> bool {
    kept.alert == spec.alert && kept.record == spec.record && kept.labels == spec.labels
}
