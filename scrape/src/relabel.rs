//! Relabelling: rules that change, keep and drop sets of labels, one after the other. Pure.
//!
//! The semantics are those of `<relabel_config>` in Prometheus' documentation, all eleven actions.

use std::{collections::BTreeMap, fmt};

use md5::{Digest as _, Md5};
use pulseboard_shared::pattern::translated;
use regex::{Captures, Regex, RegexBuilder};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::labels::LabelSet;

/// A compiled pattern may take so much memory.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// What a rule joins, or writes, is at most so long. Far more than what is stored.
const VALUE_BYTES_MAX: usize = 256 * 1024;

/// Values shorter than this are not what makes a set large.
const VALUE_BYTES_FREE: usize = 1_024;

/// Names and values of a set in which a rule has written something.
const SET_BYTES_MAX: usize = 4 << 20;

/// Labels of a set to which rules have mapped some.
const LABELS_MAX: usize = 4_096;

/// What a rule does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Where the pattern matches the source, the target becomes the replacement.
    #[default]
    Replace,
    /// Only what matches is kept.
    Keep,
    /// What matches is dropped.
    Drop,
    /// Only what has the source in its target label is kept.
    KeepEqual,
    /// What has the source in its target label is dropped.
    DropEqual,
    /// The target becomes the source's hash, modulo a number.
    HashMod,
    /// Labels whose names match are copied under another name.
    LabelMap,
    /// Labels whose names match are removed.
    LabelDrop,
    /// Labels whose names do not match are removed.
    LabelKeep,
    /// The target becomes the source in lower case.
    Lowercase,
    /// The target becomes the source in upper case.
    Uppercase,
}

impl Action {
    fn needs_target(self) -> bool {
        matches!(
            self,
            Self::Replace
                | Self::HashMod
                | Self::Lowercase
                | Self::Uppercase
                | Self::KeepEqual
                | Self::DropEqual
        )
    }
}

/// A pattern, anchored at both ends, with the text that it was made of.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

impl Pattern {
    /// Compiles a pattern, which is one of Go's, as in PromQL.
    ///
    /// # Errors
    /// It is none, or too large; in words.
    pub fn new(text: &str) -> Result<Self, String> {
        let translated =
            translated(text).map_err(|why| format!("{text:?} is no pattern: {why}"))?;
        RegexBuilder::new(&format!("^(?s:{translated})$"))
            .size_limit(PATTERN_BYTES_MAX)
            .dfa_size_limit(PATTERN_BYTES_MAX)
            .build()
            .map(|regex| Self {
                text: text.to_owned(),
                regex,
            })
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => format!("the pattern {text:?} is too large"),
                // the library draws the place over several lines; its last one says what is wrong
                error => {
                    let text_of_it = error.to_string();
                    let last = text_of_it.lines().last().unwrap_or_default().trim();
                    format!("{text:?} is no pattern: {last}")
                }
            })
    }
}

impl Pattern {
    /// Whether it matches all of a text.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl Serialize for Pattern {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

// Visitors refuse what they are shown, so that the reader of the file tells its place.
impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Pattern;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a pattern")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Pattern, E> {
                Pattern::new(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Read)
    }
}

/// One rule, checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rule {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub source_labels: Vec<String>,
    pub separator: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub target_label: String,
    pub regex: Pattern,
    #[serde(skip_serializing_if = "is_zero")]
    pub modulus: u64,
    pub replacement: String,
    pub action: Action,
}

// serde wants a reference here
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What stands between source labels of who names nothing else.
const SEPARATOR: &str = ";";
/// The pattern of who names none.
const REGEX: &str = "(.*)";
/// The replacement of who names none.
const REPLACEMENT: &str = "$1";

/// A rule as it stands in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    source_labels: Vec<String>,
    separator: Option<String>,
    #[serde(default)]
    target_label: String,
    regex: Option<Pattern>,
    #[serde(default)]
    modulus: u64,
    replacement: Option<String>,
    #[serde(default, deserialize_with = "action")]
    action: Action,
}

