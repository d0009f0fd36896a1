//! Connections end. The page says so, comes back by itself, and misses nothing.

use std::time::Duration;

use anyhow::{Result, ensure};
use pulseboard_e2e::{Link, Look, Page, SOON, Server, Site, eventually, visit};

use crate::{BUSY, figures::samples};

/// How soon a lost connection must be told.
const TOLD_WITHIN: Duration = Duration::from_secs(3);

/// A connection that dies without a word is noticed by its silence, which takes some ticks.
const SILENCE_TOLD_WITHIN: Duration = Duration::from_secs(15);

/// A variable that only lives until the page is loaded anew.
async fn leave_a_mark(page: &Page) -> Result<()> {
    page.eval("window.theSamePage = true;").await
}

async fn is_the_same_page(page: &Page) -> Result<bool> {
    page.eval("return window.theSamePage === true;").await
}

/// What a browser writes by itself about connections that fail.
fn expect_lost_connections(page: &Page) {
    page.expects_errors("net::ERR_");
    page.expects_errors("WebSocket connection to");
}

#[tokio::test]
async fn a_killed_server_is_told_and_its_return_too() -> Result<()> {
    let mut server = Server::start(&["--metric-interval-ms", "250"]).await?;
    visit(&server.url(), Look::DESKTOP, async |page| {
        expect_lost_connections(page);
        page.becomes_live().await?;
        leave_a_mark(page).await?;
        eventually("some samples", SOON, async || {
            Ok((samples(page).await? >= 4).then_some(()))
        })
        .await?;

        server.kill().await?;
        page.becomes_disconnected(TOLD_WITHIN).await?;
        ensure!(!page.is_live().await?, "live and disconnected at once");

        server.restart().await?;
        eventually("live again", Duration::from_secs(20), async || {
            Ok(page.is_live().await?.then_some(()))
        })
        .await?;
        let before = page.text(".time").await?;
        eventually("new figures", SOON, async || {
            Ok((page.text(".time").await? != before).then_some(()))
        })
        .await?;
        ensure!(is_the_same_page(page).await?, "the page was loaded anew");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_was_missed_while_the_network_was_gone_is_fetched() -> Result<()> {
    // Slow enough that the window does not fill up meanwhile and hide a gap.
    let server = Server::start(&[
        "--source",
        "simulator",
        "--metric-interval-ms",
        "500",
        "--window-size",
        "600",
    ])
    .await?;
    let link = Link::to(server.port()).await?;
    visit(&link.url(), Look::DESKTOP, async |page| {
        expect_lost_connections(page);
        page.becomes_live().await?;
        leave_a_mark(page).await?;
        eventually("some samples", SOON, async || {
            Ok((samples(page).await? >= 4).then_some(()))
        })
        .await?;

        link.cut();
        page.becomes_disconnected(TOLD_WITHIN).await?;
        let held = samples(page).await?;
        // While the page hears nothing the server goes on.
        eventually("ticks that the page misses", SOON, async || {
            Ok((server_samples(&server).await? >= held + 6).then_some(()))
        })
        .await?;
        ensure!(
            samples(page).await? == held,
            "figures arrived through a cut link"
        );

        link.mend();
        eventually("live again", Duration::from_secs(20), async || {
            Ok(page.is_live().await?.then_some(()))
        })
        .await?;
        // One missing tick would keep the page behind for the rest of the window.
        eventually("as many samples as the server has", SOON, async || {
            let (before, shown, after) = (
                server_samples(&server).await?,
                samples(page).await?,
                server_samples(&server).await?,
            );
            Ok((before == after && shown == after).then_some(()))
        })
        .await?;
        ensure!(is_the_same_page(page).await?, "the page was loaded anew");
        Ok(())
    })
    .await
}

/// How many samples of the first metric are in the server's window.
async fn server_samples(server: &Server) -> Result<u64> {
    Ok(server.get("/api/stats").await?["cpu"]["count"]
        .as_u64()
        .unwrap_or_default())
}

#[tokio::test]
async fn silence_is_not_shown_as_live() -> Result<()> {
    let server = Server::start(BUSY).await?;
    let link = Link::to(server.port()).await?;
    visit(&link.url(), Look::DESKTOP, async |page| {
        expect_lost_connections(page);
        page.becomes_live().await?;
        link.stall();
        eventually("not live any more", SILENCE_TOLD_WITHIN, async || {
            Ok((!page.is_live().await?).then_some(()))
        })
        .await?;
        link.mend();
        eventually("live again", Duration::from_secs(20), async || {
            Ok(page.is_live().await?.then_some(()))
        })
        .await
    })
    .await
}

#[tokio::test]
async fn a_page_that_was_there_before_its_server_waits_for_it() -> Result<()> {
    let mut server = Server::start(&["--allowed-origins", "*"]).await?;
    let site = Site::start(&server.url()).await?;
    server.kill().await?;
    visit(&site.url(), Look::DESKTOP, async |page| {
        expect_lost_connections(page);
        page.becomes_disconnected(SOON).await?;
        server.restart().await?;
        // A page that has tried for a while asks less often.
        eventually("live", Duration::from_secs(30), async || {
            Ok(page.is_live().await?.then_some(()))
        })
        .await
    })
    .await
}
