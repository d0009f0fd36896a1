//! Series that somebody pushes: on every open page by themselves.

use anyhow::{Result, ensure};
use pulseboard_e2e::{Look, Page, SOON, Server, eventually, visit};

use crate::BUSY;

/// From the push until its chart is on the page; the promise is 100 ms on a machine of one's own.
const APPEARS_MS: f64 = 1_000.0;

async fn tile(page: &Page, name: &str, value: &str) -> Result<()> {
    eventually(&format!("{name} reads {value}"), SOON, async || {
        let tiles = page.texts(".series-tile").await?;
        let found = tiles
            .iter()
            .any(|tile| tile.contains(name) && tile.lines().any(|line| line.trim() == value));
        Ok(found.then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_chart_appears_by_itself_and_goes_on() -> Result<()> {
    let server = Server::start(BUSY).await?;
    visit(&server.url(), Look::DESKTOP, async |page| {
        page.becomes_live().await?;
        page.shows("Nothing pushed yet").await?;
        // The best of three: other browsers run on this machine, and what one of them does for
        // a while says nothing of the page.
        let mut took = f64::INFINITY;
        for name in ["first", "second", "queue_depth"] {
            page.eval::<()>(
                "const tiles = document.querySelectorAll('.series-tile').length; \
                 window.appeared = new Promise(done => new MutationObserver(() => { \
                   if (document.querySelectorAll('.series-tile').length > tiles) { done(Date.now()); } }) \
                   .observe(document.body, { childList: true, subtree: true }));",
            )
            .await?;
            let pushed: f64 = page.eval("return Date.now();").await?;
            server.post("/push", format!("{name} 42")).await?;
            let appeared: f64 = page
                .eval_async("window.appeared.then(arguments[0]);", vec![])
                .await?;
            took = took.min(appeared - pushed);
        }
        eprintln!("a chart appears after {took:.0} ms");
        ensure!(took < APPEARS_MS, "it took {took} ms");
        tile(page, "queue_depth", "42").await?;
        server.post("/push", "queue_depth 43.5").await?;
        tile(page, "queue_depth", "43.5").await?;

        // It stops being sent, and says so.
        for value in 0..4 {
            server.post("/push", format!("queue_depth {value}")).await?;
        }
        eventually("it is said to have stopped", SOON * 3, async || {
            let states = page.texts(".series-tile__state").await?;
            Ok(states
                .iter()
                .any(|state| state.starts_with("Stopped"))
                .then_some(()))
        })
        .await
    })
    .await
}

#[tokio::test]
async fn the_newest_twelve_are_shown() -> Result<()> {
    let server = Server::start(BUSY).await?;
    visit(&server.url(), Look::DESKTOP.dark(), async |page| {
        page.becomes_live().await?;
        for number in 0..15 {
            server
                .post("/push", format!("series_{number} {number}"))
                .await?;
        }
        tile(page, "series_14", "14").await?;
        eventually("twelve tiles", SOON, async || {
            Ok((page.count(".series-tile").await? == 12).then_some(()))
        })
        .await?;
        ensure!(page.texts(".series-tile h3").await?[0].starts_with("series_14"));
        page.click(".fresh__all").await?;
        page.shows("series_0").await
    })
    .await
}

#[tokio::test]
async fn a_tenant_sees_its_own() -> Result<()> {
    let server = Server::start(BUSY).await?;
    server.post("/push?tenant=shop", "orders 7").await?;
    server.post("/push", "queue_depth 42").await?;
    let address = format!("{}/?tenant=shop#/", server.url());
    visit(&address, Look::DESKTOP, async |page| {
        tile(page, "orders", "7").await?;
        server.post("/push?tenant=shop", "returns 1").await?;
        server.post("/push", "secret 1").await?;
        tile(page, "returns", "1").await?;
        let tiles = page.texts(".series-tile").await?;
        ensure!(tiles.len() == 2, "{tiles:?}");
        page.click("nav a[href$='#/explore']").await?;
        page.shows("orders").await?;
        let rows = page.texts(".series-row").await?;
        ensure!(
            !rows
                .iter()
                .any(|row| row.contains("queue_depth") || row.contains("secret")),
            "{rows:?}"
        );
        Ok(())
    })
    .await
}