/// The fields of [`Written`]: a null behind one of these says nothing, and behind another it is a
/// mistake.
const FIELDS: [&str; 7] = [
    "source_labels",
    "separator",
    "target_label",
    "regex",
    "modulus",
    "replacement",
    "action",
];

/// Actions are written in any case.
fn action<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Action, D::Error> {
    struct Read;
    impl Visitor<'_> for Read {
        type Value = Action;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an action of relabelling")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Action, E> {
            let lower = text.to_ascii_lowercase();
            Action::deserialize(serde::de::value::StrDeserializer::<E>::new(&lower))
                .map_err(|_error| E::custom(format_args!("{text:?} is no action of relabelling")))
        }
    }
    deserializer.deserialize_str(Read)
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Rule;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a rule of relabelling")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Rule, A::Error> {
                Written::deserialize(MapAccessDeserializer::new(map))?
                    .checked()
                    .map_err(A::Error::custom)
            }
        }
        deserializer.deserialize_struct("Rule", &FIELDS, Read)
    }
}

impl Written {
    fn checked(self) -> Result<Rule, String> {
        let action = self.action;
        let name = format!("{action:?}").to_ascii_lowercase();
        if action.needs_target() && self.target_label.is_empty() {
            return Err(format!("{name} needs a target_label"));
        }
        if action == Action::HashMod && self.modulus == 0 {
            return Err("hashmod needs a modulus above 0".to_owned());
        }
        let only_names = matches!(action, Action::LabelDrop | Action::LabelKeep);
        let only_equal = matches!(action, Action::KeepEqual | Action::DropEqual);
        let separator = self.separator.unwrap_or_else(|| SEPARATOR.to_owned());
        let replacement = self.replacement.unwrap_or_else(|| REPLACEMENT.to_owned());
        // A default that is written out says nothing: Prometheus prints rules so, as we do.
        let has_more = separator != SEPARATOR || replacement != REPLACEMENT || self.modulus != 0;
        if only_names
            && (has_more || !self.source_labels.is_empty() || !self.target_label.is_empty())
        {
            return Err(format!(
                "{name} takes a regex and nothing else but defaults"
            ));
        }
        let has_regex = self.regex.as_ref().is_some_and(|regex| regex.text != REGEX);
        if only_equal && (has_more || has_regex) {
            return Err(format!(
                "{name} takes source_labels and a target_label and nothing else but defaults"
            ));
        }
        Ok(Rule {
            source_labels: self.source_labels,
            separator,
            target_label: self.target_label,
            regex: self.regex.map_or_else(|| Pattern::new(REGEX), Ok)?,
            modulus: self.modulus,
            replacement,
            action,
        })
    }
}

