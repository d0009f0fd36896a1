//! Microsoft Teams: MessageCards of connectors, and adaptive cards of flows.
//! <https://learn.microsoft.com/outlook/actionable-messages/message-card-reference>,
//! <https://adaptivecards.io/explorer/AdaptiveCard.html>

use serde_json::json;

use crate::{
    config::{MsTeamsConfig, MsTeamsV2Config, reveal},
    notification::{AlertStatus, Notification},
    outcome::{Outcome, Reply},
    post::Post,
    render::{Texts, with_note},
    text::{cut, cut_bytes},
};

/// A message is 28 KB at most.
const TEXT_BYTES: usize = 20_000;
const TITLE_CHARS: usize = 1024;

pub(super) fn post(
    config: &MsTeamsConfig,
    notification: &Notification,
    texts: &dyn Texts,
) -> Result<Post, String> {
    let url = reveal(
        config.webhook_url.as_ref(),
        config.webhook_url_file.as_ref(),
    )?;
    let title = texts.text(&config.title)?;
    let summary = texts.text(&config.summary)?;
    // One of summary and text has to be there.
    let summary = if summary.trim().is_empty() {
        &title
    } else {
        &summary
    };
    let text = with_note(notification, texts.text(&config.text)?);
    let color = match notification.status() {
        AlertStatus::Firing => "8C1A1A",
        AlertStatus::Resolved => "2DC72D",
    };
    Post::json(
        url,
        &json!({
            "@context": "https://schema.org/extensions",
            "@type": "MessageCard",
            "title": cut(title.trim(), TITLE_CHARS),
            "summary": cut(summary.trim(), TITLE_CHARS),
            "text": cut_bytes(&text, TEXT_BYTES),
            "themeColor": color,
        }),
    )
}

pub(super) fn post_v2(
    config: &MsTeamsV2Config,
    notification: &Notification,
    texts: &dyn Texts,
) -> Result<Post, String> {
    let url = reveal(
        config.webhook_url.as_ref(),
        config.webhook_url_file.as_ref(),
    )?;
    let title = texts.text(&config.title)?;
    let text = with_note(notification, texts.text(&config.text)?);
    let color = match notification.status() {
        AlertStatus::Firing => "Attention",
        AlertStatus::Resolved => "Good",
    };
    Post::json(
        url,
        &json!({
            "type": "message",
            "attachments": [{
                "contentType": "application/vnd.microsoft.card.adaptive",
                "contentUrl": null,
                "content": {
                    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                    "type": "AdaptiveCard",
                    "version": "1.4",
                    "body": [
                        {
                            "type": "TextBlock",
                            "text": cut(title.trim(), TITLE_CHARS),
                            "weight": "Bolder",
                            "size": "Medium",
                            "wrap": true,
                            "style": "heading",
                            "color": color,
                        },
                        {
                            "type": "TextBlock",
                            "text": cut_bytes(&text, TEXT_BYTES),
                            "wrap": true,
                        },
                    ],
                    "msteams": {"width": "Full"},
                },
            }],
        }),
    )
}

/// A connector says 200, too, where Teams behind it did not take the message.
pub(super) fn judge(reply: &Reply<'_>) -> Outcome {
    let body = String::from_utf8_lossy(reply.body);
    if reply.status == 200
        && let Some((_, after)) = body.split_once("returned HTTP error ")
    {
        return match after.get(..3) {
            Some("429") => reply.later(None),
            Some(status) if status.starts_with('5') => reply.later(None),
            _ => Outcome::failed(reply.said()),
        };
    }
    reply.usual()
}
