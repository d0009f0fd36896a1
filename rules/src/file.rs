//! Rule files: read as strictly as Prometheus reads them, with all their errors, and written.
//!
//! A file is one YAML document with `groups`, or one or several documents of `kind: PrometheusRule`
//! (or a `List` of them), whose `spec` has them. Strict: an unknown field is an error. What rules
//! have here beyond those of Prometheus ([`crate::rule`]) is not taken from files, which others
//! read too.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    period::Period,
    rule::Rule,
    spec::{GroupSpec, RuleSpec, is_label_name},
    yaml::{self, Node, NodeKind, Place},
};

pub use crate::write::write;

/// Bytes of a file.
pub const FILE_BYTES_MAX: usize = 16 << 20;

/// Errors of one file that are told.
pub const ERRORS_MAX: usize = 1_000;

/// A file that is in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleFile {
    /// Its groups, in order; no two have one name.
    pub groups: Vec<GroupSpec>,
    /// What is said of it besides, each with its place as in errors.
    pub warnings: Vec<String>,
}

/// One thing that is wrong: `FILE:LINE:COLUMN: what`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {what}")]
pub struct FileError {
    /// As it was given.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// With the group and the rule.
    pub what: String,
}

/// Reads the text of a rule file.
///
/// # Errors
/// All that is wrong with it (at most [`ERRORS_MAX`]), in the order of the file.
pub fn parse(file: &str, text: &str) -> Result<RuleFile, Vec<FileError>> {
    let mut read = read(text);
    if read.faults.is_empty() {
        let warnings = read.warnings.into_iter();
        return Ok(RuleFile {
            groups: read.groups,
            warnings: warnings
                .map(|((line, column), what)| format!("{file}:{line}:{column}: {what}"))
                .collect(),
        });
    }
    read.faults.sort_by_key(|fault| fault.place);
    let errors = read.faults.into_iter().map(|fault| FileError {
        file: file.to_owned(),
        line: fault.place.0,
        column: fault.place.1,
        what: fault.what,
    });
    Err(errors.take(ERRORS_MAX).collect())
}

/// How Prometheus says an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// The file is no YAML: `yaml: line 1: …`.
    Syntax(String),
    /// A line of `yaml: unmarshal errors`.
    Typed(String),
    /// A duration, which ends the reading there.
    Duration(String),
    /// As it stands, behind the file's name.
    Whole(String),
}

/// Something that is wrong.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) place: Place,
    pub(crate) what: String,
    pub(crate) told: Told,
}

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) groups: Vec<GroupSpec>,
    pub(crate) faults: Vec<Fault>,
    warnings: Vec<(Place, String)>,
    /// Names of groups, of all documents.
    names: BTreeSet<String>,
}

/// Reads a text.
pub(crate) fn read(text: &str) -> Read {
    let mut read = Read::default();
    if text.len() > FILE_BYTES_MAX {
        let what = format!(
            "the file has {} bytes; at most {FILE_BYTES_MAX} are taken",
            text.len()
        );
        read.faults.push(Fault {
            place: (1, 1),
            told: Told::Whole(what.clone()),
            what,
        });
        return read;
    }
    let (documents, syntax) = yaml::documents(text);
    let is_operators = documents.first().is_some_and(is_resource);
    if let Some(syntax) = syntax
        && (documents.is_empty() || is_operators)
    {
        read.faults.push(Fault {
            place: syntax.place,
            what: format!("no YAML: {}", syntax.what),
            told: Told::Syntax(format!("yaml: line {}: {}", syntax.place.0, syntax.what)),
        });
        return read;
    }
    if is_operators {
        for document in &documents {
            read.resource(document, 0);
        }
        return read;
    }
    if let Some(more) = documents.get(1) {
        read.warnings.push((
            more.place,
            "a second document, which is not read: Prometheus reads the first of a file alone"
                .to_owned(),
        ));
    }
    if let Some(first) = documents.first() {
        read.document(first, "rulefmt.RuleGroups", &["groups"]);
        let mut names = BTreeSet::new();
        read.groups_of(first, &mut names, None);
    }
    read
}

fn is_resource(document: &Node) -> bool {
    let kind = document.get("kind").and_then(Node::text);
    document.get("apiVersion").is_some()
        && matches!(kind, Some("PrometheusRule" | "PrometheusRuleList" | "List"))
}

