//! Receivers that are made while the server runs: a document a tenant, secrets in it, which is why
//! its file is its owner's alone and no answer is made of it but through [`Receiver`], which hides
//! them.

use std::sync::Arc;

use pulseboard_notify::config::{Config, RouteConfig};
use pulseboard_receivers::config::{Receiver, keep_secrets};
use pulseboard_template::alertmanager::Templates;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::name::document_of;
use crate::base::{
    documents::{DocumentError, Documents, Expected},
    typed,
};

/// Receivers of one tenant.
const RECEIVERS_MAX: usize = 100;

/// Who is told where nobody is.
pub const NOBODY: &str = "nobody";

/// All receivers of a tenant.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Made {
    receivers: Vec<Value>,
}

/// Why a receiver is not made, changed or removed.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// The file says who they are.
    #[error("receivers are those of ALERTMANAGER_CONFIG, and are changed there")]
    ReadOnly,
    /// There is none of that name.
    #[error("there is no receiver {0:?}")]
    NotFound(String),
    /// There is one of that name.
    #[error("there is a receiver {0:?} already")]
    Exists(String),
    /// It cannot be.
    #[error("{0}")]
    Invalid(String),
    /// A field of it cannot be: a JSON Pointer, and why.
    #[error("{0}: {1}")]
    Field(String, String),
    /// It was not stored.
    #[error(transparent)]
    Document(#[from] DocumentError),
}

/// What is done to them.
#[derive(Clone, Debug)]
pub enum Change {
    /// One more.
    Make(Value),
    /// One as it is to be from now on.
    Replace(String, Value),
    /// One less.
    Remove(String),
}

/// The state that a tenant's receivers are in; 0 where none was ever made.
pub(super) fn revision(documents: &Documents, tenant: &str) -> u64 {
    let stored = documents.get::<Made>(&document(tenant));
    stored.map_or(0, |(revision, _)| revision.0)
}

/// The configuration of a tenant's own receivers: each is told of everything.
///
/// # Errors
/// One of them cannot be, which is checked before they are stored.
pub(super) fn config(documents: &Documents, tenant: &str) -> Result<Arc<Config>, String> {
    let made: Made = stored(documents, tenant);
    config_of(&made.receivers).map(Arc::new)
}

fn stored(documents: &Documents, tenant: &str) -> Made {
    let stored = documents.get(&document(tenant));
    stored.map(|(_, made)| made).unwrap_or_default()
}

fn document(tenant: &str) -> String {
    format!("receivers/{}", document_of(tenant))
}

fn config_of(receivers: &[Value]) -> Result<Config, String> {
    let mut read = receivers
        .iter()
        .map(|one| serde_json::from_value(one.clone()).map_err(|error| error.to_string()))
        .collect::<Result<Vec<Receiver>, String>>()?;
    if read.is_empty() {
        read.push(Receiver {
            name: NOBODY.to_owned(),
            ..Receiver::default()
        });
    }
    let names: Vec<String> = read.iter().map(|one| one.name.clone()).collect();
    let first = names.first().cloned().unwrap_or_default();
    let mut config = Config::of_receivers(read, &first)?;
    if names.len() > 1
        && let Some(root) = &mut config.route
    {
        root.routes = names
            .into_iter()
            .map(|receiver| RouteConfig {
                receiver,
                goes_on: true,
                ..RouteConfig::default()
            })
            .collect();
    }
    Ok(config)
}

