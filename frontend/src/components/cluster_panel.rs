//! The servers that are one service: who is there, who watches where, how long messages take, who
//! does what for all, and what is not as it should be. Asked for while it is open.

use web_sys::Element;
use yew::prelude::*;

use super::state;
use crate::{
    format,
    hooks::use_answer,
    markup::html,
    net::config::Endpoint,
    platform,
    stores::cluster::{Cluster, Member, read},
    words,
};

const EVERY_MS: u32 = 3_000;

/// Props of [`ClusterPanel`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(crate) struct Props {
    /// Where the backend is.
    pub(crate) endpoint: Endpoint,
}

/// One server as a row.
fn row(member: &Member) -> Html {
    let (trouble, word) = member.state();
    let name = match member.is_this {
        true => [&member.instance, ", which answers"].concat(),
        false => member.instance.clone(),
    };
    let viewers = match member.viewers == 1.0 {
        true => "1 stream".to_owned(),
        false => [&format::value(member.viewers), " streams"].concat(),
    };
    let lag = format!("lag {} ms", format::value(member.lag_ms));
    let holds = match member.holds.is_empty() {
        true => "does nothing for all".to_owned(),
        false => ["for all: ", &member.holds].concat(),
    };
    html! {
        <li key={member.id.clone()} class="target target--receiver">
            { state(trouble, word.to_owned()) }
            <span class="target__place">
                <span class="series-name">{ name }</span>
                { " " }
                <span class="series-name__labels">{ [&member.address, " ", &member.version].concat() }</span>
            </span>
            <span>{ viewers }</span>
            <span>{ lag }</span>
            <span>{ holds }</span>
        </li>
    }
}

/// What is not as it should be, and what that means.
fn degraded(cluster: &Cluster, offset_min: i32) -> Option<String> {
    let clock = format::clock(cluster.alone_since_ms?, offset_min);
    let why = match cluster.reason.is_empty() {
        true => String::new(),
        false => [" (", &cluster.reason, ")"].concat(),
    };
    Some([words::ALONE_SINCE, &clock, &why, words::WHAT_ALONE_MEANS].concat())
}

/// What is shown while it is open.
#[component]
fn Open(Props { endpoint }: &Props) -> Html {
    let answer = use_answer(endpoint, "/api/cluster".into(), EVERY_MS, 0);
    let Some(json) = &answer.json else {
        let problem = answer.problem.as_ref();
        let words = problem.map_or_else(|| words::LOADING_ALL.to_owned(), |why| why.in_words());
        return html! { <p role="status">{ words }</p> };
    };
    let cluster = read(json);
    let offset_min = platform::zone_offset_min(platform::now_ms());
    html! {
        <>
            <p role="status">{ cluster.summary() }</p>
            if let Some(words) = degraded(&cluster, offset_min) {
                <p class="notice">{ words }</p>
            }
            if cluster.is_single {
                <p>{ "REDIS_URL makes several servers one service." }</p>
            } else {
                <ol class="target-list">{ for cluster.members.iter().map(row) }</ol>
                <p class="operator__refused">
                    { format!("Generation {} of what they share: it grows with each failover and restart of Redis.", format::plain(cluster.generation)) }
                </p>
            }
        </>
    }
}

/// The part of the operator's view; closed until somebody wants to know.
#[component]
pub(crate) fn ClusterPanel(Props { endpoint }: &Props) -> Html {
    let open = use_state_eq(|| false);
    let ontoggle = {
        let open = open.setter();
        move |event: Event| {
            let details: Element = event.target_unchecked_into();
            open.set(details.has_attribute("open"));
        }
    };
    html! {
        <details class="operator__cluster panel" {ontoggle}>
            <summary><h3>{ "Cluster" }</h3></summary>
            if *open {
                <Open endpoint={endpoint.clone()} />
            }
        </details>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_why_it_is_alone() {
        let mut cluster = Cluster::default();
        assert_eq!(degraded(&cluster, 0), None);
        cluster.alone_since_ms = Some(1_795_878_009_000);
        cluster.reason = "connection refused".to_owned();
        let words = degraded(&cluster, 0).unwrap_or_default();
        assert!(words.contains(" (connection refused)"), "{words}");
    }
}
