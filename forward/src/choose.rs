//! Which series are sent, and under which labels: the file's `external_labels`, then the receiver's
//! `write_relabel_configs`; and where several tenants' go to one receiver, a label says whose they
//! are. Each series is looked at once and remembered.

use std::{collections::HashMap, sync::Arc};

use pulseboard_scrape::{LabelSet, relabel};
use pulseboard_series::{Batch, KeyRef, Reason, key::hash_key};

use crate::record::lane_of;

const NAME: &str = "__name__";

/// What goes before a label that would be taken for the tenant's, as Prometheus does with labels of
/// targets.
const EXPORTED: &str = "exported_";

/// Bytes of keys that are remembered; past it all are forgotten and looked at again.
const REMEMBERED_BYTES_MAX: usize = 64 << 20;

/// What a remembered series takes beside its keys.
const REMEMBERED_BYTES: usize = 96;

/// What makes of a series what is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Labels for who has no label of these names.
    pub(crate) external: Vec<(String, String)>,
    pub(crate) relabel: Vec<relabel::Rule>,
    /// The label that says whose series it is. What a series has of this name itself is renamed.
    pub(crate) tenant_label: Option<&'static str>,
}

/// The name under which a series' own label goes where `tenant_label` says whose it is:
/// `exported_` is put before that name, however often it stands there already, so that no two
/// labels become one and [`inner_name`] finds the way back.
#[must_use]
pub fn outer_name<'a>(name: &'a str, tenant_label: &str) -> std::borrow::Cow<'a, str> {
    match is_taken(name, tenant_label) {
        true => format!("{EXPORTED}{name}").into(),
        false => name.into(),
    }
}

/// The name of a series' own label that goes as `name`, see [`outer_name`]; `None` for the label
/// that says whose the series is.
#[must_use]
pub fn inner_name<'a>(name: &'a str, tenant_label: &str) -> Option<&'a str> {
    match is_taken(name, tenant_label) {
        true => name.strip_prefix(EXPORTED),
        false => Some(name),
    }
}

fn is_taken(name: &str, tenant_label: &str) -> bool {
    let mut rest = name;
    while rest != tenant_label
        && let Some(inner) = rest.strip_prefix(EXPORTED)
    {
        rest = inner;
    }
    rest == tenant_label
}

/// The key of a series with the tenant's label. It may have more labels than what comes in.
fn with_tenant(key: KeyRef<'_>, label: &str, tenant: &str) -> Option<Arc<[u8]>> {
    let own = key
        .labels()
        .map(|(name, value)| (outer_name(name, label), value));
    let mut labels: Vec<_> = own.chain([(label.into(), tenant)]).collect();
    labels.sort_unstable();
    let mut bytes = Vec::with_capacity(key.as_bytes().len() + label.len() + tenant.len() + 16);
    let name = key.name();
    bytes.extend_from_slice(&u16::try_from(name.len()).ok()?.to_le_bytes());
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(u8::try_from(labels.len()).ok()?);
    for (name, value) in labels {
        bytes.push(u8::try_from(name.len()).ok()?);
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(&u16::try_from(value.len()).ok()?.to_le_bytes());
        bytes.extend_from_slice(value.as_bytes());
    }
    Some(bytes.into())
}

/// What became of a series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Chosen {
    /// Sent in this lane under this key.
    Sent(usize, Arc<[u8]>),
    /// A rule drops it.
    Dropped,
    /// What the rules make of it is no series.
    Broken,
}

/// The rules, and what they made of the series that came.
#[derive(Debug, Default)]
pub(crate) struct Chooser {
    rules: Rules,
    /// By the hash of key and tenant.
    known: HashMap<u64, (Box<[u8]>, Box<str>, Chosen)>,
    known_bytes: usize,
    scratch: Batch,
}