/// Changes them where all are good then, and they are in the state that is believed; gives the
/// configuration that follows. Blocks.
///
/// # Errors
/// See [`MakeError`]; nothing has changed then.
pub(super) fn change(
    documents: &Documents,
    tenant: &str,
    change: Change,
    believed: Expected,
) -> Result<Arc<Config>, MakeError> {
    let name = document(tenant);
    let found = documents.get::<Made>(&name);
    let current = found.as_ref().map(|(revision, _)| *revision);
    let expected = current.map_or(Expected::New, Expected::Revision);
    if believed != Expected::Any && believed != expected {
        return Err(DocumentError::Conflict { current }.into());
    }
    let mut receivers = found.map(|(_, made)| made.receivers).unwrap_or_default();
    let place = |receivers: &[Value], name: &str| {
        let mut all = receivers.iter();
        all.position(|one| one["name"] == *name)
    };
    match change {
        Change::Make(receiver) => {
            let name = name_of(&receiver)?;
            if place(&receivers, &name).is_some() {
                return Err(MakeError::Exists(name));
            }
            if receivers.len() >= RECEIVERS_MAX {
                return Err(MakeError::Invalid(format!(
                    "there are {RECEIVERS_MAX} receivers, which is all that there may be"
                )));
            }
            receivers.push(checked(receiver, &Value::Null)?);
        }
        Change::Replace(old, receiver) => {
            let Some(place_of_old) = place(&receivers, &old) else {
                return Err(MakeError::NotFound(old));
            };
            let name = name_of(&receiver)?;
            if name != old && place(&receivers, &name).is_some() {
                return Err(MakeError::Exists(name));
            }
            receivers[place_of_old] = checked(receiver, &receivers[place_of_old])?;
        }
        Change::Remove(old) => {
            let Some(place) = place(&receivers, &old) else {
                return Err(MakeError::NotFound(old));
            };
            receivers.remove(place);
        }
    }
    let config = config_of(&receivers).map_err(MakeError::Invalid)?;
    documents.put(&name, expected, &Made { receivers })?;
    Ok(Arc::new(config))
}

fn name_of(receiver: &Value) -> Result<String, MakeError> {
    let name = receiver["name"].as_str().unwrap_or_default();
    let is_name = !name.is_empty()
        && name.len() <= 128
        && !name.chars().any(char::is_control)
        // No path leads to these two.
        && ![".", "..", NOBODY].contains(&name);
    match is_name {
        true => Ok(name.to_owned()),
        false => Err(MakeError::Field(
            "/name".to_owned(),
            format!(
                "needed are 1 to 128 bytes without control characters, and not \".\", \"..\" or {NOBODY:?}"
            ),
        )),
    }
}

/// With secrets that were stored in the place of those that were hidden.
fn checked(mut receiver: Value, stored: &Value) -> Result<Value, MakeError> {
    if let Some(path) = names_file(&receiver, "") {
        let what = "files of the server are named in ALERTMANAGER_CONFIG alone";
        return Err(MakeError::Field(path, what.to_owned()));
    }
    keep_secrets(&mut receiver, stored).map_err(|unkept| MakeError::Invalid(unkept.to_string()))?;
    // Told with its place, which the whole list's error would not have.
    let read = typed::from_value::<Receiver>(receiver.clone())
        .map_err(|wrong| MakeError::Field(wrong.pointer.clone(), wrong.to_string()))?;
    match read.check_texts(&Templates::new()).into_iter().next() {
        Some(wrong) => Err(MakeError::Invalid(wrong)),
        None => Ok(receiver),
    }
}

