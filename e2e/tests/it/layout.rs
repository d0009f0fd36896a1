//! The page on small and large screens: nothing sticks out, nothing jumps.

use anyhow::{Context, Result, ensure};
use pulseboard_e2e::{Look, Page, SOON, Server, eventually, visit, visit_watched};

use crate::BUSY;

/// Nothing is wider than the screen: neither the document nor any element on it.
async fn fits(page: &Page, state: &str) -> Result<()> {
    let wide: Vec<String> = page
        .eval(
            "const width = document.documentElement.clientWidth; \
             const clipped = e => { for (let p = e.parentElement; p; p = p.parentElement) { \
               if (getComputedStyle(p).overflowX !== 'visible' && p.getBoundingClientRect().right <= width + 0.5) { return true; } } return false; }; \
             const wide = [...document.body.querySelectorAll('*')] \
               .filter(e => { const r = e.getBoundingClientRect(); return e.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && r.width > 1 && r.height > 1 && (r.right > width + 0.5 || r.left < -0.5) && !clipped(e); }) \
               .map(e => `${e.tagName.toLowerCase()}.${e.getAttribute('class')} reaches from ${e.getBoundingClientRect().left} to ${e.getBoundingClientRect().right} of ${width}`); \
             if (document.documentElement.scrollWidth > width) { wide.push(`the document is ${document.documentElement.scrollWidth} wide`); } \
             return wide;",
        )
        .await?;
    ensure!(wide.is_empty(), "{state}: wider than the screen: {wide:#?}");
    Ok(())
}

async fn is_usable_on(look: Look) -> Result<()> {
    let mut server = Server::start(BUSY).await?;
    visit(&server.url(), look, async |page| {
        page.expects_errors("net::ERR_");
        page.expects_errors("WebSocket connection to");
        page.becomes_live().await?;
        fits(page, "live").await?;
        eventually("alerts", SOON * 3, async || {
            Ok((page.count(".alert").await? >= 2).then_some(()))
        })
        .await?;
        fits(page, "with alerts").await?;
        // They come and go, so one may have moved on between being found and being clicked.
        eventually("one is dismissed", SOON, async || {
            page.click(".alert-feed .alert button").await.map(Some)
        })
        .await?;
        server.kill().await?;
        page.becomes_disconnected(SOON).await?;
        fits(page, "disconnected").await
    })
    .await
}

#[tokio::test]
async fn a_phone_shows_everything_without_scrolling_sideways() -> Result<()> {
    is_usable_on(Look::PHONE).await
}

#[tokio::test]
async fn so_does_the_smallest_phone() -> Result<()> {
    is_usable_on(Look::SMALL_PHONE.dark()).await
}

#[tokio::test]
async fn so_do_a_tablet_and_a_wall_of_4k() -> Result<()> {
    let server = Server::start(BUSY).await?;
    visit(&server.url(), Look::TABLET, async |page| {
        page.becomes_live().await?;
        fits(page, "on a tablet").await?;
        page.look(Look {
            width: 3840,
            height: 2160,
            dark: true,
            touch: false,
        })
        .await?;
        fits(page, "on a wall").await
    })
    .await
}

