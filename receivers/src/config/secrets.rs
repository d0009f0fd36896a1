//! What was hidden when it was read is put back when it is written again.

use pulseboard_outbound::{config::TlsConfig, secret::HIDDEN};
use serde_json::{Value, json};
use url::Url;

use super::{Global, receiver::NTFY};

/// Why a secret that is hidden is not put back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unkept {
    /// There is none.
    #[error("{0}: \"<secret>\" stands for a secret that is stored, and none is stored there")]
    NotStored(String),
    /// Who can be sent there is not who it was given to.
    #[error(
        "{0}: \"<secret>\" keeps a secret for the address that it was stored with, and another one \
         is given: give the secret, too"
    )]
    Moved(String),
}

/// Puts the stored text in the place of each `<secret>` of `new` that `stored` has one for. Both
/// are a receiver as JSON; items of lists are told by their place. A secret stays with the address
/// that it is sent to (scheme, host and port, the proxy, and whom TLS believes): whoever changes
/// receivers is not to have the secrets of others sent to themselves.
///
/// # Errors
/// Nothing is stored for one, or it is stored for another address; `new` is then of no use.
pub fn keep_secrets(new: &mut Value, stored: &Value) -> Result<(), Unkept> {
    let Value::Object(fields) = new else {
        return put_back(new, stored, "").map(drop);
    };
    for (name, field) in fields.iter_mut() {
        let stored = stored.get(name).unwrap_or(&Value::Null);
        let Value::Array(ways) = field else {
            put_back(field, stored, name)?;
            continue;
        };
        for (index, way) in ways.iter_mut().enumerate() {
            let stored = stored.get(index).unwrap_or(&Value::Null);
            let at = format!("{name}/{index}");
            // What is usual is shown hidden, too, where it is of a kind that may be secret.
            for field in ADDRESSES {
                let is_usual = way.get(field).is_some_and(|text| text == HIDDEN)
                    && stored.is_object()
                    && stored.get(field).is_none_or(Value::is_null);
                if let Some(text) = usual(name, field).filter(|_| is_usual) {
                    way[field] = text.into();
                }
            }
            let is_kept = put_back(way, stored, &at)?;
            if is_kept && goes_to(name, way) != goes_to(name, stored) {
                return Err(Unkept::Moved(at));
            }
        }
    }
    Ok(())
}

/// Whether something was put back.
fn put_back(new: &mut Value, stored: &Value, at: &str) -> Result<bool, Unkept> {
    let mut is_kept = false;
    match new {
        Value::String(text) if text == HIDDEN => match stored {
            Value::String(_) => {
                *new = stored.clone();
                is_kept = true;
            }
            _ => return Err(Unkept::NotStored(at.to_owned())),
        },
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                let stored = stored.get(index).unwrap_or(&Value::Null);
                is_kept |= put_back(item, stored, &format!("{at}/{index}"))?;
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                let stored = stored.get(name).unwrap_or(&Value::Null);
                is_kept |= put_back(field, stored, &format!("{at}/{name}"))?;
            }
        }
        _ => {}
    }
    Ok(is_kept)
}

/// Fields of a section that say where its requests or mails go.
const ADDRESSES: [&str; 6] = [
    "url",
    "api_url",
    "app_url",
    "webhook_url",
    "endpoint",
    "smarthost",
];

/// Where a way goes, and who may read what is sent there. What is not given is as it is told of
/// then, so that whoever sends back what was shown changes nothing.
fn goes_to(section: &str, way: &Value) -> Value {
    let is_address = |name: &&str| (section, *name) != ("pushover_configs", "url");
    let mut all: Vec<Value> = ADDRESSES
        .into_iter()
        .filter(is_address)
        .map(|name| match way.get(name) {
            Some(Value::String(text)) if !text.is_empty() => origin(text),
            _ => usual(section, name).as_deref().map_or(Value::Null, origin),
        })
        .collect();
    let proxy = way.pointer("/http_config/proxy_url");
    all.push(proxy.and_then(Value::as_str).map_or(Value::Null, origin));
    for path in ["/http_config/tls_config", "/tls_config"] {
        let given = way.pointer(path).cloned().unwrap_or_default();
        let read: Result<Option<TlsConfig>, _> = serde_json::from_value(given.clone());
        all.push(match read {
            Ok(tls) => json!(tls.unwrap_or_default()),
            Err(_none) => given,
        });
    }
    let is_set = |name: &str, usual: bool| way.get(name).and_then(Value::as_bool).unwrap_or(usual);
    let needs_tls = is_set("require_tls", Global::default().smtp_require_tls);
    all.push(json!([needs_tls, is_set("force_implicit_tls", false)]));
    Value::Array(all)
}

/// Where a way goes that does not say so.
fn usual(section: &str, name: &str) -> Option<String> {
    let global = Global::default();
    match (section, name) {
        ("pagerduty_configs", "url") => Some(global.pagerduty_url),
        ("telegram_configs", "api_url") => Some(global.telegram_api_url.reveal().to_owned()),
        ("opsgenie_configs", "api_url") => Some(global.opsgenie_api_url),
        ("victorops_configs", "api_url") => Some(global.victorops_api_url),
        ("slack_configs", "app_url") => global.slack_app_url.map(|url| url.reveal().to_owned()),
        ("ntfy_configs", "url") => Some(NTFY.to_owned()),
        _ => None,
    }
}

