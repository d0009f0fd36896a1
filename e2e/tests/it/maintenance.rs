//! Maintenance windows on the page: planned, changed and taken away by an operator; read by
//! everybody else.

use anyhow::{Result, ensure};
use pulseboard_e2e::{Look, SOON, Server, eventually, visit};

#[tokio::test]
async fn a_window_is_planned_changed_and_taken_away() -> Result<()> {
    let server = Server::start(&["--source", "none"]).await?;
    let address = format!("{}/#/alerts/maintenance", server.url());
    visit(&address, Look::DESKTOP, async |page| {
        page.shows("No maintenance is planned").await?;
        page.eval::<()>("document.querySelector('a[href$=\"maintenance/new\"]').click();")
            .await?;
        page.shows("New maintenance window").await?;
        page.click_button("Save").await?;
        page.shows("A maintenance window has a name").await?;
        page.fill(".form > .field input", "Back <b>up</b>").await?;
        page.fill(".form textarea", "job=\"db\"").await?;
        page.fill(
            ".form__section .form__grid .field:nth-child(1) input",
            "22:00-22:00",
        )
        .await?;
        page.click_button("Save").await?;
        page.shows("ends where it begins").await?;
        page.fill(
            ".form__section .form__grid .field:nth-child(1) input",
            "22:00-02:00",
        )
        .await?;
        // What the server refuses is said with its words.
        page.expects_errors("400");
        page.fill(
            ".form__section .form__grid .field:nth-child(2) input",
            "Europe/Nowhere",
        )
        .await?;
        page.click_button("Save").await?;
        page.shows("unknown time zone").await?;
        page.fill(
            ".form__section .form__grid .field:nth-child(2) input",
            "Europe/Paris",
        )
        .await?;
        page.choose("Sat").await?;
        page.click_button("Save").await?;
        // Past midnight it goes on the next day.
        page.shows("22:00–24:00; Sat (Europe/Paris)").await?;
        page.shows("00:00–02:00; Sun (Europe/Paris)").await?;
        page.shows("Back <b>up</b>").await?;
        let when = page.text(".window .silence__time").await?;
        ensure!(
            when.starts_with("next ") || when.starts_with("until "),
            "{when}"
        );
        page.eval::<()>("document.querySelector('.window a').click();")
            .await?;
        page.shows("+ Another time").await?;
        page.click_button("+ Another time").await?;
        page.shows("Opening 3").await?;
        page.click_button("Save").await?;
        // All day, every day: it is open now.
        page.shows("open now").await?;
        page.eval::<()>("document.querySelector('.window a').click();")
            .await?;
        page.shows("Delete").await?;
        page.click_button("Delete").await?;
        page.shows("No maintenance is planned").await?;
        eventually("an empty list", SOON, async || {
            Ok((page.count(".window").await? == 0).then_some(()))
        })
        .await
    })
    .await
}

#[tokio::test]
async fn a_viewer_reads_windows_and_is_offered_no_more() -> Result<()> {
    let server = Server::start(&["--anonymous-role", "viewer"]).await?;
    let address = format!("{}/#/alerts/maintenance/new", server.url());
    visit(&address, Look::PHONE, async |page| {
        page.shows("Who has the role operator can plan maintenance")
            .await?;
        ensure!(page.count("form.form").await? == 0);
        Ok(())
    })
    .await
}
