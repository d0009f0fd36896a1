//! Dark and light: as the system has it, until one chooses, and then as chosen.

use anyhow::Result;
use pulseboard_e2e::{Look, Page, SOON, Server, eventually, visit};

/// How bright the page's ground is, 0 to 255.
async fn brightness(page: &Page) -> Result<f64> {
    page.eval(
        "const probe = document.createElement('canvas').getContext('2d'); \
         for (const e of [document.body, document.documentElement]) { \
           const colour = getComputedStyle(e).backgroundColor; \
           probe.clearRect(0, 0, 1, 1); probe.fillStyle = colour; probe.fillRect(0, 0, 1, 1); \
           const [r, g, b, a] = probe.getImageData(0, 0, 1, 1).data; \
           if (a > 0) { return 0.2126 * r + 0.7152 * g + 0.0722 * b; } } return 255;",
    )
    .await
}

async fn becomes(page: &Page, dark: bool) -> Result<()> {
    eventually(
        if dark { "a dark page" } else { "a light page" },
        SOON,
        async || {
            let brightness = brightness(page).await?;
            Ok((if dark {
                brightness < 80.0
            } else {
                brightness > 180.0
            })
            .then_some(()))
        },
    )
    .await
}

#[tokio::test]
async fn the_theme_follows_the_system() -> Result<()> {
    let server = Server::start(&[]).await?;
    visit(&server.url(), Look::DESKTOP.dark(), async |page| {
        page.becomes_live().await?;
        becomes(page, true).await?;
        page.look(Look::DESKTOP).await?;
        becomes(page, false).await
    })
    .await
}

#[tokio::test]
async fn a_chosen_theme_is_remembered() -> Result<()> {
    let server = Server::start(&[]).await?;
    visit(&server.url(), Look::DESKTOP, async |page| {
        page.becomes_live().await?;
        becomes(page, false).await?;
        page.choose("Dark").await?;
        becomes(page, true).await?;
        page.reload().await?;
        page.becomes_live().await?;
        becomes(page, true).await?;
        // The choice is stronger than the system, whatever that says.
        page.choose("Light").await?;
        becomes(page, false).await?;
        page.look(Look::DESKTOP.dark()).await?;
        page.reload().await?;
        page.becomes_live().await?;
        becomes(page, false).await
    })
    .await
}
