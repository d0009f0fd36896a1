//! Takes the pictures for the README from the real page: `cargo xtask screenshots`.
//!
//! A picture is named after what it shows, the theme and the device.
//!
//! The figures are this machine's while the pictures are taken, with requests made here so that
//! there is something to see; only alerts come from the simulator, since a machine that is well
//! has none.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use pulseboard_e2e::{Look, Page, Server, Site, eventually, visit};

/// Enough for the shortest range of the charts to be full.
const COLLECT: Duration = Duration::from_secs(62);

#[tokio::main]
async fn main() -> Result<()> {
    let folder = PathBuf::from(
        std::env::args_os()
            .nth(1)
            .context("say into which folder the pictures go")?,
    );
    fs::create_dir_all(&folder)?;
    let mut host = Server::start(&["--metric-interval-ms", "500", "--window-size", "600"]).await?;
    let simulator = Server::start(&[
        "--source",
        "simulator",
        "--window-size",
        "600",
        "--alert-check-sec",
        "2",
    ])
    .await?;
    let (address, pictures) = (host.url(), async {
        tokio::time::sleep(COLLECT).await;
        live(&folder, &host.url()).await
    });
    // Visitors come for as long as pictures are taken, or the figures would fall to nothing.
    tokio::select! {
        outcome = pictures => outcome?,
        outcome = visitors(&address) => outcome?,
    }
    pushed(&folder, &host).await?;
    disconnected(&folder, &mut host).await?;
    alerts(&folder, &simulator.url()).await?;
    wrong_address(&folder).await
}

/// Asks for something again and again, now more often and now less, like people do.
async fn visitors(address: &str) -> Result<()> {
    let started = Instant::now();
    loop {
        let time = started.elapsed().as_secs_f64();
        let swell = 1.3 + (time / 4.0).sin() + 0.4 * (time * 1.7).sin();
        for count in [20, 200, 2_000] {
            let answer =
                reqwest::get(format!("{address}/api/metrics/recent?count={count}")).await?;
            answer.error_for_status()?.bytes().await?;
        }
        tokio::time::sleep(Duration::from_secs_f64(0.03 / swell.max(0.2))).await;
    }
}

async fn live(folder: &Path, address: &str) -> Result<()> {
    let looks = [
        ("live-dark-desktop", Look::DESKTOP.dark()),
        ("live-light-desktop", Look::DESKTOP),
        ("live-dark-tablet", Look::TABLET.dark()),
        ("live-light-tablet", Look::TABLET),
        ("live-dark-phone", Look::PHONE.dark()),
        ("live-light-phone", Look::PHONE),
    ];
    for (name, look) in looks {
        visit(address, look, async |page| {
            settle(page).await?;
            page.screenshot(&picture(folder, name)).await
        })
        .await?;
    }
    visit(address, Look::DESKTOP, async |page| {
        settle(page).await?;
        page.hover(".chart-area", 0.7).await?;
        eventually("the read-out", Duration::from_secs(5), async || {
            Ok(page.text(".chart").await?.contains(" at ").then_some(()))
        })
        .await?;
        page.screenshot(&picture(folder, "read-out-light-desktop"))
            .await
    })
    .await
}

/// The views of what is pushed, with a quarter of an hour of a made-up shop in them.
async fn pushed(folder: &Path, server: &Server) -> Result<()> {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let mut lines = Vec::new();
    for second in 0..900_u32 {
        let at_ms = now_ms - u128::from(900 - second) * 1_000;
        let wave = f64::from(second) / 90.0;
        let noise = f64::from(second * 7_919 % 13) / 4.0;
        let orders = 40.0 + 20.0 * wave.sin() + noise;
        lines.push(format!(
            "orders_per_min{{shop=\"north\"}} {orders:.2} {at_ms}"
        ));
        lines.push(format!("queue_depth {} {at_ms}", (second / 7 * 31) % 60));
    }
    server.post("/push", lines.join("\n")).await?;
    for kind in [
        "page_view",
        "page_view",
        "page_view",
        "api_call",
        "user_action",
    ] {
        let item = format!("{{\"type\":\"{kind}\",\"value\":1}}");
        server.post("/metrics/track", item).await?;
    }
    for (name, view) in [
        ("pushed", "#/"),
        ("explore", "#/explore"),
        ("series", "#/explore?match=orders_per_min&range=15m"),
        ("aggregate", "#/aggregate"),
    ] {
        for (look_name, look) in [
            ("dark-desktop", Look::DESKTOP.dark()),
            ("light-phone", Look::PHONE),
        ] {
            visit(&format!("{}/{view}", server.url()), look, async |page| {
                page.becomes_live().await?;
                tokio::time::sleep(Duration::from_secs(3)).await;
                if name == "pushed" {
                    page.eval::<()>("document.querySelector('.fresh').scrollIntoView();")
                        .await?;
                }
                page.screenshot(&picture(folder, &format!("{name}-{look_name}")))
                    .await
            })
            .await?;
        }
    }
    Ok(())
}

async fn disconnected(folder: &Path, server: &mut Server) -> Result<()> {
    visit(&server.url(), Look::DESKTOP.dark(), async |page| {
        settle(page).await?;
        page.expects_errors("net::ERR_");
        page.expects_errors("WebSocket connection to");
        server.kill().await?;
        page.becomes_disconnected(Duration::from_secs(5)).await?;
        page.screenshot(&picture(folder, "disconnected-dark-desktop"))
            .await
    })
    .await
}

async fn alerts(folder: &Path, address: &str) -> Result<()> {
    for (name, look) in [
        ("alerts-dark-desktop", Look::DESKTOP.dark()),
        ("alerts-light-phone", Look::PHONE),
    ] {
        visit(address, look, async |page| {
            settle(page).await?;
            eventually("some alerts", Duration::from_secs(60), async || {
                Ok((page.count(".alert").await? >= 4).then_some(()))
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
        page.expects_errors("WebSocket connection to");
        page.shows("Nothing answers at").await?;
        page.screenshot(&picture(folder, "wrong-address-light-desktop"))
            .await
    })
    .await
}

/// Live, with all four figures, and with the last minute in the charts.
async fn settle(page: &Page) -> Result<()> {
    page.becomes_live().await?;
    page.choose("1 min").await?;
    page.eval::<()>("scrollTo(0, 0);").await?;
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