/// Scheme, host and port of an address; all of what is none, or which a template makes one of.
fn origin(address: &str) -> Value {
    let is_plain = !address.contains("{{");
    match Url::parse(address) {
        Ok(url) if is_plain && url.has_host() => {
            json!([url.scheme(), url.host_str(), url.port_or_known_default()])
        }
        _ => address.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_stays_and_what_is_new_is_taken() {
        let stored = json!({"a": [{"token": "one", "b": 1}], "c": "plain"});
        let mut new = json!({"a": [{"token": "<secret>", "b": 2}], "c": "other"});
        assert_eq!(keep_secrets(&mut new, &stored), Ok(()));
        assert_eq!(new, json!({"a": [{"token": "one", "b": 2}], "c": "other"}));
        let mut new = json!({"a": [{"token": "<secret>"}, {"token": "<secret>"}]});
        assert_eq!(
            keep_secrets(&mut new, &stored),
            Err(Unkept::NotStored("a/1/token".to_owned())),
            "the second is nowhere"
        );
    }

    #[test]
    fn a_secret_stays_with_the_address_that_it_was_stored_with() {
        let basic = |url: &str, password: &str| {
            json!({"webhook_configs": [{"url": url, "http_config":
                {"basic_auth": {"username": "me", "password": password}}}]})
        };
        let stored = basic("https://good.example/hook", "S3CRET");
        for same in [
            "https://good.example/other?x=1",
            "HTTPS://GOOD.example:443/",
            "<secret>",
        ] {
            let mut new = basic(same, "<secret>");
            assert_eq!(keep_secrets(&mut new, &stored), Ok(()), "{same}");
            assert!(new.to_string().contains("S3CRET"));
        }
        for other in [
            "https://evil.example/hook",
            "http://good.example/hook",
            "https://good.example:8443/hook",
            "https://good.example.evil.example/",
            "https://{{ \"evil.example/\" }}@good.example/hook",
            "https://good.example{{ \".evil.example\" }}/hook",
        ] {
            let mut new = basic(other, "<secret>");
            let moved = Err(Unkept::Moved("webhook_configs/0".to_owned()));
            assert_eq!(keep_secrets(&mut new, &stored), moved, "{other}");
            let mut new = basic(other, "mine");
            assert_eq!(keep_secrets(&mut new, &stored), Ok(()), "{other}");
        }
        for (section, way, changed) in [
            (
                "email_configs",
                json!({"smarthost": "good:587", "auth_password": "s"}),
                json!({"smarthost": "evil:587"}),
            ),
            (
                "email_configs",
                json!({"smarthost": "good:587", "auth_password": "s"}),
                json!({"require_tls": false}),
            ),
            (
                "opsgenie_configs",
                json!({"api_key": "s"}),
                json!({"api_url": "https://evil/"}),
            ),
            (
                "telegram_configs",
                json!({"api_url": "https://good/", "bot_token": "s"}),
                json!({"api_url": "https://evil/"}),
            ),
            (
                "slack_configs",
                json!({"app_token": "s"}),
                json!({"app_url": "https://evil/"}),
            ),
            (
                "discord_configs",
                json!({"webhook_url": "http://good/s"}),
                json!({"http_config": {"proxy_url": "http://evil/"}}),
            ),
            (
                "gotify_configs",
                json!({"url": "https://good/", "token": "s"}),
                json!({"http_config": {"tls_config": {"insecure_skip_verify": true}}}),
            ),
            (
                "pagerduty_configs",
                json!({"routing_key": "s"}),
                json!({"url": "https://evil/"}),
            ),
        ] {
            let stored = json!({ section: [way] });
            let hide = |way: &Value| {
                let mut hidden = way.clone();
                for name in ["auth_password", "api_key", "bot_token", "app_token"] {
                    if hidden.get(name).is_some() {
                        hidden[name] = HIDDEN.into();
                    }
                }
                for name in ["webhook_url", "token", "routing_key"] {
                    if hidden.get(name).is_some() {
                        hidden[name] = HIDDEN.into();
                    }
                }
                hidden
            };
            let mut same = json!({ section: [hide(&way)] });
            assert_eq!(keep_secrets(&mut same, &stored), Ok(()), "{way}");
            assert_eq!(same, stored);
            let mut new = hide(&way);
            for (name, value) in changed.as_object().expect("fields") {
                new[name] = value.clone();
            }
            let mut new = json!({ section: [new] });
            let moved = Err(Unkept::Moved(format!("{section}/0")));
            assert_eq!(keep_secrets(&mut new, &stored), moved, "{changed}");
        }
        // a link in a message is nowhere that it goes
        let stored = json!({"pushover_configs": [{"token": "s", "url": "https://a/"}]});
        let mut new = json!({"pushover_configs": [{"token": "<secret>", "url": "https://b/"}]});
        assert_eq!(keep_secrets(&mut new, &stored), Ok(()));
    }
}
