//! Rules on the page: written, rehearsed, changed and taken away by an admin; read by everybody
//! else.

use anyhow::{Result, ensure};
use pulseboard_e2e::{Look, Page, SOON, Server, eventually, visit};

/// What the list names.
async fn names(page: &Page) -> Result<Vec<String>> {
    page.texts(".rule .series-name").await
}

#[tokio::test]
async fn a_rule_is_rehearsed_while_it_is_written() -> Result<()> {
    let server = Server::start(&["--source", "none"]).await?;
    server.post("/push", "queue_depth{pod=\"a\"} 97").await?;
    visit(&server.admin_link()?, Look::DESKTOP, async |page| {
        page.becomes_live().await?;
        page.goto(&format!("{}/#/alerts/rules/new", server.url()))
            .await?;
        page.shows("Rehearsal").await?;
        page.fill(".rule-editor textarea", "queue_depth > 90")
            .await?;
        page.shows("It would have fired 1 time").await?;
        // The limit is a field, too, and moves the number in the expression.
        page.fill(".rule-editor__limit input", "98").await?;
        page.press(".rule-editor__limit input", "\u{e007}").await?;
        eventually("another expression", SOON, async || {
            let expression: String = page
                .eval("return document.querySelector('.rule-editor textarea').value;")
                .await?;
            Ok((expression == "queue_depth > 98").then_some(()))
        })
        .await?;
        page.shows("It would not have fired").await
    })
    .await
}

#[tokio::test]
async fn a_rule_is_made_and_taken_away() -> Result<()> {
    let server = Server::start(&["--source", "none"]).await?;
    visit(&server.admin_link()?, Look::DESKTOP, async |page| {
        page.becomes_live().await?;
        page.goto(&format!("{}/#/alerts/rules", server.url()))
            .await?;
        page.shows("New rule").await?;
        page.eval::<()>("document.querySelector('a[href$=\"rules/new\"]').click();")
            .await?;
        page.shows("Rehearsal").await?;
        page.click_button("Save").await?;
        page.shows("A rule has a name").await?;
        page.fill(".form__grid .field__input", "Queue <b>is</b> long")
            .await?;
        page.fill(".rule-editor textarea", "queue_depth > 90")
            .await?;
        page.click_button("Save").await?;
        let is_listed = async |page: &Page| -> Result<bool> {
            Ok(names(page).await?.iter().any(|name| name == "Queue <b>is</b> long"))
        };
        eventually("the rule in the list", SOON, async || {
            Ok(is_listed(page).await?.then_some(()))
        })
        .await?;
        page.eval::<()>(
            "[...document.querySelectorAll('.rule a')].find(link => link.textContent.startsWith('Queue')).click();",
        )
        .await?;
        page.shows("Delete").await?;
        page.click_button("Delete").await?;
        page.shows("New rule").await?;
        eventually("the list without it", SOON, async || {
            Ok((!is_listed(page).await?).then_some(()))
        })
        .await
    })
    .await
}

#[tokio::test]
async fn a_viewer_reads_rules_and_is_offered_no_more() -> Result<()> {
    let server = Server::start(&["--anonymous-role", "viewer"]).await?;
    let address = format!("{}/#/alerts/rules", server.url());
    visit(&address, Look::PHONE, async |page| {
        page.shows("built in").await?;
        let offered = page.texts(".button--primary").await?;
        ensure!(offered.is_empty(), "{offered:?}");
        page.eval::<()>("document.querySelector('.rule a').click();")
            .await?;
        page.shows("Who has the role admin can change rules")
            .await?;
        page.shows("Rehearsal").await?;
        let disabled: bool = page
            .eval("return document.querySelector('.rule-editor fieldset').disabled;")
            .await?;
        ensure!(disabled && page.count(".rule-editor button[type=submit]").await? == 0);
        Ok(())
    })
    .await
}
