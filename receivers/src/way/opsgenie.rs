//! Opsgenie: the Alert API.
//! <https://docs.opsgenie.com/docs/alert-api>

use pulseboard_outbound::Secret;
use serde_json::{Map, Value, json};

use super::common::{group_hash, put};
use crate::{
    config::{OpsGenieConfig, reveal},
    notification::{AlertStatus, Notification},
    post::{Post, join, piece},
    render::{Texts, with_note},
    text::cut,
};

/// Characters that Opsgenie takes.
const MESSAGE_CHARS: usize = 130;
const DESCRIPTION_CHARS: usize = 15_000;
const SOURCE_CHARS: usize = 100;
const ENTITY_CHARS: usize = 512;
const NOTE_CHARS: usize = 25_000;
const TAG_CHARS: usize = 50;
const TAGS: usize = 20;
const ACTION_CHARS: usize = 50;
const ACTIONS: usize = 10;
const DETAILS_CHARS: usize = 8000;

pub(super) fn post(
    config: &OpsGenieConfig,
    notification: &Notification,
    texts: &dyn Texts,
) -> Result<Post, String> {
    let key = reveal(config.api_key.as_ref(), config.api_key_file.as_ref())?;
    let key = Secret::new(texts.text(key.reveal())?);
    let base = config
        .api_url
        .as_deref()
        .unwrap_or("https://api.opsgenie.com/");
    let alias = group_hash(notification);
    let source = texts.text(&config.source)?;
    let source = cut(&source, SOURCE_CHARS);
    let post = match notification.status() {
        AlertStatus::Resolved => {
            let path = format!("v2/alerts/{}/close?identifierType=alias", piece(&alias));
            let mut body = Map::new();
            put(&mut body, "source", source);
            // The note of the configuration was said when it fired.
            let note = notification.note.as_deref().unwrap_or_default();
            put(&mut body, "note", cut(note, NOTE_CHARS));
            Post::json(Secret::new(join(base, &path)), &body.into())?
        }
        AlertStatus::Firing => {
            let mut body = alert(config, notification, texts)?;
            let mut puts = Vec::new();
            // An alert that is there keeps its texts when it is made again, so they are changed by
            // themselves. A text that is empty is refused, and stays as it is.
            for field in ["message", "description"] {
                if let Some(text) = body.get(field).filter(|_| config.update_alerts) {
                    let path = format!("v2/alerts/{}/{field}?identifierType=alias", piece(&alias));
                    let text = json!({ field: text });
                    let put = Post::json(Secret::new(join(base, &path)), &text)?;
                    puts.push(put.secret_header("authorization", "GenieKey ", &key)?);
                }
            }
            body.insert("alias".to_owned(), alias.into());
            put(&mut body, "source", source);
            let mut post = Post::json(Secret::new(join(base, "v2/alerts")), &body.into())?;
            post.puts = puts;
            post
        }
    };
    post.secret_header("authorization", "GenieKey ", &key)
}

fn alert(
    config: &OpsGenieConfig,
    notification: &Notification,
    texts: &dyn Texts,
) -> Result<Map<String, Value>, String> {
    let mut body = Map::new();
    let message = texts.text(&config.message)?;
    let message = match message.trim() {
        "" => "alert",
        message => message,
    };
    put(&mut body, "message", cut(message, MESSAGE_CHARS));
    let description = with_note(notification, texts.text(&config.description)?);
    put(
        &mut body,
        "description",
        cut(&description, DESCRIPTION_CHARS),
    );
    let mut details: Map<String, Value> = Map::new();
    let mut chars = 0;
    let common = notification.common_labels().into_iter();
    let own: Vec<(String, String)> = config
        .details
        .iter()
        .map(|(name, template)| Ok((name.clone(), texts.text(template)?)))
        .collect::<Result<_, String>>()?;
    // What the configuration names comes first where not everything has room.
    for (name, value) in own.into_iter().chain(common) {
        let more = name.chars().count() + value.chars().count();
        if chars + more <= DETAILS_CHARS && !details.contains_key(&name) {
            chars += more;
            details.insert(name, value.into());
        }
    }
    body.insert("details".to_owned(), details.into());
    let entity = texts.text(&config.entity)?;
    put(&mut body, "entity", cut(&entity, ENTITY_CHARS));
    let note = texts.text(&config.note)?;
    put(&mut body, "note", cut(&note, NOTE_CHARS));
    let tags = words(&texts.text(&config.tags)?, TAGS, TAG_CHARS);
    body.insert("tags".to_owned(), tags.into());
    let actions = words(&texts.text(&config.actions)?, ACTIONS, ACTION_CHARS);
    if !actions.is_empty() {
        body.insert("actions".to_owned(), actions.into());
    }
    let responders = responders(config, texts)?;
    if !responders.is_empty() {
        body.insert("responders".to_owned(), responders.into());
    }
    let priority = texts.text(&config.priority)?;
    // Another one is refused.
    if matches!(priority.trim(), "P1" | "P2" | "P3" | "P4" | "P5") {
        put(&mut body, "priority", priority.trim());
    }
    Ok(body)
}

/// What has commas between.
fn words(text: &str, most: usize, chars: usize) -> Vec<String> {
    let words = text.split(',').map(str::trim);
    words
        .filter(|word| !word.is_empty())
        .take(most)
        .map(|word| cut(word, chars).into_owned())
        .collect()
}

fn responders(config: &OpsGenieConfig, texts: &dyn Texts) -> Result<Vec<Value>, String> {
    let mut all = Vec::new();
    for responder in &config.responders {
        let kind = texts.text(&responder.kind)?.to_lowercase();
        let name = texts.text(&responder.name)?;
        if kind == "teams" {
            let teams = words(&name, usize::MAX, usize::MAX).into_iter();
            all.extend(teams.map(|team| json!({"name": team, "type": "team"})));
            continue;
        }
        let mut told = Map::new();
        put(&mut told, "id", texts.text(&responder.id)?);
        put(&mut told, "name", name);
        put(&mut told, "username", texts.text(&responder.username)?);
        // One whose templates gave nothing is nobody.
        if !told.is_empty() {
            told.insert("type".to_owned(), kind.into());
            all.push(told.into());
        }
    }
    Ok(all)
}
