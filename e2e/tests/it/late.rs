//! What is loaded when it is opened, or before that while the browser rests; and what is said when
//! it cannot be had.

use anyhow::{Context, Result, ensure};
use pulseboard_e2e::{Look, SOON, Server, Site, eventually, visit};
use serde_json::Value;

use crate::BUSY;

/// Each file that was loaded: its address, and when it was asked for and had come, ms.
const FILES: &str = "return performance.getEntriesByType('resource') \
    .map(file => [file.name, file.startTime, file.responseEnd]);";

/// The end of the name of what is not needed at first.
const LATE: &str = "_late.wasm";

#[tokio::test]
async fn what_the_overview_does_not_need_comes_after_it_and_is_kept() -> Result<()> {
    let server = Server::start(BUSY).await?;
    visit(&server.url(), Look::DESKTOP, async |page| {
        page.becomes_live().await?;
        let files = eventually("the rest, while nobody asks for it", SOON, async || {
            let files: Vec<(String, f64, f64)> = page.eval(FILES).await?;
            let is_there = files.iter().any(|file| file.0.ends_with(LATE));
            Ok(is_there.then_some(files))
        })
        .await?;
        let of = |end: &str| files.iter().find(|file| file.0.ends_with(end));
        let (first, late) = (of("_bg.wasm").context("no page")?, of(LATE).context("no rest")?);
        ensure!(late.1 > first.2 + 1_000.0, "it was in the way: {files:?}");
        let kept: Vec<Option<String>> = page
            .eval_async(
                "const [url, done] = arguments; fetch(url).then(answer => done( \
                   ['cache-control', 'content-encoding', 'content-type', 'etag'].map(name => answer.headers.get(name))));",
                vec![late.0.as_str().into()],
            )
            .await?;
        let of = |at: usize| kept[at].as_deref().unwrap_or_default();
        ensure!(of(0).contains("immutable") && !of(1).is_empty(), "{kept:?}");
        ensure!(of(2) == "application/wasm" && !of(3).is_empty(), "{kept:?}");
        page.press("body", "ge").await?;
        eventually("the view", SOON, async || {
            Ok((page.count(".explore__search").await? == 1).then_some(()))
        })
        .await?;
        let files: Vec<(String, f64, f64)> = page.eval(FILES).await?;
        let times = files.iter().filter(|file| file.0.ends_with(LATE)).count();
        ensure!(times == 2, "once by the page and once by this test: {files:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_view_that_is_opened_at_once_is_loaded_at_once() -> Result<()> {
    let server = Server::start(BUSY).await?;
    let address = format!("{}/#/targets", server.url());
    visit(&address, Look::PHONE, async |page| {
        page.shows("Samples taken").await?;
        page.eval::<()>("window.view = document.querySelector('.incoming');")
            .await?;
        // Longer than the browser rests before it would be loaded unasked: it is there already.
        eventually("three seconds", SOON, async || {
            let at: f64 = page.eval("return performance.now();").await?;
            Ok((at > 3_000.0).then_some(()))
        })
        .await?;
        let is_there: bool = page
            .eval("return window.view?.isConnected ?? false;")
            .await?;
        ensure!(is_there, "the view was made anew");
        let files: Vec<(String, f64, f64)> = page.eval(FILES).await?;
        let times = files.iter().filter(|file| file.0.ends_with(LATE)).count();
        ensure!(times == 1, "{files:?}");
        page.press("body", "?").await?;
        page.shows("Help and settings").await
    })
    .await
}

#[tokio::test]
async fn a_part_that_is_gone_is_looked_for_by_a_reload_and_then_told() -> Result<()> {
    // Each must name the other; the server's port comes first, and its flags then change.
    let server = Server::start(&[]).await?;
    let site = Site::start(&server.url()).await?;
    let origin = site.url();
    let flags = [BUSY, &["--allowed-origins", origin.as_str()]].concat();
    let _server = server.with_flags(&flags).await?;
    site.hide(LATE);
    visit(&site.url(), Look::DESKTOP, async |page| {
        page.expects_errors(LATE);
        page.becomes_live().await?;
        page.eval::<()>("window.isOld = true;").await?;
        page.press("body", "?").await?;
        // Another version of the page may have it.
        eventually("a reload", SOON, async || {
            let is_old: Value = page.eval("return window.isOld ?? null;").await?;
            Ok(is_old.is_null().then_some(()))
        })
        .await?;
        page.becomes_live().await?;
        page.eval::<()>("window.isOld = true;").await?;
        page.press("body", "gt").await?;
        page.shows("A part of this page could not be loaded")
            .await?;
        let is_old: bool = page.eval("return window.isOld === true;").await?;
        ensure!(is_old, "it was loaded anew again");
        ensure!(page.is_live().await?, "what is there goes on");
        site.hide("");
        page.click(".problem button").await?;
        page.shows("Samples taken").await
    })
    .await
}