/// Where a file of the server is named: whoever makes receivers is not to read those.
fn names_file(value: &Value, path: &str) -> Option<String> {
    match value {
        Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(index, item)| names_file(item, &format!("{path}/{index}"))),
        Value::Object(fields) => fields.iter().find_map(|(name, field)| {
            let path = format!("{path}/{name}");
            let is_file = (name.ends_with("_file") || name == "files") && !field.is_null();
            is_file
                .then(|| path.clone())
                .or_else(|| names_file(field, &path))
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::base::documents::Revision;

    fn names(config: &Config) -> Vec<&str> {
        let receivers = config.receivers.iter();
        receivers.map(|receiver| &*receiver.name).collect()
    }

    #[test]
    fn receivers_are_made_changed_and_removed() {
        let documents = Documents::in_memory();
        let hook = |name: &str, url: &str| json!({"name": name, "webhook_configs": [{"url": url}]});
        assert_eq!(names(&config(&documents, "a").expect("good")), [NOBODY]);
        let made = change(
            &documents,
            "a",
            Change::Make(hook("ops", "http://x/1")),
            Expected::Any,
        );
        assert_eq!(names(&made.expect("made")), ["ops"]);
        let twice = change(
            &documents,
            "a",
            Change::Make(hook("ops", "http://x/1")),
            Expected::Any,
        );
        assert!(matches!(twice, Err(MakeError::Exists(_))), "{twice:?}");
        let both = change(
            &documents,
            "a",
            Change::Make(hook("dev", "http://x/2")),
            Expected::Any,
        );
        let both = both.expect("made");
        let route = both.route.as_ref().expect("a route");
        assert_eq!(route.routes.len(), 2, "each is told of everything");
        // what is hidden stays
        let hidden = change(
            &documents,
            "a",
            Change::Replace("ops".to_owned(), hook("ops", "<secret>")),
            Expected::Any,
        );
        let hidden = hidden.expect("changed");
        let url = hidden.receivers[0].webhook_configs[0].url.as_ref();
        assert_eq!(
            url.map(pulseboard_outbound::Secret::reveal),
            Some("http://x/1")
        );
        let shown = serde_json::to_string(&hidden.receivers).expect("JSON");
        assert!(!shown.contains("http://x/1"), "{shown}");
        change(
            &documents,
            "a",
            Change::Remove("ops".to_owned()),
            Expected::Any,
        )
        .expect("removed");
        // what is shown with all that is usual is taken back
        let all = json!({"name": "all",
            "opsgenie_configs": [{"api_key": "s"}], "pagerduty_configs": [{"routing_key": "s"}],
            "victorops_configs": [{"api_key": "s", "routing_key": "r"}],
            "telegram_configs": [{"bot_token": "s", "chat_id": 1}],
            "ntfy_configs": [{"topic": "s"}], "slack_configs": [{"app_token": "s"}],
            "pushover_configs": [{"user_key": "s", "token": "s"}],
            "gotify_configs": [{"url": "http://g/", "token": "s",
                "http_config": {"tls_config": {}, "proxy_url": "http://me:s@p/"}}],
            "email_configs": [{"to": "a@b", "from": "c@d", "smarthost": "m:25",
                "auth_password": "s", "tls_config": {}}]});
        let made = change(&documents, "c", Change::Make(all), Expected::Any).expect("made");
        let shown = serde_json::to_value(&made.receivers[0]).expect("JSON");
        let again = change(
            &documents,
            "c",
            Change::Replace("all".to_owned(), shown),
            Expected::Any,
        );
        assert_eq!(again.expect("taken").receivers, made.receivers);
        assert_eq!(names(&config(&documents, "a").expect("good")), ["dev"]);
        assert_eq!(names(&config(&documents, "b").expect("good")), [NOBODY]);
    }

    #[test]
    fn what_cannot_be_is_said_and_changes_nothing() {
        let documents = Documents::in_memory();
        for (receiver, said) in [
            (json!({}), "name:"),
            (json!({"name": "."}), "name:"),
            (json!({"name": ".."}), "name:"),
            (json!({"name": "a", "webhook_configs": [{}]}), "url"),
            (
                json!({"name": "a", "nothing_configs": []}),
                "nothing_configs",
            ),
            (
                json!({"name": "a", "webhook_configs": [{"url_file": "/etc/passwd"}]}),
                "/webhook_configs/0/url_file",
            ),
            (
                json!({"name": "a", "webhook_configs": [{"url": "<secret>"}]}),
                "none is stored",
            ),
        ] {
            let error =
                change(&documents, "a", Change::Make(receiver), Expected::Any).expect_err(said);
            assert!(error.to_string().contains(said), "{error}");
            let is_placed = matches!(&error, MakeError::Field(at, _) if at.starts_with('/'));
            assert!(is_placed || said == "none is stored", "{error:?}");
        }
        assert!(documents.list("receivers").is_empty());
    }

    #[test]
    fn who_read_an_older_state_changes_nothing() {
        let documents = Documents::in_memory();
        let named = |name: &str| json!({"name": name});
        assert_eq!(revision(&documents, "a"), 0);
        let made = change(&documents, "a", Change::Make(named("ops")), Expected::New);
        assert_eq!(names(&made.expect("made")), ["ops"]);
        let read = Revision(revision(&documents, "a"));
        let dev = Change::Make(named("dev"));
        change(&documents, "a", dev, Expected::Revision(read)).expect("nobody was faster");
        for late in [Expected::New, Expected::Revision(read)] {
            let removal = Change::Remove("ops".to_owned());
            let refused = change(&documents, "a", removal, late);
            let Err(MakeError::Document(DocumentError::Conflict { current })) = refused else {
                panic!("{late:?}: {refused:?}");
            };
            assert_eq!(current, Some(Revision(revision(&documents, "a"))));
        }
        assert_eq!(
            names(&config(&documents, "a").expect("good")),
            ["ops", "dev"]
        );
    }
}
