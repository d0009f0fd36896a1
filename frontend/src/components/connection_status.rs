//! How the connection stands, and of when the newest figure is. Says *Live* only while fresh
//! figures arrive.

use yew::prelude::*;

use crate::{
    format,
    hooks::use_selector,
    markup::html,
    net::feed::Connection,
    platform,
    stores::{connection::ConnectionStore, stats::StatsStore},
};

/// The word that tests and readers look for, and the class beside `status`.
fn shown(connection: &Connection) -> (&'static str, String) {
    match connection {
        Connection::Connecting => ("connecting", "Connecting".to_owned()),
        Connection::Waiting => ("connecting", "Waiting for figures".to_owned()),
        Connection::Live => ("connected", "Live".to_owned()),
        Connection::Stale { age_s } => {
            #[expect(clippy::cast_possible_wrap, reason = "an age in seconds")]
            let age = format::duration((*age_s * 1000) as i64);
            ("stale", format!("Stale · {age} old"))
        }
        Connection::Lost { .. } => ("disconnected", "Disconnected".to_owned()),
    }
}

/// What is said aloud: once a change, without the seconds that count up.
const fn spoken(connection: &Connection) -> &'static str {
    match connection {
        Connection::Connecting => "Connecting to the server",
        Connection::Waiting => "Connected, waiting for figures",
        Connection::Live => "Live figures",
        Connection::Stale { .. } => "The figures are stale",
        Connection::Lost { .. } => "Disconnected, trying again",
    }
}

/// A word and a dot for how the connection is, and the time of the newest figure.
#[hook]
pub fn use_connection_status() -> Html {
    let connection = use_selector(|store: &ConnectionStore| store.view.connection.clone());
    // Shown by the second, and so not changed by each tick.
    let newest = *use_selector(|stats: &StatsStore| {
        stats
            .select_newest_ms()
            .map(|t_ms| (t_ms / 1_000.0).floor() * 1_000.0)
    });
    let (class, text) = shown(&connection);
    let updated = newest.map(|t_ms| {
        #[expect(clippy::cast_possible_truncation, reason = "Unix ms")]
        let clock = format::clock(t_ms as i64, platform::zone_offset_min(t_ms));
        format!("Updated: {clock}")
    });
    html! {
        <div class="connection">
            <span class={classes!("status", class)}>
                <span class="dot" aria-hidden="true" />
                <span class="status__word">{ text }</span>
                if let Some(updated) = updated {
                    <span class="time">{ updated }</span>
                }
            </span>
            <span class="visually-hidden" role="status" aria-live="polite">{ spoken(&connection) }</span>
        </div>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_contract() {
        assert_eq!(shown(&Connection::Live), ("connected", "Live".to_owned()));
        let lost = Connection::Lost {
            attempt: 3,
            retry_in_s: None,
            lost_s: 9,
        };
        assert_eq!(shown(&lost), ("disconnected", "Disconnected".to_owned()));
        assert_eq!(
            shown(&Connection::Stale { age_s: 7 }),
            ("stale", "Stale · 7 s old".to_owned())
        );
    }
}
