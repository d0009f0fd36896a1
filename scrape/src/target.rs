//! From what was found to what is scraped: labels before and after relabelling, address, times.
//! Pure.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher as _, Hash as _, Hasher as _},
};

use foldhash::fast::FixedState;
use pulseboard_outbound::secret::hide_password;
use url::Url;

use crate::{
    config::{JobConfig, Period, StaticGroup, check_times},
    labels::LabelSet,
    relabel,
};

/// Labels that are there for relabelling and go no further.
const INTERNAL: &str = "__";
const META: &str = "__meta_";
const PARAM: &str = "__param_";
const TIMES: &str = "__scrape_";

/// Targets that were found together and the labels that they have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Each with its own labels, `__address__` among them.
    pub targets: Vec<LabelSet>,
    /// Labels of all, unless a target says otherwise.
    pub labels: LabelSet,
}

impl From<&StaticGroup> for Group {
    fn from(group: &StaticGroup) -> Self {
        Self {
            targets: group
                .targets
                .iter()
                .map(|address| LabelSet::from_iter([("__address__", address)]))
                .collect(),
            labels: group.labels.iter().collect(),
        }
    }
}

/// What is scraped, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The same for a target that is found again, whatever else is.
    pub identity: u64,
    /// Labels of its series.
    pub labels: LabelSet,
    /// Labels before relabelling.
    pub discovered: LabelSet,
    pub url: String,
    pub interval: Period,
    pub timeout: Period,
}

impl Endpoint {
    /// What names it for all who find the same, whichever version they are.
    #[must_use]
    pub fn name(&self) -> String {
        let mut name = self.url.clone();
        for (label, value) in self.labels.iter() {
            for part in [label, value] {
                name.push('\0');
                name.push_str(part);
            }
        }
        name
    }
}

/// What became of something that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Kept(Endpoint),
    /// A rule dropped it.
    Dropped(LabelSet),
    /// It cannot be scraped; why, in words.
    Wrong(LabelSet, String),
}

/// Makes targets of what was found for a job.
#[must_use]
pub fn targets(job: &JobConfig, group: &Group) -> Vec<Found> {
    group
        .targets
        .iter()
        .map(|target| {
            let mut labels = target.clone();
            for (name, value) in group.labels.iter() {
                labels.set_default(name, value);
            }
            endpoint(job, labels)
        })
        .collect()
}

fn endpoint(job: &JobConfig, mut labels: LabelSet) -> Found {
    labels.set_default("job", &job.job_name);
    labels.set_default("__scrape_interval__", &job.scrape_interval.to_string());
    labels.set_default("__scrape_timeout__", &job.scrape_timeout.to_string());
    labels.set_default("__metrics_path__", &job.metrics_path);
    labels.set_default("__scheme__", &job.scheme);
    for (name, values) in &job.params {
        if let Some(value) = values.first() {
            labels.set(&format!("{PARAM}{name}"), value);
        }
    }
    let discovered = labels.clone();
    match relabel::apply(&job.relabel_configs, &mut labels) {
        Ok(true) => {}
        Ok(false) => return Found::Dropped(discovered),
        Err(why) => return Found::Wrong(discovered, why),
    }
    match address(job, &labels) {
        Ok(scraped) => {
            let address = labels.get("__address__").to_owned();
            labels.retain(|name| !name.starts_with(META));
            // It is a label of all that is scraped, and so for everybody's eyes.
            labels.set_default("instance", &hide_password(&address));
            let mut hasher = FixedState::default().build_hasher();
            // a target goes on as the same one when only its times change
            labels.retain(|name| !name.starts_with(TIMES));
            labels.hash(&mut hasher);
            scraped.url.hash(&mut hasher);
            let identity = hasher.finish();
            labels.retain(|name| !name.starts_with(INTERNAL));
            Found::Kept(Endpoint {
                identity,
                labels,
                discovered,
                url: scraped.url,
                interval: scraped.interval,
                timeout: scraped.timeout,
            })
        }
        Err(why) => Found::Wrong(discovered, why),
    }
}

struct Scraped {
    url: String,
    interval: Period,
    timeout: Period,
}

fn address(job: &JobConfig, labels: &LabelSet) -> Result<Scraped, String> {
    let address = labels.get("__address__");
    if address.is_empty() {
        return Err("there is no address".to_owned());
    }
    if address.contains('/') {
        return Err("it is not host and port".to_owned());
    }
    let scheme = labels.get("__scheme__");
    if !matches!(scheme, "http" | "https") {
        return Err(format!("scheme {scheme:?} is neither http nor https"));
    }
    let period = |name: &str| {
        let text = labels.get(name);
        Period::parse(text).ok_or_else(|| format!("{name} {text:?} is no duration"))
    };
    let interval = period("__scrape_interval__")?;
    let timeout = period("__scrape_timeout__")?;
    check_times(interval, timeout)?;
    let path = labels.get("__metrics_path__");
    let slash = if path.starts_with('/') { "" } else { "/" };
    let mut url = Url::parse(&format!("{scheme}://{address}{slash}{path}"))
        .map_err(|error| error.to_string())?;
    // The first value may have been relabelled; an empty one is asked for as well.
    let mut query: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, values) in &job.params {
        query.insert(name, values.iter().map(String::as_str).collect());
    }
    for (label, value) in labels.iter() {
        let Some(name) = label.strip_prefix(PARAM) else {
            continue;
        };
        let values = query.entry(name).or_default();
        match values.first_mut() {
            Some(first) => *first = value,
            None => values.push(value),
        }
    }
    let pairs = query
        .into_iter()
        .flat_map(|(name, values)| values.into_iter().map(move |value| (name, value)));
    let mut query = pairs.peekable();
    if query.peek().is_some() {
        url.query_pairs_mut().extend_pairs(query);
    }
    Ok(Scraped {
        url: url.into(),
        interval,
        timeout,
    })
}
