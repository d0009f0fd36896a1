//! Reading a chart: what was the value then, and what were the others at that moment?

use anyhow::{Result, ensure};
use pulseboard_e2e::{Look, Page, SOON, Server, eventually, visit};

/// `VALUE at TIME` in each chart, as value and time; those that show none are left out.
async fn read_outs(page: &Page) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for text in page.texts(".charts .chart").await? {
        if let Some(line) = text.lines().find(|line| line.contains(" at "))
            && let Some((value, time)) = line.rsplit_once(" at ")
        {
            found.push((value.trim().to_owned(), time.trim().to_owned()));
        }
    }
    Ok(found)
}

/// Whether it reads `HH:MM:SS`, possibly with more behind.
fn is_time(text: &str) -> bool {
    let digits = |range: std::ops::Range<usize>| {
        text.get(range)
            .is_some_and(|part| part.bytes().all(|b| b.is_ascii_digit()))
    };
    digits(0..2)
        && digits(3..5)
        && digits(6..8)
        && text.get(2..3) == Some(":")
        && text.get(5..6) == Some(":")
}

#[tokio::test]
async fn hovering_one_chart_reads_all_four_at_the_same_moment() -> Result<()> {
    let server = Server::start(&["--source", "simulator", "--metric-interval-ms", "500"]).await?;
    visit(&server.url(), Look::DESKTOP, async |page| {
        page.becomes_live().await?;
        // Near the newest end, where even a young chart soon has something to read; where nothing
        // was measured yet, it says so.
        let read = eventually("a figure in all four charts", SOON, async || {
            page.hover(".chart .chart-area", 0.97).await?;
            let read = read_outs(page).await?;
            let are_figures = read.len() == 4 && read.iter().all(|(value, _)| value != "no data");
            Ok(are_figures.then_some(read))
        })
        .await?;
        for ((value, time), unit) in read.iter().zip(["%", "%", "req/s", "ms"]) {
            ensure!(value.ends_with(unit), "{value:?} is not in {unit}");
            ensure!(
                value
                    .split_whitespace()
                    .next()
                    .is_some_and(|number| number.parse::<f64>().is_ok()),
                "{value:?}"
            );
            ensure!(is_time(time), "{time:?} is no time");
            ensure!(*time == read[0].1, "{read:?} are of different moments");
        }
        // Away from all charts there is nothing to read out.
        page.hover("header h1", 0.5).await?;
        eventually("no read-out", SOON, async || {
            Ok(read_outs(page).await?.is_empty().then_some(()))
        })
        .await
    })
    .await
}

#[tokio::test]
async fn a_part_of_a_chart_of_the_overview_is_looked_at_right_there() -> Result<()> {
    let server = Server::start(crate::BUSY).await?;
    visit(&server.url(), Look::DESKTOP, async |page| {
        page.becomes_live().await?;
        page.choose("1 min").await?;
        // What each chart says that it shows, such as `last 1 min` or `14:31:07 to 14:31:42`.
        let times = async || -> Result<Vec<String>> {
            page.eval(
                "return [...document.querySelectorAll('.charts canvas[role=img]')] \
                     .map(chart => /, ([^,]*) shown/.exec(chart.getAttribute('aria-label'))?.[1] || '');",
            )
            .await
        };
        let all_show = async |what: &str, shown: fn(&str) -> bool| {
            eventually(what, SOON, async || {
                let times = times().await?;
                Ok(times.iter().all(|time| shown(time)).then_some(times))
            })
            .await
        };
        all_show("the last minute", |time| time == "last 1 min").await?;
        page.drag(".chart--cpu .chart-area", 0.3, 0.8).await?;
        let part = all_show("a part of it", |time| time.contains(" to ")).await?;
        ensure!(part.iter().all(|time| *time == part[0]), "{part:?}");
        let second = |clock: &str| clock.rsplit(':').next()?.parse::<i32>().ok();
        let ends = part[0].split_once(" to ");
        let ends = ends.and_then(|(from, to)| Some((second(from)?, second(to)?)));
        let length = ends.map(|(from, to)| (to - from).rem_euclid(60));
        // Half of the width, of which the margins are a part.
        ensure!(length.is_some_and(|length| (25..40).contains(&length)), "{part:?}");
        let hash: String = page.eval("return location.hash;").await?;
        ensure!(!hash.contains("explore"), "{hash}");
        // It stays where it is while time goes on, and there is a way back.
        let before = page.text(".status .time").await?;
        eventually("later", SOON, async || {
            Ok((page.text(".status .time").await? != before).then_some(()))
        })
        .await?;
        ensure!(times().await? == part, "it moved");
        page.click_button("Back to live").await?;
        all_show("the last minute again", |time| time == "last 1 min").await?;
        page.drag(".chart--latency .chart-area", 0.3, 0.8).await?;
        all_show("a part of it", |time| time.contains(" to ")).await?;
        page.press("body", "0").await?;
        all_show("the last minute by a key", |time| time == "last 1 min").await?;
        // The wheel moves the page, and with Control it is for time.
        page.eval::<()>(
            "const area = document.querySelector('.chart--cpu .chart-area'); \
             const { left, width } = area.getBoundingClientRect(); \
             area.dispatchEvent(new WheelEvent('wheel', { deltaY: 400, ctrlKey: true, bubbles: true, cancelable: true, clientX: left + width / 2 }));",
        )
        .await?;
        eventually("a longer time in Explore", SOON, async || {
            let hash: String = page.eval("return location.hash;").await?;
            Ok(hash.starts_with("#/explore?match=cpu_usage&").then_some(()))
        })
        .await
    })
    .await
}

#[tokio::test]
async fn a_chart_is_drawn_in_the_pixels_of_the_screen() -> Result<()> {
    let server = Server::start(crate::BUSY).await?;
    visit(&server.url(), Look::DESKTOP, async |page| {
        page.becomes_live().await?;
        eventually("a drawn line", SOON, async || {
            let painted: bool = page
                .eval(
                    "const c = document.querySelector('.chart .chart-area canvas, .chart canvas.chart-area'); \
                     if (!c || c.width === 0) { return false; } \
                     const ratio = c.width / c.getBoundingClientRect().width / devicePixelRatio; \
                     const data = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; \
                     const colours = new Set(); \
                     for (let i = 0; i < data.length; i += 4) { if (data[i + 3] > 200) { colours.add(data[i] << 16 | data[i + 1] << 8 | data[i + 2]); } } \
                     return Math.abs(ratio - 1) < 0.05 && colours.size > 1;",
                )
                .await?;
            Ok(painted.then_some(()))
        })
        .await
    })
    .await
}