/// Where a rule stands.
#[derive(Clone, Copy)]
struct Standing<'a> {
    group: &'a str,
    index: usize,
    name: &'a str,
}

impl Standing<'_> {
    fn told(self) -> String {
        format!(
            "group {}, rule {}, {}",
            pulseboard_promql::print::quoted(self.group),
            self.index + 1,
            pulseboard_promql::print::quoted(self.name)
        )
    }
}

const GROUP_FIELDS: &[&str] = &[
    "name",
    "interval",
    "query_offset",
    "limit",
    "labels",
    "rules",
];
const RULE_FIELDS: &[&str] = &[
    "record",
    "alert",
    "expr",
    "for",
    "keep_firing_for",
    "labels",
    "annotations",
];

/// What rules made here have, and files have not.
const OURS: &[&str] = &["clear", "every", "missing", "enabled"];

impl Read {
    fn typed(&mut self, place: Place, told: String, what: String) {
        self.faults.push(Fault {
            place,
            what,
            told: Told::Typed(format!("line {}: {told}", place.0)),
        });
    }

    /// A map with these fields alone, each once; false where it is none.
    fn document(&mut self, node: &Node, kind: &str, fields: &[&str]) -> bool {
        let NodeKind::Map(pairs) = &node.kind else {
            if node.is_null() {
                return false;
            }
            let told = format!("cannot unmarshal {} into {kind}", node.told());
            self.typed(
                node.place,
                told,
                format!(
                    "{} where fields were expected: {}",
                    node.told(),
                    fields.join(", ")
                ),
            );
            return false;
        };
        let mut seen: BTreeMap<&str, Place> = BTreeMap::new();
        for (key, _) in pairs {
            let Some(name) = key.text() else {
                self.typed(
                    key.place,
                    format!("invalid map key: {}", key.told()),
                    "a field's name was expected".to_owned(),
                );
                continue;
            };
            if let Some(first) = seen.get(name) {
                self.typed(
                    key.place,
                    format!("mapping key {name:?} already defined at line {}", first.0),
                    format!(
                        "field {name:?} stands twice; the first is in line {}",
                        first.0
                    ),
                );
            } else {
                seen.insert(name, key.place);
            }
        }
        for (key, _) in pairs {
            if let Some(name) = key.text()
                && !fields.contains(&name)
            {
                let ours = match OURS.contains(&name) && kind == "rulefmt.RuleNode" {
                    true => "; it is for rules that are made here, not for files".to_owned(),
                    false => format!("; there are {}", fields.join(", ")),
                };
                self.typed(
                    key.place,
                    format!("field {name} not found in type {kind}"),
                    format!("unknown field {name:?}{ours}"),
                );
            }
        }
        true
    }

    /// A resource of the operator, or a list of them.
    fn resource(&mut self, document: &Node, depth: usize) {
        if document.is_null() {
            return;
        }
        if let (Some(items), true) = (document.get("items"), depth < 4) {
            if let NodeKind::List(items) = &items.kind {
                for item in items {
                    self.resource(item, depth + 1);
                }
            }
            return;
        }
        if document.get("kind").and_then(Node::text) != Some("PrometheusRule") {
            self.warnings.push((
                document.place,
                "not of the kind PrometheusRule, and not read".to_owned(),
            ));
            return;
        }
        let fields = ["apiVersion", "kind", "metadata", "spec", "status"];
        self.document(document, "PrometheusRule", &fields);
        let name = document
            .get("metadata")
            .and_then(|metadata| metadata.get("name"))
            .and_then(Node::text)
            .unwrap_or("another document");
        if let Some(spec) = document.get("spec")
            && self.document(spec, "PrometheusRuleSpec", &["groups"])
        {
            let mut names = BTreeSet::new();
            self.groups_of(spec, &mut names, Some(name));
        }
    }

    fn groups_of(&mut self, node: &Node, names: &mut BTreeSet<String>, resource: Option<&str>) {
        let Some(groups) = node.get("groups").filter(|groups| !groups.is_null()) else {
            return;
        };
        let NodeKind::List(groups) = &groups.kind else {
            let told = format!(
                "cannot unmarshal {} into []rulefmt.RuleGroup",
                groups.told()
            );
            self.typed(groups.place, told, "groups must be a list".to_owned());
            return;
        };
        // What is null is left out, as in Go.
        for group in groups.iter().filter(|group| !group.is_null()) {
            self.group(group, names, resource);
        }
    }

