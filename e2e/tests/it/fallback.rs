//! Proxies that break the better ways: the figures come all the same.

use std::time::Duration;

use anyhow::{Result, ensure};
use pulseboard_e2e::{Look, Page, Proxy, SOON, Server, eventually, visit};

use crate::{BUSY, figures::samples};

/// Some attempts fail before another way is taken.
const FOUND_WITHIN: Duration = Duration::from_secs(20);

async fn comes_by(page: &Page, way: &str) -> Result<()> {
    // What a browser writes by itself about attempts that fail.
    page.expects_errors("WebSocket connection to");
    page.expects_errors("Failed to load resource");
    page.expects_errors("net::ERR_");
    eventually("figures of now", FOUND_WITHIN, async || {
        Ok(page.is_live().await?.then_some(()))
    })
    .await?;
    let shown = page.text(".page-footer__way").await?;
    ensure!(shown == way, "the figures come by {shown:?}");
    let before = page.text(".time").await?;
    eventually("newer figures", SOON, async || {
        Ok((page.text(".time").await? != before).then_some(()))
    })
    .await?;
    eventually("a whole window", SOON * 2, async || {
        Ok((samples(page).await? >= 30).then_some(()))
    })
    .await?;
    let counts = page.text(".page-footer__counts").await?;
    ensure!(counts.contains(" 0 lost"), "{counts}");
    Ok(())
}

#[tokio::test]
async fn without_a_proxy_ticks_are_binary() -> Result<()> {
    let server = Server::start(BUSY).await?;
    visit(&server.url(), Look::DESKTOP, async |page| {
        comes_by(page, "WebSocket, binary").await?;
        eventually("its freshness is measured", SOON, async || {
            let text = page.texts(".freshness__figures").await?;
            Ok(text.iter().any(|text| text.ends_with(" ms")).then_some(()))
        })
        .await
    })
    .await
}

#[tokio::test]
async fn without_upgrades_ticks_come_as_events() -> Result<()> {
    let server = Server::start(BUSY).await?;
    let proxy = Proxy::before(server.port(), &["Upgrade: websocket"]).await?;
    visit(&proxy.url(), Look::DESKTOP, async |page| {
        comes_by(page, "Event stream").await
    })
    .await
}

#[tokio::test]
async fn without_streams_ticks_are_asked_for() -> Result<()> {
    let server = Server::start(BUSY).await?;
    let proxy = Proxy::before(server.port(), &["Upgrade: websocket", " /events/metrics"]).await?;
    visit(&proxy.url(), Look::DESKTOP, async |page| {
        comes_by(page, "Polling").await
    })
    .await
}
