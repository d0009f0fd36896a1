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