    fn group(&mut self, node: &Node, names: &mut BTreeSet<String>, resource: Option<&str>) {
        let fields: Vec<&str> = match resource {
            // Thanos' field, which the operator's resource has.
            Some(_) => [GROUP_FIELDS, &["partial_response_strategy"]].concat(),
            None => GROUP_FIELDS.to_vec(),
        };
        let is_map = self.document(node, "rulefmt.RuleGroup", &fields);
        if !is_map && !node.is_null() {
            return;
        }
        let mut spec = GroupSpec {
            name: self.text(node.get("name")),
            interval: self
                .duration(node, "interval")
                .filter(|interval| !interval.is_zero()),
            query_offset: self.duration(node, "query_offset"),
            ..GroupSpec::default()
        };
        if let Some(limit) = node.get("limit") {
            match yaml::whole(limit) {
                Some(number) => spec.limit = number,
                None => self.typed(
                    limit.place,
                    format!("cannot unmarshal {} into int", limit.told()),
                    format!("limit: {} is no whole number", limit.told()),
                ),
            }
        }
        let mut places = BTreeMap::new();
        spec.labels = self.texts(node, "labels", &mut places);
        for name in spec.labels.keys() {
            if !is_label_name(name) || name == "__name__" {
                let what = format!("invalid label name: {name}");
                self.faults.push(Fault {
                    place: places
                        .get(&format!("labels.{name}"))
                        .copied()
                        .unwrap_or(node.place),
                    told: Told::Whole(what.clone()),
                    what: format!("group {:?}: {what}", spec.name),
                });
            }
        }
        let told = |what: &str| Told::Whole(format!("{}:{}: {what}", node.place.0, node.place.1));
        if spec.name.is_empty() {
            let what = "Groupname must not be empty";
            self.faults.push(Fault {
                place: node.place,
                told: told(what),
                what: what.to_owned(),
            });
        }
        if !names.insert(spec.name.clone()) {
            let what = format!("groupname: \"{}\" is repeated in the same file", spec.name);
            self.faults.push(Fault {
                place: node.place,
                told: told(&what),
                what,
            });
        }
        match node.get("rules") {
            None => {}
            Some(rules) if rules.is_null() => {}
            Some(rules) => match &rules.kind {
                NodeKind::List(items) => {
                    let items = items.iter().filter(|item| !item.is_null());
                    for (index, item) in items.enumerate() {
                        let rule = self.rule(item, &spec.name, index);
                        spec.rules.extend(rule);
                    }
                }
                _ => self.typed(
                    rules.place,
                    format!("cannot unmarshal {} into []rulefmt.RuleNode", rules.told()),
                    "rules must be a list".to_owned(),
                ),
            },
        }
        if let Some(resource) = resource
            && !self.names.insert(spec.name.clone())
        {
            let name = format!("{} ({resource})", spec.name);
            self.warnings.push((
                node.place,
                format!("a second group {:?}; it is called {name:?}", spec.name),
            ));
            spec.name = name;
            if !self.names.insert(spec.name.clone()) {
                let what = format!("groupname: \"{}\" is repeated in the same file", spec.name);
                self.faults.push(Fault {
                    place: node.place,
                    told: told(&what),
                    what,
                });
            }
        }
        self.groups.push(spec);
    }

