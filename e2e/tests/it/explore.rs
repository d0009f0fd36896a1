//! All series: search, list, and a chart of each.

use anyhow::{Result, ensure};
use pulseboard_e2e::{Look, SOON, Server, eventually, visit};

use crate::BUSY;

#[tokio::test]
async fn a_search_leads_to_a_chart_that_goes_on() -> Result<()> {
    let server = Server::start(BUSY).await?;
    for value in 0..5 {
        server
            .post(
                "/push",
                format!("queue_depth{{queue=\"mail\"}} {value}\nother{{a=\"b\"}} 1"),
            )
            .await?;
    }
    visit(
        &format!("{}/#/explore", server.url()),
        Look::DESKTOP,
        async |page| {
            page.shows("queue_depth").await?;
            page.fill(".explore__search", "mail").await?;
            eventually("one row", SOON, async || {
                Ok((page.count(".series-row").await? == 1).then_some(()))
            })
            .await?;
            let hash: String = page.eval("return location.hash;").await?;
            ensure!(hash == "#/explore?search=mail", "{hash}");
            page.click(".series-row a").await?;
            let hash: String = page.eval("return location.hash;").await?;
            ensure!(
                hash == "#/explore?match=queue_depth%7Bqueue%3D%22mail%22%7D",
                "{hash}"
            );
            page.choose("1 h").await?;
            let hash: String = page.eval("return location.hash;").await?;
            ensure!(hash.ends_with("&range=1h"), "{hash}");
            page.shows("kept as: every sample").await?;
            page.choose("5 min").await?;
            page.shows("Last 5 min").await?;
            server
                .post("/push", "queue_depth{queue=\"mail\"} 77")
                .await?;
            eventually("the newest figure", SOON, async || {
                Ok((page.text(".open-series__now .value").await? == "77").then_some(()))
            })
            .await?;
            eventually("VALUE at TIME", SOON, async || {
                page.hover(".chart-area", 0.995).await?;
                let text = page.text(".chart__reading").await?;
                Ok(text.contains(" at ").then_some(()))
            })
            .await
        },
    )
    .await
}

#[tokio::test]
async fn a_search_is_in_the_address_and_back_leads_to_it() -> Result<()> {
    let server = Server::start(BUSY).await?;
    server
        .post("/push", "queue_depth{queue=\"mail\"} 4\nother 1")
        .await?;
    let address = format!("{}/#/explore?search=mail", server.url());
    visit(&address, Look::DESKTOP, async |page| {
        let shows_one = async |searched: &str, rows: usize| {
            eventually("what is searched for", SOON, async || {
                let field: Vec<String> = page
                    .eval("return [...document.querySelectorAll('.explore__search')].map(field => field.value);")
                    .await?;
                let found = page.count(".series-row").await?;
                Ok((field == [searched] && (found == 1) == (rows == 1)).then_some(()))
            })
            .await
        };
        shows_one("mail", 1).await?;
        page.click(".series-row a").await?;
        page.shows("kept as").await?;
        page.eval::<()>("history.back();").await?;
        shows_one("mail", 1).await?;
        // The link of the view is of all series.
        page.eval::<()>("document.querySelector('.views a[aria-current]').click();")
            .await?;
        shows_one("", 2).await
    })
    .await
}

#[tokio::test]
async fn a_thousand_series_are_a_hundred_at_a_time() -> Result<()> {
    let server = Server::start(BUSY).await?;
    let lines: Vec<String> = (0..1_000)
        .map(|number| format!("load{{worker=\"{number:04}\"}} {number}"))
        .collect();
    server.post("/push", lines.join("\n")).await?;
    visit(
        &format!("{}/#/explore", server.url()),
        Look::DESKTOP,
        async |page| {
            page.shows("1–100 of").await?;
            page.fill(".explore__search", "worker").await?;
            page.shows("1–100 of 1\u{a0}000").await?;
            ensure!(page.count(".series-row").await? == 100);
            page.click_button("Next").await?;
            page.shows("101–200 of 1\u{a0}000").await?;
            ensure!(page.texts(".series-row a").await?[0].contains("0100"));
            page.click_button("Previous").await?;
            page.shows("1–100 of 1\u{a0}000").await?;
            page.fill(".explore__search", "nothing like it").await?;
            page.shows("No series has").await?;
            page.click_button("Clear search").await?;
            page.shows("1–100 of").await
        },
    )
    .await
}

/// Of a thousand lines the eight that reach highest are drawn, and all others as one band; and what
/// is fetched for it is as little as that.
#[tokio::test]
async fn of_a_thousand_lines_the_highest_are_drawn_and_the_rest_is_a_band() -> Result<()> {
    let server = Server::start(BUSY).await?;
    // Those that are highest are not the first by name.
    let lines: Vec<String> = (0..1_000)
        .map(|number| format!("load{{worker=\"{number:04}\"}} {}", (number + 500) % 1_000))
        .collect();
    server.post("/push", lines.join("\n")).await?;
    let address = format!("{}/#/explore?match=load", server.url());
    visit(&address, Look::DESKTOP, async |page| {
        page.shows("992 others combined").await?;
        let mut rows = page.texts(".windows tbody tr").await?;
        // Below them is a table of windows.
        rows.retain(|row| row.starts_with("load{") || row.contains("others combined"));
        ensure!(rows.len() == 9, "{rows:?}");
        for worker in 492..500 {
            let key = format!("worker=\"0{worker}\"");
            ensure!(rows.iter().any(|row| row.contains(&key)), "{key}: {rows:?}");
        }
        let others = rows.last().cloned().unwrap_or_default();
        ensure!(
            others.contains("992") && others.contains("991"),
            "the greatest of the rest: {others:?}"
        );
        let fetched: f64 = page
            .eval(
                "return performance.getEntriesByType('resource') \
                     .filter(file => /\\/api\\/(range|windows)/.test(file.name)) \
                     .reduce((sum, file) => sum + file.transferSize, 0);",
            )
            .await?;
        ensure!(
            fetched > 0.0 && fetched < 100_000.0,
            "{fetched} bytes for eight lines"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_cannot_be_read_says_why() -> Result<()> {
    let server = Server::start(BUSY).await?;
    let address = format!("{}/#/explore?match=%7B", server.url());
    visit(&address, Look::PHONE, async |page| {
        page.expects_errors("400");
        page.shows("The history could not be read").await
    })
    .await
}
