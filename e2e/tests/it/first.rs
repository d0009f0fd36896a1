//! What is there before the page asks for anything.

use anyhow::{Context, Result, ensure};
use pulseboard_e2e::{Look, SOON, Server, eventually, visit};
use serde_json::Value;

use crate::BUSY;

/// The page as sent: its head, its text, and the data in it.
async fn page(server: &Server) -> Result<(reqwest::header::HeaderMap, String, Value)> {
    let answer = reqwest::get(server.url()).await?.error_for_status()?;
    let headers = answer.headers().clone();
    let html = answer.text().await?;
    let (_, rest) = html
        .split_once("<script type=\"application/json\" id=\"boot\">")
        .context("the page has no place for data")?;
    let (data, _) = rest.split_once("</script>").context("it does not end")?;
    let data = serde_json::from_str(data)?;
    Ok((headers, html, data))
}

#[tokio::test]
async fn settings_session_and_figures_are_in_the_page() -> Result<()> {
    let server = Server::start(BUSY).await?;
    let data = eventually("figures in the page", SOON, async || {
        let (headers, html, data) = page(&server).await?;
        ensure!(headers["cache-control"] == "no-store");
        ensure!(!headers.contains_key("etag"), "it is of one moment");
        ensure!(headers.contains_key("content-security-policy"));
        let figures = html.matches("<span class=\"value\">").count();
        let rows = data["ticks"]["rows"].as_array().map_or(0, Vec::len);
        Ok((rows > 3 && figures == 4).then_some(data))
    })
    .await?;
    ensure!(data["config"]["backend"] == "", "{data}");
    ensure!(data["session"]["login_needed"] == false, "{data}");
    ensure!(data["ticks"]["epoch"].is_string(), "the window is whole");

    visit(&server.url(), Look::DESKTOP, async |page| {
        page.becomes_live().await?;
        page.shows("Pushed series").await?;
        let asked: Vec<String> = page
            .eval("return performance.getEntriesByType('resource').map(file => file.name);")
            .await?;
        for path in ["config.json", "/api/session"] {
            ensure!(
                !asked.iter().any(|address| address.contains(path)),
                "{path} was asked for: {asked:?}"
            );
        }
        for address in &asked {
            let times = asked.iter().filter(|other| *other == address).count();
            ensure!(times == 1, "{address} was asked for {times} times");
        }
        let counts = page.text(".page-footer__counts").await?;
        ensure!(counts.contains(" 0 lost"), "{counts}");
        ensure!(
            page.count(".recovery-badge").await? == 0,
            "nothing was lost before"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn who_may_not_read_gets_no_figures_with_the_page() -> Result<()> {
    let server = Server::start(&["--source", "simulator", "--anonymous-role", "none"]).await?;
    let (_, html, data) = page(&server).await?;
    ensure!(data["session"]["login_needed"] == true, "{data}");
    ensure!(data["ticks"].is_null(), "{data}");
    ensure!(!html.contains("<span class=\"value\">"));
    visit(&server.url(), Look::DESKTOP, async |page| {
        page.shows("Log in").await
    })
    .await
}
