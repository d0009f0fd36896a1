//! Everybody can use it: axe-core's rules for WCAG 2.2 AA, and the keyboard.

use anyhow::{Context, Result, ensure};
use pulseboard_e2e::{Look, Page, SOON, Server, eventually, setting, visit};
use serde_json::{Value, json};

use crate::BUSY;

/// Runs axe-core in the page; each finding as one line. Empty where axe-core could not be had,
/// which `cargo xtask test` says loudly.
async fn findings(page: &Page) -> Result<Vec<String>> {
    let script = setting("AXE_CORE")?;
    if script.as_os_str() == "none" {
        eprintln!("WARNING: not checked, since axe-core could not be had");
        return Ok(Vec::new());
    }
    let source = std::fs::read_to_string(&script)
        .with_context(|| format!("{} cannot be read", script.display()))?;
    page.eval::<()>(&source).await?;
    // What moves while it is looked at is looked at again: what is wrong stays wrong.
    let mut found = looked_at(page).await?;
    for _ in 0..2 {
        if !found.is_empty() {
            found = looked_at(page).await?;
        }
    }
    Ok(found)
}

/// What axe-core finds, once.
async fn looked_at(page: &Page) -> Result<Vec<String>> {
    let rules = json!({ "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] });
    let violations: Vec<Value> = page
        .eval_async(
            // What is on its way to its place may lie over something for a moment.
            "const done = arguments[1]; \
             const moving = document.getAnimations() \
               .filter(one => one.effect?.getComputedTiming().endTime !== Infinity) \
               .map(one => one.finished.catch(() => {})); \
             Promise.all(moving).then(() => axe.run(document, arguments[0])) \
               .then(result => done(result.violations), error => done([{ id: String(error), nodes: [] }]));",
            vec![rules],
        )
        .await?;
    Ok(violations
        .iter()
        .map(|violation| {
            let nodes = violation["nodes"].as_array().into_iter().flatten();
            let places: Vec<String> = nodes
                .map(|node| format!("{} ({})", node["target"], node["failureSummary"]))
                .collect();
            format!(
                "{}: {} {}",
                violation["id"],
                violation["help"],
                places.join("; ")
            )
        })
        .collect())
}

async fn is_accessible(look: Look) -> Result<()> {
    let server = Server::start(BUSY).await?;
    visit(&server.url(), look, async |page| {
        page.becomes_live().await?;
        eventually("alerts", SOON * 3, async || {
            Ok((page.count(".alert").await? >= 2).then_some(()))
        })
        .await?;
        let found = findings(page).await?;
        ensure!(found.is_empty(), "{}", found.join("\n"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_light_page_is_accessible() -> Result<()> {
    is_accessible(Look::DESKTOP).await
}

#[tokio::test]
async fn the_dark_page_is_accessible() -> Result<()> {
    is_accessible(Look::DESKTOP.dark()).await
}

#[tokio::test]
async fn the_page_on_a_phone_is_accessible() -> Result<()> {
    is_accessible(Look::PHONE.dark()).await
}

/// Every other view, with something in it, and the chat's drawer beside it.
async fn views_are_accessible(look: Look) -> Result<()> {
    let server = Server::start(BUSY).await?;
    let item = r#"{"type":"page_view","value":1}"#;
    server.post("/metrics/track", item).await?;
    server.post("/push", "queue_depth 1").await?;
    visit(&server.url(), look, async |page| {
        for (view, shown) in [
            ("#/", "queue_depth"),
            ("#/explore", "queue_depth"),
            ("#/explore?match=queue_depth&range=1h", "kept as"),
            ("#/explore?expr=queue_depth&expr=up", "Last"),
            ("#/explore?expr=queue_depth&form=table", "moment"),
            ("#/hosts", "hosts"),
            ("#/targets", "Samples taken"),
            ("#/aggregate", "page view"),
            ("#/operator", "Threshold"),
            ("#/alerts/rules", "built in"),
            ("#/alerts/receivers", "Browsers that are told"),
            ("#/alerts/maintenance", "No maintenance is planned"),
            ("#/alerts/maintenance/new", "Another time"),
            ("#/alerts/rules/new", "Rehearsal"),
        ] {
            page.goto(&format!("{}/{view}", server.url())).await?;
            // Anew, or the chat would still be open.
            page.reload().await?;
            page.shows(shown).await?;
            let found = findings(page).await?;
            ensure!(found.is_empty(), "{view}: {}", found.join("\n"));
            page.click_button("Chat").await?;
            page.shows("Welcome to the chat!").await?;
            let found = findings(page).await?;
            ensure!(
                found.is_empty(),
                "{view} and the chat: {}",
                found.join("\n")
            );
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn every_view_is_accessible() -> Result<()> {
    views_are_accessible(Look::DESKTOP).await
}

#[tokio::test]
async fn every_dark_view_is_accessible() -> Result<()> {
    views_are_accessible(Look::DESKTOP.dark()).await
}

#[tokio::test]
async fn every_view_on_a_phone_is_accessible() -> Result<()> {
    views_are_accessible(Look::PHONE.dark()).await
}

#[tokio::test]
async fn the_description_of_the_api_is_accessible() -> Result<()> {
    let server = Server::start(BUSY).await?;
    for look in [Look::DESKTOP, Look::DESKTOP.dark(), Look::PHONE] {
        visit(&format!("{}/docs", server.url()), look, async |page| {
            page.eval::<()>(
                "for (const part of document.querySelectorAll('details')) { part.open = true; }",
            )
            .await?;
            let found = findings(page).await?;
            ensure!(found.is_empty(), "{}", found.join("\n"));
            let wide: bool = page
                .eval("return document.documentElement.scrollWidth > innerWidth;")
                .await?;
            ensure!(!wide, "it scrolls sideways");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_is_pressed_is_large_enough() -> Result<()> {
    let server = Server::start(BUSY).await?;
    server.post("/push", "queue_depth 1").await?;
    visit(&server.url(), Look::PHONE, async |page| {
        page.becomes_live().await?;
        page.shows("queue_depth").await?;
        for view in ["#/", "#/explore"] {
            page.goto(&format!("{}/{view}", server.url())).await?;
            page.shows("queue_depth").await?;
            let small: Vec<String> = page
                .eval(
                    "return [...document.querySelectorAll('button, main nav a, .fresh__all, summary')] \
                       .filter(e => e.offsetParent && Math.min(e.offsetWidth, e.offsetHeight) < 24) \
                       .map(e => `${e.className} ${e.offsetWidth}x${e.offsetHeight}`);",
                )
                .await?;
            ensure!(small.is_empty(), "{view}: {small:?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_login_is_accessible() -> Result<()> {
    let server = Server::start(&["--source", "simulator", "--anonymous-role", "none"]).await?;
    visit(&server.url(), Look::PHONE, async |page| {
        page.shows("Log in").await?;
        let found = findings(page).await?;
        ensure!(found.is_empty(), "{}", found.join("\n"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_disconnected_page_is_accessible() -> Result<()> {
    let mut server = Server::start(BUSY).await?;
    visit(&server.url(), Look::DESKTOP, async |page| {
        page.expects_errors("net::ERR_");
        page.expects_errors("WebSocket connection to");
        page.becomes_live().await?;
        server.kill().await?;
        page.becomes_disconnected(SOON).await?;
        let found = findings(page).await?;
        ensure!(found.is_empty(), "{}", found.join("\n"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_keyboard_reaches_every_control() -> Result<()> {
    let server = Server::start(BUSY).await?;
    visit(&server.url(), Look::DESKTOP, async |page| {
        page.becomes_live().await?;
        let without_name: Vec<String> = page
            .eval(
                "return [...document.querySelectorAll('button, a[href], input, select')] \
                   .filter(e => e.tabIndex < 0 && e.offsetParent && !e.closest('[role=radiogroup], [role=tablist], [role=toolbar]')) \
                   .map(e => e.outerHTML.slice(0, 120));",
            )
            .await?;
        ensure!(without_name.is_empty(), "out of the keyboard's reach: {without_name:#?}");
        Ok(())
    })
    .await
}
