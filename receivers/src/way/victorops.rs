//! VictorOps, or Splunk On-Call: the REST endpoint.
//! <https://help.victorops.com/knowledge-base/rest-endpoint-integration-guide/>

use pulseboard_outbound::Secret;
use serde_json::Map;

use super::common::{group_hash, put};
use crate::{
    config::{VictorOpsConfig, reveal},
    notification::{AlertStatus, Notification},
    outcome::{Outcome, Reply},
    post::{Post, join, piece},
    render::{Texts, with_note},
    text::cut,
};

/// Characters of a message.
const MESSAGE_CHARS: usize = 20_480;

pub(super) fn post(
    config: &VictorOpsConfig,
    notification: &Notification,
    texts: &dyn Texts,
) -> Result<Post, String> {
    let key = reveal(config.api_key.as_ref(), config.api_key_file.as_ref())?;
    let base = config.api_url.as_deref().unwrap_or_default();
    let route = texts.text(&config.routing_key)?;
    let path = format!("{}/{}", piece(key.reveal()), piece(&route));
    let kind = match notification.status() {
        AlertStatus::Resolved => "RECOVERY".to_owned(),
        AlertStatus::Firing => {
            let kind = texts.text(&config.message_type)?.trim().to_uppercase();
            match kind.as_str() {
                "CRITICAL" | "WARNING" | "INFO" => kind,
                _ => "CRITICAL".to_owned(),
            }
        }
    };
    let mut body = Map::new();
    for (name, template) in &config.custom_fields {
        put(&mut body, name, texts.text(template)?);
    }
    body.insert("message_type".to_owned(), kind.into());
    body.insert("entity_id".to_owned(), group_hash(notification).into());
    let name = texts.text(&config.entity_display_name)?;
    put(&mut body, "entity_display_name", name);
    let message = with_note(notification, texts.text(&config.state_message)?);
    put(&mut body, "state_message", cut(&message, MESSAGE_CHARS));
    let tool = texts.text(&config.monitoring_tool)?;
    put(&mut body, "monitoring_tool", tool);
    Ok(Post::json(Secret::new(join(base, &path)), &body.into())?.hiding(&key))
}

/// It says 200 to what it does not take, too.
pub(super) fn judge(reply: &Reply<'_>) -> Outcome {
    match reply.usual() {
        Outcome::Sent if reply.json()["result"] == "failure" => Outcome::failed(reply.said()),
        outcome => outcome,
    }
}
