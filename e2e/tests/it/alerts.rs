//! Alerts: they arrive, are told apart, and go when one says so.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use pulseboard_e2e::{Link, Look, Page, SOON, Server, eventually, visit};

use crate::BUSY;

/// The `N` of `Alerts (N)`.
async fn counted(page: &Page) -> Result<usize> {
    let text = page.text(".alert-feed").await?;
    let count = text
        .split_once("Alerts (")
        .and_then(|(_, rest)| rest.split_once(')'));
    Ok(count
        .with_context(|| format!("no count in {text:?}"))?
        .0
        .parse()?)
}

/// Waits for at least that many alerts.
async fn arrive(page: &Page, least: usize) -> Result<()> {
    eventually("alerts arrive", Duration::from_secs(30), async || {
        Ok((page.count(".alert-feed .alert").await? >= least).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_machine_that_is_well_has_no_alerts() -> Result<()> {
    let server = Server::start(&["--source", "none"]).await?;
    visit(&server.url(), Look::DESKTOP, async |page| {
        page.shows("No active alerts").await?;
        ensure!(counted(page).await? == 0);
        ensure!(page.count(".critical-badge").await? == 0);
        ensure!(!page.text(".alert-feed").await?.contains("Clear All"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_alert_says_how_bad_and_what_and_when() -> Result<()> {
    let server = Server::start(BUSY).await?;
    visit(&server.url(), Look::DESKTOP, async |page| {
        eventually("a critical alert", Duration::from_secs(30), async || {
            Ok((page.count(".alert.alert-critical").await? > 0).then_some(()))
        })
        .await?;
        eventually("the badge", SOON, async || {
            Ok(page
                .texts(".critical-badge")
                .await?
                .iter()
                .any(|text| text.ends_with("Critical"))
                .then_some(()))
        })
        .await?;
        let severity = page.text(".alert.alert-critical .severity").await?;
        ensure!(severity == "CRITICAL", "the severity reads {severity:?}");
        let message = page.text(".alert.alert-critical .message").await?;
        ensure!(
            message.starts_with("CPU usage critical: ") && message.ends_with('%'),
            "{message:?}"
        );
        ensure!(!page.text(".alert.alert-critical .time").await?.is_empty());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_bell_counts_what_fires_on_every_view() -> Result<()> {
    let server = Server::start(BUSY).await?;
    let address = format!("{}/#/explore", server.url());
    visit(&address, Look::DESKTOP, async |page| {
        // They come and go; what the bell says and what it is called are of one moment.
        eventually("an alert on the bell", SOON * 3, async || {
            let (count, called): (String, String) = page
                .eval(
                    "const bell = document.querySelector('.bell'); \
                     return [bell?.textContent ?? '', bell?.getAttribute('aria-label') ?? ''];",
                )
                .await?;
            let is_told = !count.is_empty() && called.starts_with(&format!("{count} alert"));
            Ok(is_told.then_some(()))
        })
        .await?;
        let leads: String = page
            .eval("return document.querySelector('.bell').hash;")
            .await?;
        ensure!(leads == "#/alerts", "{leads}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_alert_is_dismissed_and_all_are_cleared() -> Result<()> {
    let server = Server::start(BUSY).await?;
    let link = Link::to(server.port()).await?;
    visit(&link.url(), Look::DESKTOP, async |page| {
        page.expects_errors("net::ERR_");
        page.expects_errors("WebSocket connection to");
        arrive(page, 3).await?;
        // New ones arrive all the time; without a network they stop, and can be counted.
        link.cut();
        page.becomes_disconnected(SOON).await?;
        let before = counted(page).await?;
        ensure!(
            before == page.count(".alert-feed .alert").await?,
            "the count is not that of the list"
        );

        let first = page.text(".alert-feed .alert .message").await?;
        let same = page
            .texts(".alert-feed .alert .message")
            .await?
            .iter()
            .filter(|text| **text == first)
            .count();
        page.click(".alert-feed .alert button").await?;
        eventually("one alert less", SOON, async || {
            Ok((counted(page).await? == before - 1).then_some(()))
        })
        .await?;
        let left = page.texts(".alert-feed .alert .message").await?;
        ensure!(left.len() == before - 1);
        ensure!(
            left.iter().filter(|text| **text == first).count() == same - 1,
            "another one was dismissed"
        );

        page.click_button("Clear All").await?;
        page.shows("No active alerts").await?;
        ensure!(counted(page).await? == 0 && page.count(".alert").await? == 0);
        ensure!(
            page.count(".critical-badge").await? == 0,
            "the badge counts alerts that are gone"
        );

        link.mend();
        arrive(page, 1).await
    })
    .await
}

#[tokio::test]
async fn at_most_fifty_alerts_are_kept() -> Result<()> {
    let server = Server::start(&[
        "--source",
        "simulator",
        "--metric-interval-ms",
        "20",
        "--alert-check-sec",
        "1",
    ])
    .await?;
    visit(&server.url(), Look::DESKTOP, async |page| {
        eventually("fifty alerts", Duration::from_secs(40), async || {
            let count = page.count(".alert-feed .alert").await?;
            ensure!(count <= 50, "{count} alerts");
            Ok((count == 50).then_some(()))
        })
        .await?;
        ensure!(page.count(".alert-feed .alert").await? == 50);
        Ok(())
    })
    .await
}