impl Chooser {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            ..Self::default()
        }
    }

    /// Goes on by other rules.
    pub(crate) fn exchange(&mut self, rules: Rules) {
        if self.rules != rules {
            *self = Self::new(rules);
        }
    }

    /// What becomes of a tenant's series whose key has this hash.
    pub(crate) fn choose(&mut self, tenant: &str, hash: u64, key: KeyRef<'_>) -> Chosen {
        let (tenant, hash) = match self.rules.tenant_label {
            // Who is sent one tenant's only need not ask whose it is.
            None => ("", hash),
            Some(_) => (tenant, hash ^ hash_key(tenant.as_bytes()).rotate_left(1)),
        };
        if let Some((known, whose, chosen)) = self.known.get(&hash)
            && **known == *key.as_bytes()
            && **whose == *tenant
        {
            return chosen.clone();
        }
        let chosen = match self.rules.tenant_label {
            None => self.look(key),
            Some(label) => with_tenant(key, label, tenant)
                .map_or(Chosen::Broken, |key| Chosen::Sent(lane_of(&key), key)),
        };
        let bytes = REMEMBERED_BYTES
            + key.as_bytes().len()
            + tenant.len()
            + match &chosen {
                Chosen::Sent(_, key) => key.len(),
                _ => 0,
            };
        if self.known_bytes + bytes > REMEMBERED_BYTES_MAX {
            self.known = HashMap::new();
            self.known_bytes = 0;
        }
        self.known_bytes += bytes;
        self.known
            .insert(hash, (key.as_bytes().into(), tenant.into(), chosen.clone()));
        chosen
    }

    fn look(&mut self, key: KeyRef<'_>) -> Chosen {
        if self.rules == Rules::default() {
            let key: Arc<[u8]> = key.as_bytes().into();
            return Chosen::Sent(lane_of(&key), key);
        }
        let named = std::iter::once((NAME, key.name()));
        let mut labels: LabelSet = named.chain(key.labels()).collect();
        for (name, value) in &self.rules.external {
            labels.set_default(name, value);
        }
        match relabel::apply(&self.rules.relabel, &mut labels) {
            Ok(true) => {}
            Ok(false) => return Chosen::Dropped,
            Err(_makes_too_much) => return Chosen::Broken,
        }
        match self.key(&labels) {
            Ok(key) => Chosen::Sent(lane_of(&key), key),
            Err(_no_series) => Chosen::Broken,
        }
    }

    fn key(&mut self, labels: &LabelSet) -> Result<Arc<[u8]>, Reason> {
        let batch = &mut self.scratch;
        batch.clear();
        batch.begin(&[labels.get(NAME)])?;
        for (name, value) in labels.iter().filter(|(name, _)| *name != NAME) {
            batch.label(name, value)?;
        }
        batch.finish(1, None, 0.0)?;
        let row = batch.rows().first();
        Ok(row.map_or(&[][..], |row| batch.key(row).as_bytes()).into())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use pulseboard_scrape::config;

    use super::*;

    fn rules(yaml: &str) -> Rules {
        let yaml = format!("remote_write:\n- url: http://a\n  write_relabel_configs:\n{yaml}");
        let config = config::parse(&yaml, Path::new("prometheus.yml")).expect("a file");
        Rules {
            external: vec![("replica".to_owned(), "a".to_owned())],
            relabel: config.remote_write[0].write_relabel_configs.clone(),
            tenant_label: None,
        }
    }

    #[test]
    fn a_label_says_whose_a_series_is_and_nobody_can_say_it_for_another() {
        let mut chooser = Chooser::new(Rules {
            tenant_label: Some("tenant"),
            ..Rules::default()
        });
        let mut batch = Batch::new();
        let row = batch
            .begin(&["up"])
            .and_then(|()| batch.label("tenant", "b"))
            .and_then(|()| batch.label("exported_tenant", "c"))
            .and_then(|()| batch.label("exported_exported_host", "d"))
            .and_then(|()| batch.finish(1, None, 1.0));
        row.expect("a row");
        let row = &batch.rows()[0];
        for tenant in ["a", "b", "a"] {
            let Chosen::Sent(lane, key) = chooser.choose(tenant, row.hash, batch.key(row)) else {
                panic!("not sent");
            };
            assert_eq!(lane, lane_of(&key));
            let key = KeyRef::checked(&key).expect("a key");
            let expected = format!(
                "up{{exported_exported_host=\"d\",exported_exported_tenant=\"c\",exported_tenant=\"b\",tenant=\"{tenant}\"}}"
            );
            assert_eq!(key.to_string(), expected);
            let back: Vec<_> = key
                .labels()
                .filter_map(|(name, value)| Some((inner_name(name, "tenant")?, value)))
                .collect();
            assert_eq!(
                back,
                [
                    ("exported_exported_host", "d"),
                    ("exported_tenant", "c"),
                    ("tenant", "b")
                ]
            );
        }
    }

    fn chosen(chooser: &mut Chooser, name: &str, label: (&str, &str)) -> Result<String, Chosen> {
        let mut batch = Batch::new();
        let row = batch
            .begin(&[name])
            .and_then(|()| batch.label(label.0, label.1))
            .and_then(|()| batch.finish(1, None, 1.0));
        row.expect("a row");
        let row = &batch.rows()[0];
        match chooser.choose("default", row.hash, batch.key(row)) {
            Chosen::Sent(lane, key) => {
                assert_eq!(lane, lane_of(&key));
                Ok(KeyRef::new(&key).to_string())
            }
            other => Err(other),
        }
    }

    #[test]
    fn labels_of_outside_come_first_and_rules_see_them() {
        let mut chooser = Chooser::new(rules(
            "  - {source_labels: [__name__], regex: go_.*, action: drop}\n  - {source_labels: [replica], target_label: cluster}\n  - {regex: pod, action: labeldrop}\n  - {source_labels: [host], regex: nameless, target_label: __name__, replacement: ''}\n",
        ));
        for _ in 0..2 {
            assert_eq!(
                chosen(&mut chooser, "up", ("pod", "x")),
                Ok(r#"up{cluster="a",replica="a"}"#.to_owned())
            );
            assert_eq!(
                chosen(&mut chooser, "up", ("replica", "own")),
                Ok(r#"up{cluster="own",replica="own"}"#.to_owned())
            );
            let dropped = chosen(&mut chooser, "go_threads", ("pod", "x"));
            assert_eq!(dropped, Err(Chosen::Dropped));
            let broken = chosen(&mut chooser, "up", ("host", "nameless"));
            assert_eq!(broken, Err(Chosen::Broken));
        }
        chooser.exchange(Rules::default());
        assert_eq!(
            chosen(&mut chooser, "go_threads", ("pod", "x")),
            Ok(r#"go_threads{pod="x"}"#.to_owned())
        );
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut chooser = Chooser::default();
        let value = "x".repeat(1_000);
        for at in 0..80_000 {
            let told = chosen(&mut chooser, "up", ("host", &format!("{value}{at}")));
            assert!(told.is_ok());
            assert!(chooser.known_bytes <= REMEMBERED_BYTES_MAX);
        }
        assert!(chooser.known.len() < 80_000);
    }
}
