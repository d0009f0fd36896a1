//! What opening the page costs, and keeping it open: `cargo xtask bench page`.
//!
//! Servers are given as `NAME=PROGRAM`. All are loaded in turn, round by round, so that what else
//! the machine does hits them alike; then each is looked at for some seconds with ticks of 100 ms
//! and the charts full. Everything has a bound: rounds, seconds, and what is waited for.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use pulseboard_e2e::{Look, Page, SOON, Server, eventually, visit, visit_watched};

/// Fresh browsers for each server, unless said otherwise; an odd number has a middle.
const ROUNDS: usize = 7;

/// Ticks of 100 ms, and a window of five minutes.
const BUSY: &[&str] = &[
    "--source",
    "simulator",
    "--metric-interval-ms",
    "100",
    "--window-size",
    "3000",
];

/// As a server is started that nobody tells otherwise.
const USUAL: &[&str] = &["--source", "simulator"];

/// How long data is gathered before the busy page is looked at, unless said otherwise.
const DATA: Duration = Duration::from_secs(300);

/// The page is left alone for this long before it is measured, and each figure is taken over the
/// second.
const SETTLE: Duration = Duration::from_secs(5);
const MEASURE: Duration = Duration::from_secs(10);

/// Runs in the page before anything of it does: the time of the first frame that has a figure.
const WATCH: &str = "(() => {
  const look = () => {
    const shown = document.querySelector('.metric-card .value:not(.is-unknown)');
    if (shown && /[0-9]/.test(shown.textContent)) {
      // After this frame's painting.
      const channel = new MessageChannel();
      channel.port1.onmessage = () => { window.firstFigure = performance.now(); };
      channel.port2.postMessage(0);
    } else {
      requestAnimationFrame(look);
    }
  };
  requestAnimationFrame(look);
})();";

const LOADED: &str = "
  const files = performance.getEntriesByType('resource');
  const page = performance.getEntriesByType('navigation')[0];
  const all = [page, ...files];
  const paint = performance.getEntriesByName('first-contentful-paint')[0];
  return [
    all.reduce((sum, file) => sum + file.encodedBodySize, 0),
    all.length,
    paint ? paint.startTime : -1,
    window.firstFigure ?? -1,
  ];";

struct Candidate {
    name: String,
    program: PathBuf,
    /// One list a figure: bytes, requests, first paint, first figure.
    loads: [Vec<f64>; 4],
}

#[tokio::main]
async fn main() -> Result<()> {
    let (mut rounds, mut data, mut candidates) = (ROUNDS, DATA, Vec::new());
    for word in std::env::args().skip(1) {
        match word.split_once('=') {
            Some(("--rounds", count)) => rounds = count.parse::<usize>()?.clamp(1, 99),
            Some(("--data", seconds)) => {
                data = Duration::from_secs(seconds.parse::<u64>()?.min(900));
            }
            Some((name, program)) => candidates.push(Candidate {
                name: name.to_owned(),
                program: program.into(),
                loads: Default::default(),
            }),
            None => bail!("{word:?} is neither NAME=PROGRAM nor --rounds=N nor --data=S"),
        }
    }
    ensure!(!candidates.is_empty(), "say what is to be measured");

    // They gather data while the others are loaded.
    let began = Instant::now();
    let mut busy = Vec::new();
    for candidate in &candidates {
        busy.push(Server::start_program(&candidate.program, BUSY).await?);
    }
    load(&mut candidates, rounds).await?;
    let mut out = String::from(
        "| page | first load | requests | first paint | first figure |\n|---|---:|---:|---:|---:|\n",
    );
    for candidate in &mut candidates {
        let [bytes, requests, paint, figure] = candidate.loads.each_mut().map(median);
        let name = &candidate.name;
        out.push_str(&format!(
            "| {name} | {bytes:.0} B | {requests:.0} | {paint:.0} ms | {figure:.0} ms |\n"
        ));
    }
    out.push_str(
        "\n| page, ticks of 100 ms | data | main thread | frames | sample to paint p50 / p99 |\n|---|---:|---:|---:|---:|\n",
    );
    tokio::time::sleep(data.saturating_sub(began.elapsed())).await;
    for (candidate, server) in candidates.iter().zip(&busy) {
        let held = began.elapsed().as_secs().min(300);
        let (thread, frames, paint) = hold(server).await?;
        let name = &candidate.name;
        out.push_str(&format!(
            "| {name} | {held} s | {thread:.0} ms/s | {frames:.0} /s | {paint} |\n"
        ));
    }
    tell(&out)
}

/// To standard output, where `xtask` and people look for it.
fn tell(text: &str) -> Result<()> {
    use std::io::Write as _;
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("standard output is closed")
}

async fn load(candidates: &mut [Candidate], rounds: usize) -> Result<()> {
    for candidate in &mut *candidates {
        // One for all rounds, with a window that is full enough to have figures.
        let server = Server::start_program(&candidate.program, USUAL).await?;
        eventually("figures", SOON, async || {
            let recent = server.get("/api/metrics/recent?count=1").await?;
            Ok(recent
                .as_array()
                .is_some_and(|all| !all.is_empty())
                .then_some(()))
        })
        .await?;
        for _ in 0..rounds {
            let figures: [f64; 4] =
                visit_watched(&server.url(), WATCH, Look::DESKTOP, async |page| {
                    page.becomes_live().await?;
                    let figures: [f64; 4] = eventually("the first figure", SOON, async || {
                        let figures: [f64; 4] = page.eval(LOADED).await?;
                        Ok((figures[3] > 0.0).then_some(figures))
                    })
                    .await?;
                    Ok(figures)
                })
                .await?;
            for (all, figure) in candidate.loads.iter_mut().zip(figures) {
                all.push(figure);
            }
        }
    }
    Ok(())
}

/// Milliseconds a second of the main thread, frames a second, and the page's own freshness.
async fn hold(server: &Server) -> Result<(f64, f64, String)> {
    let mut result = None;
    visit(&server.url(), Look::DESKTOP, async |page| {
        page.becomes_live().await?;
        page.choose("5 min").await?;
        tokio::time::sleep(SETTLE).await;
        let (busy_s, over_s) = (main_thread_s(page).await?, Instant::now());
        tokio::time::sleep(MEASURE).await;
        let thread =
            (main_thread_s(page).await? - busy_s) * 1_000.0 / over_s.elapsed().as_secs_f64();
        let frames: f64 = page
            .eval_async(
                "const [ms, done] = arguments; let frames = 0; const began = performance.now(); \
                 const next = now => { frames += 1; \
                     if (now - began < ms) { requestAnimationFrame(next); } \
                     else { done(frames * 1000 / (now - began)); } }; \
                 requestAnimationFrame(next);",
                vec![5_000.into()],
            )
            .await?;
        let freshness = page.texts(".freshness__figures").await?;
        let freshness = freshness.first().cloned().unwrap_or_else(|| "–".to_owned());
        result = Some((thread, frames, freshness));
        Ok(())
    })
    .await?;
    result.context("nothing was measured")
}

/// How long the page's main thread has been busy, in seconds.
async fn main_thread_s(page: &Page) -> Result<f64> {
    let metrics = page.metrics().await?;
    let found = metrics.iter().find(|(name, _)| name == "TaskDuration");
    Ok(found.context("the browser does not say how busy it was")?.1)
}

#[expect(clippy::ptr_arg, reason = "it is handed to what takes such a function")]
fn median(values: &mut Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
