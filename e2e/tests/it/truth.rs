//! What the page says is so: the span that is chosen, what was missed, what is not there.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use pulseboard_e2e::{Look, Page, SOON, Server, eventually, visit};

use crate::BUSY;

/// When the oldest figure that the first chart has was sampled: what its `Home` key leads to.
async fn oldest_shown(page: &Page) -> Result<f64> {
    page.eval(
        "const slider = document.querySelector('.chart .chart__slider'); slider.focus(); \
         slider.dispatchEvent(new KeyboardEvent('keydown', { key: 'Home', bubbles: true })); \
         return Number(slider.getAttribute('aria-valuenow'));",
    )
    .await
}

/// When the oldest tick that the server holds was, and the newest.
async fn held(server: &Server) -> Result<(f64, f64)> {
    let range = server
        .get("/api/range?own=true&start=-10m&step=100ms")
        .await?;
    let points = range["series"][0]["points"].as_array().context("points")?;
    let at = |index: usize| points.get(index).and_then(|point| point[0].as_f64());
    let newest = points.len().checked_sub(1).and_then(at);
    Ok((
        at(0).context("a first point")?,
        newest.context("a last point")?,
    ))
}

#[tokio::test]
async fn a_chart_shows_the_whole_chosen_span_after_each_load() -> Result<()> {
    // The window alone would be two seconds.
    let flags = [BUSY, &["--window-size", "20"]].concat();
    let server = Server::start(&flags).await?;
    let (first, _) = eventually("some seconds of history", SOON * 3, async || {
        let (first, newest) = held(&server).await?;
        Ok((newest - first > 8_000.0).then_some((first, newest)))
    })
    .await?;
    visit(&server.url(), Look::DESKTOP, async |page| {
        for load in 0..2 {
            if load > 0 {
                page.reload().await?;
            }
            page.becomes_live().await?;
            eventually("figures from before the page was there", SOON, async || {
                Ok((oldest_shown(page).await? <= first + 1_000.0).then_some(()))
            })
            .await?;
        }
        // The span that is chosen is the span that is drawn: the left edge is a minute ago, though
        // the server is younger, and nothing is read there.
        page.choose("1 min").await?;
        eventually("nothing at the left edge", SOON, async || {
            page.hover(".chart .chart-area", 0.1).await?;
            let text = page.text(".chart .chart__readout").await?;
            Ok(text.starts_with("no data at ").then_some(()))
        })
        .await
    })
    .await
}