#[tokio::test]
async fn the_header_is_one_row_on_a_laptop() -> Result<()> {
    let server = Server::start(BUSY).await?;
    visit(&server.url(), Look::DESKTOP, async |page| {
        page.becomes_live().await?;
        // The widest that it usually has to hold.
        eventually("something critical", SOON * 3, async || {
            Ok((page.count(".critical-badge").await? == 1).then_some(()))
        })
        .await?;
        for width in [1100, 1280, 1300, 1366, 1440] {
            page.look(Look {
                width,
                ..Look::DESKTOP
            })
            .await?;
            let rows: Vec<f64> = page
                .eval(
                    "return [...document.querySelectorAll('.page-header > *')].filter(part => part.checkVisibility()) \
                       .map(part => { const { top, height } = part.getBoundingClientRect(); return top + height / 2; });",
                )
                .await?;
            let height: f64 = page
                .eval("return document.querySelector('.page-header').offsetHeight;")
                .await?;
            ensure!(
                rows.iter().all(|row| (row - rows[0]).abs() < 2.0) && height < 60.0,
                "{width} wide: rows at {rows:?}, {height} high"
            );
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_header_is_two_rows_on_a_phone() -> Result<()> {
    let server = Server::start(BUSY).await?;
    visit(&server.url(), Look::PHONE, async |page| {
        page.becomes_live().await?;
        eventually("something critical", SOON * 3, async || {
            Ok((page.count(".critical-badge").await? == 1).then_some(()))
        })
        .await?;
        for look in [Look::PHONE, Look::SMALL_PHONE, Look::TABLET] {
            page.look(look).await?;
            let height: f64 = page
                .eval("return document.querySelector('.page-header').offsetHeight;")
                .await?;
            let width = look.width;
            ensure!(height < 100.0, "{width} wide: {height} high");
        }
        page.look(Look::SMALL_PHONE).await?;
        page.goto(&format!("{}/#/operator", server.url())).await?;
        page.shows("Threshold").await?;
        // The views have not all room, and the one that is shown is in sight.
        let seen: bool = page
            .eval(
                "const link = document.querySelector('.page-header [aria-current]').getBoundingClientRect(); \
                 return link.left >= 0 && link.right <= innerWidth;",
            )
            .await?;
        ensure!(seen, "the current view is out of sight");
        // What is not in the header is in the help.
        page.press("body", "?").await?;
        page.choose("Dark").await?;
        eventually("a dark page", SOON, async || {
            let theme: String = page
                .eval("return document.documentElement.dataset.theme;")
                .await?;
            Ok((theme == "dark").then_some(()))
        })
        .await
    })
    .await
}

#[tokio::test]
async fn every_view_fits() -> Result<()> {
    let server = Server::start(BUSY).await?;
    let long = "a_name_of_a_series_that_is_rather_long_for_a_phone";
    server
        .post(
            "/push",
            format!("{long}{{host=\"web-01.example.org\",job=\"a job\"}} 123456.789"),
        )
        .await?;
    let item = format!("{{\"type\":\"{long}\",\"value\":1}}");
    server.post("/metrics/track", item).await?;
    visit(&server.url(), Look::SMALL_PHONE, async |page| {
        for look in [Look::SMALL_PHONE, Look::PHONE.dark(), Look::TABLET] {
            page.look(look).await?;
            for (view, shown) in [
                ("#/", long),
                ("#/explore", long),
                (&format!("#/explore?match={long}&range=7d"), "kept as"),
                ("#/aggregate", "a name of a series"),
                ("#/operator", "Threshold"),
            ] {
                page.goto(&format!("{}/{view}", server.url())).await?;
                page.reload().await?;
                page.shows(shown).await?;
                fits(page, &format!("{view} {} wide", look.width)).await?;
            }
        }
        Ok(())
    })
    .await
}

/// The layout shifts since they are watched for: each with what moved, from where to where.
const WATCH_SHIFTS: &str = "window.shifts = []; \
    const place = r => `${r.x.toFixed(1)},${r.y.toFixed(1)} ${r.width.toFixed(1)}x${r.height.toFixed(1)}`; \
    const name = n => n ? `${n.nodeName.toLowerCase()}.${n.className ?? ''} in .${n.parentElement?.className} ${(n.textContent ?? '').trim().slice(0, 40)}` : 'gone'; \
    new PerformanceObserver(list => { for (const e of list.getEntries()) { \
      window.shifts.push([e.value, e.sources.map(s => `${name(s.node)}: ${place(s.previousRect)} -> ${place(s.currentRect)}`)]); \
    } }).observe({ type: 'layout-shift' });";

/// Ticks that the page has counted.
async fn ticks(page: &Page) -> Result<u64> {
    let text = page.text(".page-footer__counts").await?;
    let count = text.split_whitespace().next();
    let count = count.with_context(|| format!("no count in {text:?}"))?;
    Ok(count.parse()?)
}

#[tokio::test]
async fn figures_that_change_move_nothing() -> Result<()> {
    let server = Server::start(BUSY).await?;
    visit(&server.url(), Look::DESKTOP, async |page| {
        page.becomes_live().await?;
        page.eval::<()>(WATCH_SHIFTS).await?;
        // Long enough for values of one, two and three digits, and for alerts that come and go.
        let first = ticks(page).await?;
        let listed = page.count(".alert").await?;
        eventually(
            "three seconds of figures, and alerts",
            SOON * 2,
            async || {
                let enough = ticks(page).await? >= first + 30;
                Ok((enough && page.count(".alert").await? >= listed + 2).then_some(()))
            },
        )
        .await?;
        let shifts: Vec<(f64, Vec<String>)> = page.eval("return window.shifts;").await?;
        let shifted: f64 = shifts.iter().map(|shift| shift.0).sum();
        ensure!(
            shifted < 0.01,
            "the layout shifted by {shifted}: {shifts:#?}"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn nothing_moves_while_the_page_loads() -> Result<()> {
    let server = Server::start(BUSY).await?;
    for (view, look) in [
        ("", Look::DESKTOP),
        ("", Look::PHONE),
        ("operator", Look::PHONE),
    ] {
        let url = format!("{}/#/{view}", server.url());
        visit_watched(&url, WATCH_SHIFTS, look, async |page| {
            page.becomes_live().await?;
            let first = ticks(page).await?;
            eventually("some ticks", SOON, async || {
                Ok((ticks(page).await? >= first + 5).then_some(()))
            })
            .await?;
            let shifts: Vec<(f64, Vec<String>)> = page.eval("return window.shifts;").await?;
            let shifted: f64 = shifts.iter().map(|shift| shift.0).sum();
            ensure!(
                shifted < 0.05,
                "{view:?} {} wide shifted by {shifted}: {shifts:#?}",
                look.width
            );
            Ok(())
        })
        .await?;
    }
    Ok(())
}
