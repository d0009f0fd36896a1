//! Attributes as labels.
//!
//! Of a resource, `service.name` becomes `job` (with `service.namespace` and `/` before it, when
//! there is one) and `service.instance.id` `instance`, as the OpenTelemetry specification has it
//! for Prometheus; its other attributes become labels, too, as do those of points. The scope's name
//! is `otel_scope_name`. Where a point and its resource have the same attribute the point's counts.
//! Keys are kept as they were sent; an attribute without a key, which is none, is left out.

use pulseboard_series::limits::LABELS_MAX;
use serde_json::Value as Json;

use super::model::{AnyValue, KeyValue, Resource, Scope};
use crate::series_parts::number;

/// Labels of a resource and its scope that are looked at.
const SHARED_MAX: usize = 4 * LABELS_MAX;

pub(super) type Labels = Vec<(String, String)>;

/// The labels that all points of one scope of one resource share.
pub(super) fn shared(resource: Option<&Resource>, scope: Option<&Scope>) -> Labels {
    let mut labels = Labels::new();
    let (mut service, mut namespace) = (None, None);
    for attribute in resource.map_or(&[][..], |resource| &resource.attributes) {
        if is_nameless(attribute) {
            continue;
        }
        let text = text(attribute);
        match attribute.key.as_str() {
            "service.name" => service = Some(text),
            "service.namespace" => namespace = Some(text),
            "service.instance.id" => labels.push(("instance".to_owned(), text)),
            key => labels.push((key.to_owned(), text)),
        }
    }
    if let Some(service) = service {
        let job = match namespace {
            Some(namespace) if !namespace.is_empty() => format!("{namespace}/{service}"),
            _ => service,
        };
        labels.push(("job".to_owned(), job));
    }
    if let Some(scope) = scope {
        labels.push(("otel_scope_name".to_owned(), scope.name.clone()));
    }
    labels.sort();
    // Each point copies them, and a series with so many is refused in any case.
    labels.truncate(SHARED_MAX);
    labels
}

/// A point's labels before the shared ones that it does not have itself.
pub(super) fn of_point(attributes: &[KeyValue], shared: &Labels) -> Labels {
    let own: Labels = attributes
        .iter()
        .filter(|attribute| !is_nameless(attribute))
        .map(|attribute| (attribute.key.clone(), text(attribute)))
        .collect();
    if own.is_empty() {
        return shared.clone();
    }
    let mut labels = own;
    let count = labels.len();
    for (name, value) in shared {
        if !labels[..count].iter().any(|(own, _)| own == name) {
            labels.push((name.clone(), value.clone()));
        }
    }
    labels.sort();
    labels
}

/// Whether an attribute has no key.
pub(super) fn is_nameless(attribute: &KeyValue) -> bool {
    attribute.key.is_empty()
}

fn text(attribute: &KeyValue) -> String {
    let Some(value) = &attribute.value else {
        return String::new();
    };
    match value {
        AnyValue {
            string_value: Some(text),
            ..
        } => text.clone(),
        AnyValue {
            double_value: Some(double),
            ..
        } => number(*double),
        AnyValue {
            bytes_value: Some(bytes),
            ..
        } => super::json::base64_text(bytes),
        other => match json(other) {
            Json::Null => String::new(),
            json => json.to_string(),
        },
    }
}

/// Lists and maps as compact JSON; NaN and infinities, which it has not, in words.
fn json(value: &AnyValue) -> Json {
    if let Some(text) = &value.string_value {
        Json::from(text.as_str())
    } else if let Some(flag) = value.bool_value {
        Json::from(flag)
    } else if let Some(integer) = value.int_value {
        Json::from(integer)
    } else if let Some(double) = value.double_value {
        serde_json::Number::from_f64(double)
            .map_or_else(|| Json::from(number(double)), Json::Number)
    } else if let Some(array) = &value.array_value {
        array.values.iter().map(json).collect()
    } else if let Some(list) = &value.kvlist_value {
        let entries = list.values.iter().map(|entry| {
            let value = entry.value.as_ref().map_or(Json::Null, json);
            (entry.key.clone(), value)
        });
        Json::Object(entries.collect())
    } else if let Some(bytes) = &value.bytes_value {
        Json::from(super::json::base64_text(bytes))
    } else {
        Json::Null
    }
}
