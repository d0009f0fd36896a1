//! The operator's view: figures, commands, log.

use anyhow::{Context, Result, ensure};
use pulseboard_e2e::{Look, Page, SOON, Server, eventually, visit};

use crate::BUSY;

/// Where the view is.
fn address(server: &Server) -> String {
    format!("{}/#/operator", server.url())
}

async fn figure(page: &Page, name: &str) -> Result<f64> {
    let names = page.texts(".figure h3").await?;
    let values = page.texts(".figure .value").await?;
    let place = names.iter().position(|known| known == name);
    let place = place.with_context(|| format!("there is no figure {name:?} in {names:?}"))?;
    values[place]
        .parse()
        .with_context(|| format!("{name} reads {:?}", values[place]))
}

async fn set_threshold(page: &Page, text: &str) -> Result<()> {
    page.fill("input[name=threshold]", text).await?;
    page.click_button("Set threshold").await
}

async fn logs(page: &Page, part: &str) -> Result<()> {
    eventually(&format!("the log says {part:?}"), SOON, async || {
        let lines = page.texts(".log li").await?;
        Ok(lines.iter().any(|line| line.contains(part)).then_some(()))
    })
    .await
}

#[tokio::test]
async fn six_figures_follow_the_server() -> Result<()> {
    let server = Server::start(BUSY).await?;
    visit(&server.url(), Look::DESKTOP, async |page| {
        page.becomes_live().await?;
        page.click("nav a[href$='#/operator']").await?;
        eventually("figures", SOON, async || {
            Ok((page.count(".figure.ok, .figure.warn").await? == 2).then_some(()))
        })
        .await?;
        let names = page.texts(".figure h3").await?;
        ensure!(
            names
                == [
                    "CPU",
                    "Memory",
                    "Requests",
                    "Errors",
                    "Connections",
                    "Threshold"
                ],
            "{names:?}"
        );
        ensure!(page.text("nav [aria-current=page]").await? == "Operator");
        let before = figure(page, "Requests").await?;
        eventually("more requests", SOON, async || {
            Ok((figure(page, "Requests").await? > before).then_some(()))
        })
        .await?;
        eventually("this page's own control channel", SOON, async || {
            Ok((figure(page, "Connections").await? >= 1.0).then_some(()))
        })
        .await?;

        // What is not shown is not connected.
        page.click("nav a[href$='#/']").await?;
        eventually("the control channel is closed", SOON, async || {
            let figures = server.get("/api/metrics").await?;
            Ok((figures["active_connections"] == 0).then_some(()))
        })
        .await
    })
    .await
}

#[tokio::test]
async fn the_threshold_marks_and_the_log_tells() -> Result<()> {
    let server = Server::start(BUSY).await?;
    visit(&address(&server), Look::DESKTOP, async |page| {
        logs(page, "Control channel connected").await?;
        set_threshold(page, "0").await?;
        logs(page, "Threshold set to 0.0%").await?;
        eventually("both are above it", SOON, async || {
            Ok((page.count(".figure.warn").await? == 2).then_some(()))
        })
        .await?;
        logs(page, "CPU usage at ").await?;
        set_threshold(page, "100").await?;
        logs(page, "Threshold set to 100.0%").await?;
        eventually("none is above it", SOON, async || {
            Ok((page.count(".figure.ok").await? == 2).then_some(()))
        })
        .await?;
        set_threshold(page, "101").await?;
        logs(page, "Error: ").await?;

        page.click_button("Reset counters").await?;
        logs(page, "Counters reset").await?;
        let line = page.texts(".log li").await?;
        ensure!(
            line.iter()
                .all(|line| line.starts_with('[') && line.get(9..11) == Some("] ")),
            "{line:?}"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_viewer_sees_and_does_not_command() -> Result<()> {
    let server = Server::start(&["--source", "simulator", "--anonymous-role", "viewer"]).await?;
    visit(&address(&server), Look::PHONE, async |page| {
        page.shows("Commands need the role operator; yours is viewer.")
            .await?;
        eventually("figures", SOON, async || {
            Ok((page.count(".figure.ok, .figure.warn").await? == 2).then_some(()))
        })
        .await?;
        ensure!(page.count("input[name=threshold]").await? == 0);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_server_that_misses_the_others_says_so_and_its_admin_sees_why() -> Result<()> {
    // Nobody listens there.
    let flags = [
        BUSY,
        &["--redis", "redis://127.0.0.1:1", "--instance", "lonely"],
    ]
    .concat();
    let server = Server::start(&flags).await?;
    visit(&server.url(), Look::PHONE, async |page| {
        page.becomes_live().await?;
        page.shows("this server cannot reach the others").await?;
        page.goto(&address(&server)).await?;
        page.shows("Set threshold").await?;
        ensure!(
            page.count(".operator__cluster").await? == 0,
            "that is an admin's"
        );
        Ok(())
    })
    .await?;
    visit(&server.admin_link()?, Look::DESKTOP, async |page| {
        page.becomes_live().await?;
        page.goto(&address(&server)).await?;
        page.shows("Cluster").await?;
        ensure!(
            page.count(".operator__cluster li").await? == 0,
            "nothing is asked yet"
        );
        page.click(".operator__cluster summary").await?;
        page.shows("Generation").await?;
        let words = page.text(".operator__cluster .notice").await?;
        ensure!(
            words.starts_with("Alone since ") && words.contains('('),
            "{words}"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn one_server_tells_its_admin_that_it_has_no_others() -> Result<()> {
    let server = Server::start(BUSY).await?;
    visit(&server.admin_link()?, Look::PHONE, async |page| {
        page.becomes_live().await?;
        page.goto(&address(&server)).await?;
        page.shows("Cluster").await?;
        page.click(".operator__cluster summary").await?;
        page.shows("one server, without others").await?;
        ensure!(page.count(".notice").await? == 0);
        Ok(())
    })
    .await
}
