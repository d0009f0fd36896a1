//! Many tabs of one browser side by side. A browser opens six connections to a server for all of
//! its tabs together, so none of them may keep one for itself.

use std::time::Duration;

use anyhow::{Result, ensure};
use pulseboard_e2e::{Look, SOON, Server, eventually, visit};

/// More than there are connections.
const TABS: [&str; 8] = [
    "#/",
    "#/operator",
    "#/",
    "#/aggregate",
    "#/operator",
    "#/",
    "#/operator",
    "#/explore",
];

/// A question that waits for a connection waits for ever; one that does not takes milliseconds.
const ANSWERED_WITHIN_MS: u64 = 5_000;

#[tokio::test]
async fn eight_tabs_side_by_side_are_live_and_answer() -> Result<()> {
    let server = Server::start(&[
        "--source",
        "simulator",
        "--metric-interval-ms",
        "500",
        "--alert-check-sec",
        "1",
    ])
    .await?;
    server
        .post("/metrics/track", r#"{"type":"page_view","value":1}"#)
        .await?;
    server.post("/push", "queue_depth{shop=\"a\"} 42").await?;
    visit(&server.url(), Look::DESKTOP, async |page| {
        let mut tabs = vec![page.window().await?];
        for view in &TABS[1..] {
            tabs.push(page.open_window(&format!("{}/{view}", server.url())).await?);
        }
        for (tab, view) in tabs.iter().zip(TABS) {
            page.switch_to(tab).await?;
            page.becomes_live().await?;
            match view {
                "#/operator" => {
                    let requests = async || {
                        let values = page.texts(".figure .value").await?;
                        Ok::<_, anyhow::Error>(values.get(2).cloned().unwrap_or_default())
                    };
                    let before = requests().await?;
                    eventually("the operator's figures go on", SOON, async || {
                        let now = requests().await?;
                        let is_figure = now.parse::<u64>().is_ok();
                        Ok((is_figure && now != before).then_some(()))
                    })
                    .await?;
                }
                "#/aggregate" => {
                    eventually("tallies", SOON, async || {
                        let titles = page.texts(".tally h3").await?;
                        // The server has some of its own after half a minute.
                        Ok(titles.iter().any(|title| title == "page view").then_some(()))
                    })
                    .await?;
                }
                "#/explore" => {
                    page.fill("input[type=search]", "queue").await?;
                    page.shows("queue_depth").await?;
                    ensure!(
                        !page.text("body").await?.contains("could not be refreshed"),
                        "the list was not answered"
                    );
                }
                _ => {
                    eventually("alerts", Duration::from_secs(30), async || {
                        Ok((page.count(".alert-feed .alert").await? > 0).then_some(()))
                    })
                    .await?;
                }
            }
        }
        // All of them still, each with a question of its own.
        for tab in &tabs {
            page.switch_to(tab).await?;
            let took: Option<u64> = page
                .eval_async(
                    "const [within, done] = arguments; const began = performance.now(); \
                     fetch('/api/stats', {signal: AbortSignal.timeout(within)}) \
                         .then(answer => answer.json()) \
                         .then(() => done(Math.round(performance.now() - began)), () => done(null));",
                    vec![ANSWERED_WITHIN_MS.into()],
                )
                .await?;
            ensure!(took.is_some(), "a question was not answered in time");
            page.becomes_live().await?;
        }
        Ok(())
    })
    .await
}
