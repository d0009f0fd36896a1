//! Pages that need a token, from the server's own origin and from another.

use anyhow::{Result, ensure};
use pulseboard_e2e::{Look, Page, SOON, Server, Site, eventually, visit};

const FLAGS: &[&str] = &["--source", "simulator", "--anonymous-role", "none"];
const TOKENS: &str = "the-operators-token=operator,the-viewers-token=viewer";

async fn asks_for_a_token(page: &Page) -> Result<()> {
    eventually("the login is shown", SOON, async || {
        Ok((page.count(".login").await? == 1).then_some(()))
    })
    .await
}

async fn log_in(page: &Page, token: &str) -> Result<()> {
    page.fill(".login input[name=password]", token).await?;
    page.click(".login button[type=submit]").await
}

/// Refused, let in, out again, and nothing tried in between: a refused attempt would be an error
/// in the console.
async fn whole_story(page: &Page) -> Result<()> {
    asks_for_a_token(page).await?;
    // What a browser writes by itself about the wrong token.
    page.expects_errors("401 (Unauthorized)");
    ensure!(!page.is_live().await?);
    log_in(page, "wrong").await?;
    page.shows("This token is not known here").await?;
    log_in(page, "the-viewers-token").await?;
    page.becomes_live().await?;
    ensure!(page.count(".login").await? == 0);

    page.reload().await?;
    page.becomes_live().await?;
    page.click_button("Log out").await?;
    asks_for_a_token(page).await?;
    ensure!(
        page.count(".metric-card").await? == 0,
        "figures stay on the screen"
    );
    Ok(())
}

#[tokio::test]
async fn a_token_opens_the_page_and_logging_out_closes_it() -> Result<()> {
    let server = Server::start(FLAGS).await?.with_tokens(TOKENS).await?;
    visit(&server.url(), Look::DESKTOP, whole_story).await
}

#[tokio::test]
async fn a_page_from_another_origin_uses_tickets() -> Result<()> {
    let server = Server::start(&[]).await?;
    let site = Site::start(&server.url()).await?;
    let origin = site.url();
    let mut flags = FLAGS.to_vec();
    flags.extend_from_slice(&["--allowed-origins", &origin]);
    let server = server.with_flags(&flags).await?.with_tokens(TOKENS).await?;
    visit(&site.url(), Look::PHONE, async |page| {
        whole_story(page).await?;
        let address: String = page
            .eval("return performance.getEntriesByType('resource').map(e => e.name).join(' ');")
            .await?;
        ensure!(
            !address.contains("the-viewers-token"),
            "a token in an address: {address}"
        );
        ensure!(server.port() > 0);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_starts_link_makes_a_browser_admin_and_leaves_the_address() -> Result<()> {
    let server = Server::start(FLAGS).await?;
    let link = server.admin_link()?;
    visit(&link, Look::DESKTOP, async |page| {
        page.becomes_live().await?;
        let title: String = page
            .eval("return [...document.querySelectorAll('button')].find(b => b.textContent === 'Log out').title;")
            .await?;
        ensure!(title == "Logged in as admin", "{title}");
        let address: String = page.eval("return location.href;").await?;
        ensure!(!address.contains("admin"), "{address}");
        page.reload().await?;
        page.becomes_live().await
    })
    .await?;
    // A second browser is told that the link is used up.
    visit(&link, Look::PHONE, async |page| {
        page.expects_errors("401 (Unauthorized)");
        page.shows("This admin link was used already").await?;
        asks_for_a_token(page).await
    })
    .await
}
