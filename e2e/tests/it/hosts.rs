//! Machines: the list, the worst first, and the page of one; what is scraped and what is sent.

use anyhow::{Result, ensure};
use pulseboard_e2e::{Look, SOON, Server, eventually, visit};

use crate::BUSY;

/// Figures of a machine whose disk is this full, %.
fn figures(host: &str, disk: u32) -> String {
    format!(
        "node_load1{{instance=\"{host}\",job=\"node\"}} 0.5\n\
         node_filesystem_size_bytes{{instance=\"{host}\",job=\"node\",mountpoint=\"/\",fstype=\"ext4\"}} 100\n\
         node_filesystem_avail_bytes{{instance=\"{host}\",job=\"node\",mountpoint=\"/\",fstype=\"ext4\"}} {}",
        100 - disk
    )
}

#[tokio::test]
async fn the_worst_host_is_first_and_has_a_page() -> Result<()> {
    let server = Server::start(BUSY).await?;
    let lines = [figures("web-1", 40), figures("web-2", 97)].join("\n");
    server.post("/push", lines).await?;
    visit(
        &format!("{}/#/hosts", server.url()),
        Look::DESKTOP,
        async |page| {
            eventually("the fuller one first", SOON, async || {
                let names = page.texts(".host .series-name").await?;
                let places = ["web-2", "web-1"].map(|host| names.iter().position(|name| name == host));
                Ok((places[0].is_some() && places[0] < places[1]).then_some(()))
            })
            .await?;
            page.shows("97 %").await?;
            page.eval::<()>(
                "[...document.querySelectorAll('.host a')].find(link => link.textContent === 'web-2').click();",
            )
            .await?;
            page.shows("File systems, used").await?;
            page.shows("/ 97 %").await?;
            page.choose("1 h").await?;
            let hash: String = page.eval("return location.hash;").await?;
            ensure!(hash == "#/hosts?host=web-2&range=1h", "{hash}");
            Ok(())
        },
    )
    .await
}

#[tokio::test]
async fn what_a_host_page_shows_is_live() -> Result<()> {
    let server = Server::start(BUSY).await?;
    server.post("/push", figures("web-1", 40)).await?;
    let address = format!("{}/#/hosts?host=web-1", server.url());
    visit(&address, Look::DESKTOP, async |page| {
        page.shows("/ 40 %").await?;
        let mut disk = 41;
        // The last history that is asked for is the one that says since when it is live.
        eventually("a figure that nobody asked for", SOON, async || {
            let pushed_ms: f64 = page.eval("return performance.now();").await?;
            disk += 1;
            server.post("/push", figures("web-1", disk)).await?;
            page.shows(&format!("/ {disk} %")).await?;
            let asked_ms: f64 = page
                .eval(
                    "return performance.getEntriesByType('resource') \
                       .filter(file => file.name.includes('query_range') && file.name.includes('filesystem')) \
                       .map(file => file.startTime).reduce((one, other) => Math.max(one, other), 0);",
                )
                .await?;
            Ok((asked_ms < pushed_ms).then_some(()))
        })
        .await
    })
    .await
}

#[tokio::test]
async fn what_is_sent_is_told() -> Result<()> {
    let server = Server::start(BUSY).await?;
    server.post("/push", "queue_depth 4").await?;
    visit(
        &format!("{}/#/targets", server.url()),
        Look::PHONE,
        async |page| {
            page.shows("Samples taken").await?;
            page.shows("Nothing was refused since the start").await
        },
    )
    .await
}

#[tokio::test]
async fn a_receiver_that_is_away_is_told() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("prometheus.yml");
    // The discard port, where nobody listens.
    std::fs::write(
        &file,
        "remote_write:\n  - name: elsewhere\n    url: http://127.0.0.1:9/api/v1/write\n",
    )?;
    let file = file.to_string_lossy();
    let flags = [BUSY, &["--prometheus-config", &file]].concat();
    let server = Server::start(&flags).await?;
    server.post("/push", "queue_depth 4").await?;
    visit(
        &format!("{}/#/targets", server.url()),
        Look::PHONE,
        async |page| {
            page.shows("Sent on").await?;
            eventually("the receiver and what waits for it", SOON, async || {
                let rows = page.texts(".target--receiver").await?;
                let row = rows.first().cloned().unwrap_or_default();
                let all = [
                    "trying again",
                    "elsewhere",
                    "nothing sent yet",
                    "samples wait",
                    "0 sent",
                    "no connection to",
                ];
                Ok(all.iter().all(|words| row.contains(words)).then_some(()))
            })
            .await
        },
    )
    .await
}
