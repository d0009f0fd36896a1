//! Which series a range reads, in memory and in the history, and how they are put together.

use std::{collections::BTreeMap, sync::Arc};

use pulseboard_history::SeriesId;
use pulseboard_series::{
    KeyRef,
    key::{write_key, write_labels},
};
use pulseboard_shared::Labels;

use super::{error::QueryError, list::labels_of, request::RangeRequest, top::Few};
use crate::{
    cost::Cost,
    engine::Engine,
    find::{Found, page_bytes},
    selector::NameFilter,
    tenant::Tenant,
};

/// The label that stands for the metric's name.
const NAME_LABEL: &str = "__name__";

/// A series that is to be read: in memory, in the history, or both.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) text: String,
    pub(super) found: Option<Found>,
    /// Its numbers in the history that memory does not know it by. Several only if a definition
    /// was lost once.
    pub(super) past: Vec<SeriesId>,
    pub(super) key: Box<[u8]>,
    pub(super) unit: Arc<str>,
}

/// One line of the answer.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) key: String,
    pub(super) name: String,
    pub(super) labels: Labels,
    pub(super) unit: Arc<str>,
    pub(super) members: Vec<Target>,
}

/// What a series takes in memory until it has been read: its key is there five times over.
pub(super) fn target_bytes(text: &str) -> usize {
    5 * text.len() + size_of::<(String, Found)>() + size_of::<(Target, Group)>()
}

/// The series that are asked for, of memory and history, sorted by key; and how many more there
/// are where the first ones suffice.
pub(super) fn find(
    engine: &Engine,
    tenant: &Tenant,
    request: &RangeRequest,
    cost: &Cost,
) -> Result<(Vec<Target>, u64), QueryError> {
    let is_grouped = request.by.is_some();
    // Of those that become a band one at a time is in memory, as with groups.
    let is_together = is_grouped || matches!(request.few, Some(Few::Best(..)));
    let series_max = match is_together {
        true => request.limits.grouped_series_max,
        false => request.limits.series_max,
    };
    let first = match request.few {
        Some(Few::First(max)) if !is_grouped => Some(max.min(series_max)),
        _ => None,
    };
    let refuse = |series: u64| QueryError::Series {
        series,
        series_max,
        is_grouped: is_together,
    };
    let selector = &request.selector;
    let all = (|_: &str| NameFilter::All, |_: KeyRef<'_>| true);
    let page = engine.page(
        tenant,
        selector,
        all,
        (None, first.unwrap_or_else(|| series_max.saturating_add(1))),
        request.end_ms,
        cost,
    )?;
    let (found, matched) = (page.found, page.matched);
    if found.len() > series_max || (first.is_none() && page.is_cut) {
        return Err(refuse(matched));
    }
    let mut unread = matched.saturating_sub(found.len() as u64);
    // Of the first ones by key all must be known; past a bound the question is refused anyway.
    let past_max = first.map_or(series_max, |_| usize::MAX);
    let mut targets: BTreeMap<String, Target> = BTreeMap::new();
    for (text, found) in found {
        cost.hold(target_bytes(&text) - page_bytes(&text, &found).min(target_bytes(&text)))?;
        let target = Target {
            key: found.key.clone(),
            unit: Arc::clone(&found.unit),
            text: text.clone(),
            found: Some(found),
            past: Vec::new(),
        };
        targets.insert(text, target);
    }
    for definition in engine.find_past(tenant, selector, request.start_ms, past_max, cost)? {
        let mut text = String::new();
        write_key(KeyRef::new(&definition.key), &mut text);
        cost.hold(target_bytes(&text))?;
        let target = targets.entry(text).or_insert_with_key(|text| Target {
            text: text.clone(),
            found: None,
            past: Vec::new(),
            key: definition.key,
            unit: engine.unit(&definition.unit),
        });
        target.past.push(definition.id);
        match first {
            Some(max) if targets.len() > max => {
                // Behind all that are asked for; its past is not needed any more.
                if let Some((text, _)) = targets.pop_last() {
                    cost.let_go(target_bytes(&text));
                }
                unread += 1;
            }
            None if targets.len() > series_max => return Err(refuse(targets.len() as u64)),
            _ => {}
        }
    }
    Ok((targets.into_values().collect(), unread))
}

/// Each by itself, or put together by labels; sorted by key.
pub(super) fn group(targets: Vec<Target>, by: Option<&[String]>) -> Vec<Group> {
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    let Some(by) = by else {
        let alone = targets.into_iter().map(|target| {
            let key = KeyRef::new(&target.key);
            Group {
                key: target.text.clone(),
                name: key.name().to_owned(),
                labels: labels_of(key.labels()),
                unit: Arc::clone(&target.unit),
                members: vec![target],
            }
        });
        return alone.collect();
    };
    for target in targets {
        let key = KeyRef::new(&target.key);
        let is_named = by.iter().any(|label| label == NAME_LABEL);
        let name = if is_named { key.name() } else { "" };
        let shared = || {
            let labels = key.labels();
            labels.filter(|(label, _)| by.iter().any(|wanted| wanted == label))
        };
        let mut text = name.to_owned();
        write_labels(shared(), &mut text);
        if text.is_empty() {
            text.push_str("{}");
        }
        let group = groups.entry(text).or_insert_with_key(|text| Group {
            key: text.clone(),
            name: name.to_owned(),
            labels: labels_of(shared()),
            unit: Arc::clone(&target.unit),
            members: Vec::new(),
        });
        if group.unit != target.unit {
            group.unit = Arc::from("");
        }
        group.members.push(target);
    }
    groups.into_values().collect()
}
