//! The templates of an alerting rule.

use std::{collections::BTreeMap, sync::Arc};

use pulseboard_promql::{
    Answer, EvalError, Labels, instant,
    labels::{Label, NAME},
    parse,
};
use pulseboard_template::{
    Limits,
    prometheus::{self, Data, Query, Sample},
};

use crate::{
    env::Env,
    rule::Rule,
    state::{Annotations, Expand},
    template::is_template,
};

/// A text that is rendered is about as dear as looking at so many samples.
const RENDERING: u64 = 256;

/// A label that is rendered is a name for something and no text, in bytes.
const LABEL_BYTES_MAX: usize = 4 << 10;

/// Renders over a storage, at one time.
pub(crate) struct Expander<'a> {
    env: &'a Env<'a>,
    at_ms: i64,
    /// The labels of the series that was rendered last.
    last: Option<(Labels, BTreeMap<String, String>)>,
    /// What an alert without annotations has.
    none: Annotations,
    /// Why it makes nothing more.
    ended: Option<String>,
}

impl<'a> Expander<'a> {
    pub(crate) fn new(env: &'a Env<'a>, at_ms: i64) -> Self {
        Self {
            env,
            at_ms,
            last: None,
            none: Annotations::default(),
            ended: None,
        }
    }

    fn expand(
        &mut self,
        rule: &Rule,
        text: &str,
        source: &Labels,
        value: f64,
        limits: Limits,
    ) -> String {
        if !is_template(text) {
            return text.to_owned();
        }
        // Nothing more is rendered from then on, whatever the guard says later.
        if self.ended.is_none()
            && let Err(error) = self.env.guard.spend(RENDERING)
        {
            self.ended = Some(error.to_string());
        }
        if self.ended.is_some() {
            return String::new();
        }
        if self
            .last
            .as_ref()
            .is_none_or(|(labels, _)| labels != source)
        {
            let all = source.iter();
            let all = all.map(|(name, value)| (name.to_owned(), value.to_owned()));
            self.last = Some((source.clone(), all.collect()));
        }
        let empty = BTreeMap::new();
        let labels = self.last.as_ref().map_or(&empty, |(_, labels)| labels);
        let data = Data {
            labels,
            value,
            external_labels: self.env.external_labels,
            external_url: self.env.external_url,
            now_ms: self.at_ms,
        };
        let mut query = Asked {
            env: self.env,
            at_ms: self.at_ms,
            ended: None,
        };
        let text = prometheus::expand(text, &data, &mut query, limits).unwrap_or_else(|error| {
            let name = format!("__alert_{}", rule.spec().alert);
            let said = prometheus::said(&error, &name);
            format!("<error expanding template: error executing template {name}: {said}>")
        });
        self.ended = query.ended;
        text
    }
}

impl Expand for Expander<'_> {
    fn ended(&self) -> Option<&str> {
        self.ended.as_deref()
    }

    fn labels(&mut self, rule: &Rule, source: &Labels, value: f64) -> Labels {
        let limits = Limits {
            output_bytes: LABEL_BYTES_MAX,
            ..Limits::default()
        };
        let own = source.shared().iter().filter(|(name, _)| **name != *NAME);
        let mut all: Vec<Label> = own.cloned().collect();
        for set in &rule.set {
            let text = match set.is_template {
                true => Arc::from(self.expand(rule, &set.text, source, value, limits)),
                false => Arc::clone(&set.text),
            };
            all.push((Arc::clone(&set.name), text));
        }
        all.push(rule.named.clone());
        all.into_iter().collect()
    }

    fn annotations(&mut self, rule: &Rule, source: &Labels, value: f64) -> Annotations {
        let texts = rule.spec().annotations.iter();
        if texts.len() == 0 {
            return Arc::clone(&self.none);
        }
        let rendered = texts.map(|(name, text)| {
            let text = self.expand(rule, text, source, value, Limits::default());
            (name.clone(), text)
        });
        Arc::new(rendered.collect())
    }
}

/// What `query` of a template asks.
struct Asked<'a> {
    env: &'a Env<'a>,
    at_ms: i64,
    /// Time was over while it asked.
    ended: Option<String>,
}

impl Query for Asked<'_> {
    fn query(&mut self, expression: &str) -> Result<Vec<Sample>, String> {
        let expr = parse(expression).map_err(|error| error.to_string())?;
        let (answer, _) = instant(
            &expr,
            self.at_ms,
            self.env.storage,
            self.env.guard,
            self.env.options,
        )
        .map_err(|error| {
            if matches!(error, EvalError::Timeout | EvalError::Canceled) {
                self.ended = Some(error.to_string());
            }
            error.to_string()
        })?;
        match answer {
            Answer::Vector(series) => Ok(series
                .into_iter()
                .map(|(labels, (_, value))| Sample {
                    labels: labels
                        .iter()
                        .map(|(name, value)| (name.to_owned(), value.to_owned()))
                        .collect(),
                    value,
                })
                .collect()),
            Answer::Scalar((_, value)) => Ok(vec![Sample {
                labels: BTreeMap::new(),
                value,
            }]),
            Answer::Text(..) | Answer::Matrix(_) => {
                Err("query result is not a vector or scalar".to_owned())
            }
        }
    }
}
