//! Where the page may come from: the server itself, or anywhere else.

use anyhow::{Result, ensure};
use pulseboard_e2e::{Look, SOON, Server, Site, eventually, visit};

/// A server and a site that know each other.
async fn server_and_site(flags: &[&str]) -> Result<(Server, Site)> {
    // Each must name the other; the server's port comes first, and its flags then change.
    let server = Server::start(&[]).await?;
    let site = Site::start(&server.url()).await?;
    let origin = site.url();
    let mut all = vec!["--allowed-origins", origin.as_str()];
    all.extend_from_slice(flags);
    Ok((server.with_flags(&all).await?, site))
}

#[tokio::test]
async fn a_page_from_another_origin_works_like_our_own() -> Result<()> {
    let (server, site) = server_and_site(crate::BUSY).await?;
    visit(&site.url(), Look::DESKTOP, async |page| {
        ensure!(site.url() != server.url());
        page.becomes_live().await?;
        let before = page.text(".time").await?;
        eventually("figures", SOON, async || {
            Ok((page.text(".time").await? != before).then_some(()))
        })
        .await?;
        eventually("alerts", SOON * 3, async || {
            Ok((page.count(".alert").await? > 0).then_some(()))
        })
        .await
    })
    .await
}

#[tokio::test]
async fn a_wrong_address_is_told_with_what_to_do() -> Result<()> {
    // The discard port, where nobody listens.
    let site = Site::start("http://127.0.0.1:9").await?;
    visit(&site.url(), Look::DESKTOP, async |page| {
        page.expects_errors("net::ERR_");
        page.expects_errors("WebSocket connection to");
        page.shows("http://127.0.0.1:9").await?;
        page.shows("config.json").await?;
        page.becomes_disconnected(SOON).await
    })
    .await
}

#[tokio::test]
async fn an_origin_that_is_not_allowed_is_told_how_it_would_be() -> Result<()> {
    let server = Server::start(&[]).await?;
    let site = Site::start(&server.url()).await?;
    visit(&site.url(), Look::DESKTOP, async |page| {
        page.expects_errors("net::ERR_");
        page.expects_errors("CORS policy");
        page.expects_errors("WebSocket connection to");
        page.shows(&format!("--allowed-origins {}", site.url()))
            .await?;
        ensure!(!page.is_live().await?);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn any_path_of_the_page_opens_it() -> Result<()> {
    let server = Server::start(&[]).await?;
    visit(
        &format!("{}/some/deep/link", server.url()),
        Look::DESKTOP,
        async |page| page.becomes_live().await,
    )
    .await
}
