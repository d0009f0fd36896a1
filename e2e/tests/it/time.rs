//! Which time is shown: typed, chosen by keys, told by the address, undone by Back; and in which
//! zone and with how many hours it is written.

use anyhow::{Result, ensure};
use pulseboard_e2e::{Look, Page, SOON, Server, eventually, visit};

use crate::BUSY;

async fn hash_becomes(page: &Page, what: &str, expected: &str) -> Result<()> {
    eventually(what, SOON, async || {
        let hash: String = page.eval("return location.hash;").await?;
        Ok((hash == expected).then_some(()))
    })
    .await
}

#[tokio::test]
async fn time_is_typed_and_goes_by_keys_and_back() -> Result<()> {
    let server = Server::start(BUSY).await?;
    server.post("/push", "queue_depth 4").await?;
    let address = format!("{}/#/explore?match=queue_depth&range=1h", server.url());
    visit(&address, Look::DESKTOP, async |page| {
        page.shows("Last 1 h").await?;
        page.press("body", "3").await?;
        hash_becomes(page, "the same", "#/explore?match=queue_depth&range=1h").await?;
        page.press("body", "-").await?;
        hash_becomes(
            page,
            "twice as long",
            "#/explore?match=queue_depth&range=2h",
        )
        .await?;
        page.press("body", " ").await?;
        page.shows("Back to live").await?;
        page.eval::<()>("history.back();").await?;
        hash_becomes(page, "as before", "#/explore?match=queue_depth&range=2h").await?;
        page.click(".time-bar__row > button[aria-expanded]").await?;
        page.fill(".time-bar__form input", "2026-11-28 14:00")
            .await?;
        page.fill(
            ".time-bar__form label:nth-of-type(2) input",
            "2026-11-27 14:00",
        )
        .await?;
        page.click_button("Show").await?;
        page.shows("The end is to be").await?;
        page.fill(
            ".time-bar__form label:nth-of-type(2) input",
            "2026-11-28 15:30",
        )
        .await?;
        page.click_button("Show").await?;
        eventually("the day in the address", SOON, async || {
            let hash: String = page.eval("return location.hash;").await?;
            let is_there = hash.contains("from=") && hash.contains("&to=");
            Ok((is_there && !hash.contains("range=")).then_some(()))
        })
        .await?;
        page.shows("2026-11-28 14:00:00 – 2026-11-28 15:30:00")
            .await
    })
    .await
}

#[tokio::test]
async fn help_has_keys_and_choices_and_the_palette_finds_a_series() -> Result<()> {
    let server = Server::start(BUSY).await?;
    server.post("/push", "queue_depth 4").await?;
    visit(&server.url(), Look::DESKTOP, async |page| {
        page.becomes_live().await?;
        page.press("body", "?").await?;
        page.shows("Help and settings").await?;
        page.shows("Description of the API").await?;
        let links: Vec<String> = page
            .eval(
                "return Promise.all([...document.querySelectorAll('.help__links a')].map(async link => {\
                   const answer = await fetch(link.href); \
                   return `${answer.status} ${answer.headers.get('content-type')} ${(await answer.text()).includes('Pulseboard')}`; }));",
            )
            .await?;
        let expected = ["text/plain; charset=utf-8", "text/html; charset=utf-8"];
        ensure!(links == expected.map(|kind| format!("200 {kind} true")), "{links:?}");
        page.shows(concat!("Pulseboard ", env!("CARGO_PKG_VERSION")))
            .await?;
        page.choose("12 h clock").await?;
        eventually("12 hours", SOON, async || {
            let time = page.text(".status .time").await?;
            Ok(time.ends_with('m').then_some(()))
        })
        .await?;
        // What is drawn anew while somebody types, here by another choice, takes nothing from them.
        page.fill(".help input.field__input", "Nowhere/Ci").await?;
        page.eval::<()>("[...document.querySelectorAll('.help label')].find(label => label.textContent === '24 h clock').click();")
            .await?;
        eventually("24 hours", SOON, async || {
            let time = page.text(".status .time").await?;
            Ok((!time.ends_with('m')).then_some(()))
        })
        .await?;
        let typed: String = page
            .eval("return document.querySelector('.help input.field__input').value;")
            .await?;
        ensure!(typed == "Nowhere/Ci", "{typed:?} is left of what was typed");
        page.press(".help input.field__input", "ty\u{e007}").await?;
        page.shows("The browser knows no zone of this name").await?;
        page.fill(".help input.field__input", "Asia/Kolkata\u{e007}")
            .await?;
        page.press("body", "\u{e00c}").await?;
        page.shows("Times in UTC+5:30").await?;
        page.press("body", "\u{e009}k\u{e000}").await?;
        page.fill(".palette input", "queue").await?;
        page.shows("queue_depth").await?;
        page.press(".palette input", "\u{e007}").await?;
        hash_becomes(page, "the series", "#/explore?match=queue_depth").await?;
        let is_open: bool = page
            .eval("return document.querySelector('dialog').open;")
            .await?;
        ensure!(!is_open, "the palette is still there");
        Ok(())
    })
    .await
}