#[tokio::test]
async fn a_recovery_with_a_hole_is_not_praised() -> Result<()> {
    let mut server = Server::start(&["--metric-interval-ms", "250"]).await?;
    visit(&server.url(), Look::DESKTOP, async |page| {
        page.expects_errors("net::ERR_");
        page.expects_errors("WebSocket connection to");
        // What the page finds out about a socket that does not open, while the server is coming.
        page.expects_errors("426 (Upgrade Required)");
        page.becomes_live().await?;
        server.kill().await?;
        page.becomes_disconnected(Duration::from_secs(3)).await?;
        // Long enough to be a hole at this interval.
        eventually("a strip under the header", SOON, async || {
            Ok((page.count(".banner").await? == 1).then_some(()))
        })
        .await?;
        let strip = page.text(".banner").await?;
        ensure!(strip.contains("newest figures are"), "{strip:?}");
        page.click(".banner__close").await?;
        eventually("no strip", SOON, async || {
            Ok((page.count(".banner").await? == 0).then_some(()))
        })
        .await?;
        server.restart().await?;
        eventually("live again", SOON * 2, async || {
            Ok(page.is_live().await?.then_some(()))
        })
        .await?;
        let badge = eventually("what the outage was", SOON, async || {
            let badges = page.texts(".recovery-badge").await?;
            Ok(badges.first().cloned())
        })
        .await?;
        ensure!(
            badge.starts_with("Back after ") && badge.contains("server was not measuring for "),
            "{badge:?}"
        );
        ensure!(page.count(".recovery-badge--lossy").await? == 1, "praised");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_name_that_nothing_has_is_said_and_near_ones_are_offered() -> Result<()> {
    let server = Server::start(BUSY).await?;
    server
        .post("/push", "http_requests_total 7\nqueue_depth 1")
        .await?;
    let address = |selector: &str| format!("{}/#/explore?match={selector}", server.url());
    visit(&address("queue_depth"), Look::DESKTOP, async |page| {
        page.expects_errors("400");
        page.shows("queue_depth").await?;
        page.goto(&address("http_requets_total")).await?;
        page.shows("No series has this name").await?;
        let heading = page.text(".open-series h2").await?;
        ensure!(heading == "http_requets_total", "{heading:?}");
        page.shows("http_requests_total").await?;
        // A selector that cannot be read has no heading of the series before it.
        page.goto(&address("%7Bwrong")).await?;
        page.shows("The history could not be read").await?;
        let heading = page.text(".open-series h2").await?;
        ensure!(heading == "{wrong", "{heading:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_is_known_stays_while_the_server_is_away() -> Result<()> {
    let mut server = Server::start(BUSY).await?;
    server.post("/push", "queue_depth 42").await?;
    server
        .post("/metrics/track", r#"{"type":"page_view","value":1}"#)
        .await?;
    let at = |view: &str| format!("{}/#/{view}", server.url());
    let (explore, aggregate) = (at("explore"), at("aggregate"));
    visit(&explore, Look::DESKTOP, async |page| {
        page.expects_errors("net::ERR_");
        page.expects_errors("WebSocket connection to");
        page.shows("queue_depth").await?;
        page.goto(&aggregate).await?;
        page.shows("page view").await?;
        server.kill().await?;
        page.becomes_disconnected(SOON).await?;
        page.shows("as it was").await?;
        ensure!(page.text(".tally h3").await? == "page view");
        // Also where a view is left and opened again.
        page.goto(&explore).await?;
        page.shows("as it was").await?;
        ensure!(page.count(".series-list.is-old").await? == 1, "not greyed");
        page.shows("queue_depth").await?;
        page.goto(&aggregate).await?;
        page.shows("page view").await
    })
    .await
}

#[tokio::test]
async fn without_a_source_pushed_series_are_all_there_is() -> Result<()> {
    let server = Server::start(&["--source", "none"]).await?;
    server.post("/push", "queue_depth 42").await?;
    visit(&server.url(), Look::DESKTOP, async |page| {
        page.becomes_live().await?;
        page.shows("queue_depth").await?;
        for dead in [".metric-card", ".charts"] {
            ensure!(page.count(dead).await? == 0, "{dead} has no source");
        }
        let hint = page.text(".alert-feed__hint").await?;
        ensure!(!hint.contains("CPU"), "{hint:?}");
        // Its height is that of the charts beside it, of which there are none.
        let fits: bool = page
            .eval(
                "const feed = document.querySelector('.alert-feed'); \
                 return feed.scrollHeight <= feed.clientHeight;",
            )
            .await?;
        ensure!(fits, "the alerts lie outside of their panel");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_operators_threshold_is_the_same_everywhere() -> Result<()> {
    let server = Server::start(BUSY).await?;
    visit(
        &format!("{}/#/operator", server.url()),
        Look::DESKTOP,
        async |page| {
            page.shows("Control channel connected").await?;
            page.fill("input[name=threshold]", "35").await?;
            page.click_button("Set threshold").await?;
            page.shows("Threshold set to 35.0%").await?;
            // The same words as in the chart, see below.
            page.shows("Limit 90 %, critical · Operator's log above 35 %")
                .await?;
            page.click("nav a[href$='#/']").await?;
            eventually("both limits of the CPU's chart", SOON, async || {
                let label: String = page
                    .eval(
                        "const chart = document.querySelector('.chart--cpu [role=img]'); \
                     return chart ? chart.getAttribute('aria-label') : '';",
                    )
                    .await?;
                let both = label.contains("Limit 90 %, critical. Operator's log above 35 %");
                Ok(both.then_some(()))
            })
            .await
        },
    )
    .await
}

#[tokio::test]
async fn a_threshold_that_somebody_else_sets_is_drawn_at_once() -> Result<()> {
    let server = Server::start(BUSY).await?;
    let operator = format!("{}/#/operator", server.url());
    visit(&server.url(), Look::DESKTOP, async |page| {
        let draws = async |percent: &str, within: Duration| {
            let limit = format!("Operator's log above {percent} %");
            eventually(&limit, within, async || {
                let label: String = page
                    .eval(
                        "const chart = document.querySelector('.chart--cpu [role=img]'); \
                         return chart ? chart.getAttribute('aria-label') : '';",
                    )
                    .await?;
                Ok(label.contains(&limit).then_some(()))
            })
            .await
        };
        draws("80", SOON).await?;
        visit(&operator, Look::DESKTOP, async |other| {
            other.shows("Control channel connected").await?;
            for percent in ["35", "55"] {
                other.fill("input[name=threshold]", percent).await?;
                other.click_button("Set threshold").await?;
                other
                    .shows(&format!("Threshold set to {percent}.0%"))
                    .await?;
                // Some ticks, and much less than a page asks again after.
                draws(percent, Duration::from_secs(3)).await?;
            }
            Ok(())
        })
        .await
    })
    .await
}

#[tokio::test]
async fn the_page_says_why_samples_were_refused() -> Result<()> {
    let server = Server::start(BUSY).await?;
    server
        .post("/push", "queue_depth 42\nqueue_depth many")
        .await?;
    visit(&server.url(), Look::PHONE, async |page| {
        page.shows("Refused 1 sample").await?;
        page.click(".refusals summary").await?;
        page.shows("/push from 127.0.0.1, line 2: ").await?;
        page.click(".refusals button").await?;
        eventually("dismissed", SOON, async || {
            Ok((page.count(".refusals").await? == 0).then_some(()))
        })
        .await
    })
    .await
}