/// Applies all rules in order; `false` as soon as one drops the set.
///
/// # Errors
/// A rule makes more of the set than is taken: which rule, and of what; in words.
pub fn apply(rules: &[Rule], labels: &mut LabelSet) -> Result<bool, String> {
    for (at, rule) in rules.iter().enumerate() {
        let is_kept = rule
            .apply(labels)
            .map_err(|why| format!("rule {} of relabelling {why}", at + 1))?;
        if !is_kept {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The labels under which whoever is told of an alert knows it: with the external labels that it
/// lacks, and then as each list of rules has them, one after the other. `None` where one of them
/// drops it, or nothing is left. A list that makes more of them than is taken is left out: it loses
/// nobody an alert.
#[must_use]
pub fn told<'a>(
    labels: impl IntoIterator<Item = (&'a String, &'a String)>,
    external_labels: &BTreeMap<String, String>,
    lists: &[&[Rule]],
) -> Option<LabelSet> {
    let mut set: LabelSet = labels.into_iter().collect();
    for (name, value) in external_labels {
        set.set_default(name, value);
    }
    for rules in lists.iter().filter(|rules| !rules.is_empty()) {
        let mut told = set.clone();
        match apply(rules, &mut told) {
            Ok(true) => set = told,
            Ok(false) => return None,
            Err(why) => tracing::warn!(why, "an alert is told as if some rules were not there"),
        }
    }
    (!set.is_empty()).then_some(set)
}

impl Rule {
    fn source(&self, labels: &LabelSet) -> Result<String, String> {
        let mut source = String::new();
        for (at, name) in self.source_labels.iter().enumerate() {
            if at > 0 {
                source.push_str(&self.separator);
            }
            source.push_str(labels.get(name));
            if source.len() > VALUE_BYTES_MAX {
                return Err(format!(
                    "joins source_labels to more than {VALUE_BYTES_MAX} bytes"
                ));
            }
        }
        Ok(source)
    }

    fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    fn apply(&self, labels: &mut LabelSet) -> Result<bool, String> {
        match self.action {
            Action::Replace => self.replace(labels)?,
            Action::Keep => return Ok(self.matches(&self.source(labels)?)),
            Action::Drop => return Ok(!self.matches(&self.source(labels)?)),
            Action::KeepEqual => {
                return Ok(self.source(labels)? == labels.get(&self.target_label));
            }
            Action::DropEqual => {
                return Ok(self.source(labels)? != labels.get(&self.target_label));
            }
            Action::HashMod => {
                let hash = Md5::digest(self.source(labels)?);
                // the last eight bytes, as Prometheus has it from its first versions on
                let number = hash
                    .iter()
                    .skip(8)
                    .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
                let bucket = number % self.modulus.max(1);
                labels.set(&self.target_label, &bucket.to_string());
            }
            Action::LabelMap => self.map_names(labels)?,
            Action::LabelDrop => labels.retain(|name| !self.matches(name)),
            Action::LabelKeep => labels.retain(|name| self.matches(name)),
            Action::Lowercase => {
                let lower = self.source(labels)?.to_lowercase();
                set(labels, &self.target_label, &lower)?;
            }
            Action::Uppercase => {
                let upper = self.source(labels)?.to_uppercase();
                set(labels, &self.target_label, &upper)?;
            }
        }
        Ok(true)
    }

    fn replace(&self, labels: &mut LabelSet) -> Result<(), String> {
        let source = self.source(labels)?;
        let Some(captures) = self.regex.regex.captures(&source) else {
            return Ok(());
        };
        let target = expanded(&captures, &source, &self.target_label)?;
        if target.is_empty() {
            return Ok(());
        }
        let value = expanded(&captures, &source, &self.replacement)?;
        set(labels, &target, &value)
    }

    fn map_names(&self, labels: &mut LabelSet) -> Result<(), String> {
        let (mut mapped, mut bytes) = (Vec::new(), labels.bytes());
        for (name, value) in labels.iter() {
            if let Some(captures) = self.regex.regex.captures(name) {
                let target = expanded(&captures, name, &self.replacement)?;
                bytes += target.len() + value.len();
                mapped.push((target, value.to_owned()));
            }
            if labels.len() + mapped.len() > LABELS_MAX && !mapped.is_empty() {
                return Err(format!("makes a set of more than {LABELS_MAX} labels"));
            }
            if bytes > SET_BYTES_MAX && !mapped.is_empty() {
                return Err(too_large());
            }
        }
        for (name, value) in mapped {
            if !name.is_empty() {
                labels.set(&name, &value);
            }
        }
        Ok(())
    }
}

/// A template with what was captured of `source`, of which each group is at most all.
fn expanded(captures: &Captures<'_>, source: &str, template: &str) -> Result<String, String> {
    let mut text = String::new();
    let longest = template.len() + template.matches('$').count() * source.len();
    if longest > SET_BYTES_MAX {
        return Err(too_long(longest));
    }
    captures.expand(template, &mut text);
    Ok(text)
}

fn set(labels: &mut LabelSet, name: &str, value: &str) -> Result<(), String> {
    let bytes = name.len() + value.len();
    if bytes > VALUE_BYTES_MAX {
        return Err(too_long(bytes));
    }
    labels.set(name, value);
    match bytes > VALUE_BYTES_FREE && labels.bytes() > SET_BYTES_MAX {
        true => Err(too_large()),
        false => Ok(()),
    }
}

fn too_long(bytes: usize) -> String {
    format!("makes up to {bytes} bytes of one text; at most {VALUE_BYTES_MAX} are taken")
}

fn too_large() -> String {
    format!("makes a set of more than {SET_BYTES_MAX} bytes")
}
