//! Takes the pictures for the README from the real page: `cargo xtask screenshots`.
//!
//! The figures are this machine's while the pictures are taken, with requests made here so that
//! there is something to see; only alerts come from the simulator, since a machine that is well
//! has none.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use pulseboard_e2e::{Look, Page, Server, Site, eventually, visit};

/// Enough for the shortest range of the charts to be full.
const COLLECT: Duration = Duration::from_secs(65);

#[tokio::main]
async fn main() -> Result<()> {
    let folder = PathBuf::from(
        std::env::args_os()
            .nth(1)
            .context("say into which folder the pictures go")?,
    );
    fs::create_dir_all(&folder)?;
    live(&folder).await?;
    alerts(&folder).await?;
    wrong_address(&folder).await
}

async fn live(folder: &Path) -> Result<()> {
    let mut server =
        Server::start(&["--metric-interval-ms", "500", "--window-size", "600"]).await?;
    collect(&server).await?;
    let desktop = Look::DESKTOP;
    let looks = [
        ("live-dark", desktop.dark()),
        ("live-light", desktop),
        ("live-dark-tablet", Look::TABLET.dark()),
        ("live-light-tablet", Look::TABLET),
        ("live-dark-phone", Look::PHONE.dark()),
        ("live-light-phone", Look::PHONE),
    ];
    for (name, look) in looks {
        visit(&server.url(), look, async |page| {
            settle(page).await?;
            page.screenshot(&picture(folder, name)).await
        })
        .await?;
    }
    visit(&server.url(), desktop.dark(), async |page| {
        settle(page).await?;
        page.hover(".chart-area", 0.7).await?;
        eventually("the read-out", Duration::from_secs(5), async || {
            Ok(page.text(".chart").await?.contains(" at ").then_some(()))
        })
        .await?;
        page.screenshot(&picture(folder, "read-out-dark")).await?;
        page.hover("h1", 0.5).await?;
        page.expects_errors("net::ERR_");
        page.expects_errors("WebSocket");
        server.kill().await?;
        page.becomes_disconnected(Duration::from_secs(5)).await?;
        page.screenshot(&picture(folder, "disconnected-dark")).await
    })
    .await
}

/// Lets a minute of figures come together, with some load to make them move.
async fn collect(server: &Server) -> Result<()> {
    let started = Instant::now();
    while started.elapsed() < COLLECT {
        // A swell that comes and goes, like visitors.
        let swell = (started.elapsed().as_secs_f64() / 5.0).sin() + 1.2;
        for _ in 0..20 {
            server.get("/api/metrics/recent?count=240").await?;
        }
        tokio::time::sleep(Duration::from_secs_f64(0.1 / swell)).await;
    }
    Ok(())
}

async fn alerts(folder: &Path) -> Result<()> {
    let server = Server::start(&[
        "--source",
        "simulator",
        "--metric-interval-ms",
        "500",
        "--alert-check-sec",
        "1",
    ])
    .await?;
    for (name, look) in [
        ("alerts-dark", Look::DESKTOP.dark()),
        ("alerts-light-phone", Look::PHONE),
    ] {
        visit(&server.url(), look, async |page| {
            settle(page).await?;
            eventually("some alerts", Duration::from_secs(60), async || {
                Ok((page.count(".alert").await? >= 3).then_some(()))
            })
            .await?;
            if look.touch {
                page.eval::<()>("document.querySelector('.alert-feed').scrollIntoView();")
                    .await?;
            }
            page.screenshot(&picture(folder, name)).await
        })
        .await?;
    }
    Ok(())
}

async fn wrong_address(folder: &Path) -> Result<()> {
    // The discard port: nobody listens there.
    let site = Site::start("http://127.0.0.1:9").await?;
    visit(&site.url(), Look::DESKTOP, async |page| {
        page.expects_errors("net::ERR_");
        page.expects_errors("WebSocket");
        page.shows("Nothing answers at").await?;
        page.screenshot(&picture(folder, "wrong-address")).await
    })
    .await
}

/// Live, with all four figures, and with the last minute in the charts.
async fn settle(page: &Page) -> Result<()> {
    page.becomes_live().await?;
    page.choose("1 min").await?;
    eventually("four figures", Duration::from_secs(5), async || {
        let values = page.texts(".metric-card .value").await?;
        Ok(
            (values.len() == 4 && values.iter().all(|value| value.parse::<f64>().is_ok()))
                .then_some(()),
        )
    })
    .await?;
    // Two frames, so that what was chosen is also drawn.
    page.eval_async("const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done(null)));", Vec::new())
        .await
}

fn picture(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.png"))
}
