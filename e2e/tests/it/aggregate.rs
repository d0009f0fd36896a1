//! The aggregate view: cards of what is tracked, and the activity of one.

use anyhow::{Result, ensure};
use pulseboard_e2e::{Look, SOON, Server, eventually, visit};

use crate::BUSY;

#[tokio::test]
async fn cards_and_activity_follow_what_is_tracked() -> Result<()> {
    let server = Server::start(BUSY).await?;
    let track = async |kind: &str, value: f64| {
        let item = format!("{{\"type\":\"{kind}\",\"value\":{value}}}");
        server.post("/metrics/track", item).await
    };
    track("page_view", 1.0).await?;
    track("page_view", 2.5).await?;
    track("api_call", 7.0).await?;
    visit(
        &format!("{}/#/aggregate", server.url()),
        Look::DESKTOP,
        async |page| {
            page.shows("Activity (Last 10 minutes)").await?;
            eventually("the card of page views", SOON, async || {
                let cards = page.texts(".tally").await?;
                let card = cards.iter().find(|card| card.contains("page view"));
                Ok(card
                    .is_some_and(|card| card.contains("Total: 3.5"))
                    .then_some(()))
            })
            .await?;
            // Of all bars together: a minute may end between two items.
            let bars = async |count: u32| {
                eventually(&format!("bars of {count}"), SOON * 2, async || {
                    let counts = page.texts(".activity__count").await?;
                    let counts = counts.iter().filter_map(|shown| shown.parse::<u32>().ok());
                    Ok((counts.sum::<u32>() == count).then_some(()))
                })
                .await
            };
            bars(2).await?;
            track("page_view", 1.0).await?;
            bars(3).await?;
            page.click("[aria-label='Show the activity of api call']")
                .await?;
            bars(1).await?;
            page.choose("5 min").await?;
            page.shows("Activity (Last 50 minutes)").await?;
            ensure!(page.text("nav [aria-current=page]").await? == "Aggregate");
            Ok(())
        },
    )
    .await
}

/// A page that hands both events of the stream to the same code, as pages of its own do: it reads
/// the names from `stats.metrics`, and makes a card of each.
#[tokio::test]
async fn a_page_that_reads_both_events_alike_shows_every_card() -> Result<()> {
    let server = Server::start(BUSY).await?;
    visit(&server.url(), Look::DESKTOP, async |page| {
        page.becomes_live().await?;
        let shown: Vec<String> = page
            .eval_async(
                "const done = arguments[0]; const seen = []; \
                 const cards = text => Object.entries(JSON.parse(text).stats.metrics || {}) \
                     .filter(([name]) => name !== 'performance') \
                     .map(([name, item]) => `${name.replace('_', ' ')} ${item.count} ${item.total}`) \
                     .sort().join(', '); \
                 const track = (type, value) => fetch('/metrics/track', { method: 'POST', \
                     headers: { 'Content-Type': 'application/json' }, \
                     body: JSON.stringify({ type, value, metadata: { page: '/home' } }) }); \
                 track('page_view', 1.5).then(() => { \
                     const source = new EventSource('/dashboard/stream'); \
                     source.addEventListener('init', event => { \
                         seen.push(cards(event.data)); track('page_view', 2); track('api_call', 7); }); \
                     source.addEventListener('update', event => { \
                         seen.push(cards(event.data)); \
                         if (seen.at(-1).includes('api call')) { source.close(); done(seen); } }); \
                 });",
                vec![],
            )
            .await?;
        ensure!(shown.first().is_some_and(|cards| cards == "page view 1 1.5"), "{shown:?}");
        ensure!(
            shown.last().is_some_and(|cards| cards == "api call 1 7, page view 2 3.5"),
            "{shown:?}"
        );
        Ok(())
    })
    .await
}
