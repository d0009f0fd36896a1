//! A line of the chat: who said it, when, and what.

use yew::prelude::*;

use crate::{
    format,
    markup::html,
    platform,
    stores::chat::{ChatLine, Speaker},
};

pub(super) fn chat_line(line: &ChatLine) -> Html {
    #[expect(clippy::cast_possible_truncation, reason = "Unix ms")]
    let clock = format::clock(line.at_ms as i64, platform::zone_offset_min(line.at_ms));
    let (kind, user) = match &line.speaker {
        Speaker::System => ("chat__line--system", None),
        Speaker::Error => ("chat__line--error", None),
        Speaker::Other { user, .. } => ("chat__line--other", Some(user)),
        Speaker::Own(user) => ("chat__line--own", Some(user)),
    };
    // What the server says of who speaks, beside the name that they chose.
    let role = match &line.speaker {
        Speaker::Other { role, .. } if !role.is_empty() => Some(format!(" ({role})")),
        _ => None,
    };
    html! {
        <li class={classes!("chat__line", kind)} key={line.number}>
            if let Some(user) = user {
                <span class="chat__user">{ AttrValue::from(user.clone()) }</span>
                if let Some(role) = role {
                    <span class="chat__role">{ role }</span>
                }
                <span class="chat__time">{ clock }</span>
            }
            <span class="chat__text">{ AttrValue::from(line.text.clone()) }</span>
        </li>
    }
}