    fn rule(&mut self, node: &Node, group: &str, index: usize) -> Option<RuleSpec> {
        if !self.document(node, "rulefmt.RuleNode", RULE_FIELDS) && !node.is_null() {
            return None;
        }
        let faults = self.faults.len();
        let mut places = BTreeMap::new();
        if let NodeKind::Map(pairs) = &node.kind {
            for (key, value) in pairs {
                if let Some(name) = key.text() {
                    places.entry(name.to_owned()).or_insert(value.place);
                }
            }
        }
        let lenient = |field: &str| {
            let text = node.get(field).and_then(Node::text).unwrap_or_default();
            text.to_owned()
        };
        for field in ["record", "alert", "expr"] {
            if let Some(value) = node.get(field)
                && value.text().is_none()
            {
                // Prometheus takes it for an empty text.
                let told = format!("{}:{}: ", value.place.0, value.place.1);
                let what = format!("{field}: {} where a text was expected", value.told());
                self.faults.push(Fault {
                    place: value.place,
                    told: Told::Whole(format!("{told}{what}")),
                    what: format!("group {group:?}, rule {}: {what}", index + 1),
                });
            }
        }
        let spec = RuleSpec {
            alert: lenient("alert"),
            record: lenient("record"),
            expr: lenient("expr"),
            hold: self.duration(node, "for").unwrap_or_default(),
            keep_firing_for: self.duration(node, "keep_firing_for").unwrap_or_default(),
            labels: self.texts(node, "labels", &mut places),
            annotations: self.texts(node, "annotations", &mut places),
            ..RuleSpec::default()
        };
        if self.faults.len() > faults {
            // What was not understood is not looked at any further.
            return Some(spec);
        }
        let standing = Standing {
            group,
            index,
            name: spec.name(),
        };
        let spec = match Rule::new(spec.clone()) {
            Ok(rule) => RuleSpec::clone(rule.spec()),
            Err(problems) => {
                for problem in problems {
                    let fault = fault(&problem, standing, &places, node.place);
                    self.faults.push(fault);
                }
                spec
            }
        };
        Some(spec)
    }

    fn text(&mut self, node: Option<&Node>) -> String {
        let Some(node) = node else {
            return String::new();
        };
        match node.text() {
            Some(text) => text.to_owned(),
            None => {
                self.typed(
                    node.place,
                    format!("cannot unmarshal {} into string", node.told()),
                    format!("{} where a text was expected", node.told()),
                );
                String::new()
            }
        }
    }

    fn duration(&mut self, node: &Node, field: &str) -> Option<Period> {
        let node = node.get(field)?;
        if node.is_null() {
            return None;
        }
        let Some(text) = node.text() else {
            self.text(Some(node));
            return None;
        };
        match Period::parse(text) {
            Ok(period) => Some(period),
            Err(what) => {
                self.faults.push(Fault {
                    place: node.place,
                    what: format!("{field}: {what}"),
                    told: Told::Duration(what),
                });
                None
            }
        }
    }

    fn texts(
        &mut self,
        node: &Node,
        field: &str,
        places: &mut BTreeMap<String, Place>,
    ) -> BTreeMap<String, String> {
        let mut texts = BTreeMap::new();
        let Some(node) = node.get(field).filter(|node| !node.is_null()) else {
            return texts;
        };
        let NodeKind::Map(pairs) = &node.kind else {
            self.typed(
                node.place,
                format!("cannot unmarshal {} into map[string]string", node.told()),
                format!(
                    "{field}: {} where names with texts were expected",
                    node.told()
                ),
            );
            return texts;
        };
        for (key, value) in pairs {
            let name = self.text(Some(key));
            let text = self.text(Some(value));
            let place = format!("{field}.{name}");
            match texts.contains_key(&name) {
                true => {
                    let first = places.get(&place).map_or(0, |place| place.0);
                    self.typed(
                        key.place,
                        format!("mapping key {name:?} already defined at line {first}"),
                        format!("{field}: {name:?} stands twice; the first is in line {first}"),
                    );
                }
                false => {
                    // A name that is wrong is meant more often than its text.
                    let at = if is_label_name(&name) {
                        value.place
                    } else {
                        key.place
                    };
                    places.insert(place, at);
                    texts.insert(name, text);
                }
            }
        }
        texts
    }
}

/// A rule's problem, in our words and in Prometheus'.
fn fault(
    problem: &crate::spec::Problem,
    standing: Standing<'_>,
    places: &BTreeMap<String, Place>,
    rule: Place,
) -> Fault {
    let place_of = |field: &str| places.get(field).copied();
    let place = match problem.what.starts_with("one of") {
        true => rule,
        false => place_of(&problem.field).unwrap_or(rule),
    };
    let shown = |place: Option<Place>| {
        let (line, column) = place.unwrap_or_default();
        format!("{line}:{column}: ")
    };
    let head = match problem.field.as_str() {
        "record" if problem.what.starts_with("only one") => {
            shown(place_of("record")) + &shown(place_of("alert"))
        }
        "expr" => shown(place_of("expr")),
        "record" | "for" | "keep_firing_for" | "annotations" => shown(place_of("record")),
        _ => String::new(),
    };
    let what = format!("{}: {}", standing.told(), problem.what);
    Fault {
        place,
        told: Told::Whole(format!("{head}{what}")),
        what,
    }
}
