//! Questions in PromQL: typed with completion, answered as lines, tables and values, and wrong ones
//! underlined.

use anyhow::{Result, ensure};
use pulseboard_e2e::{Look, Page, SOON, Server, eventually, visit};

use crate::BUSY;

const FIELD: &str = ".expression__text";

async fn pushed() -> Result<Server> {
    let server = Server::start(BUSY).await?;
    for value in 1..6 {
        let lines = format!(
            "jobs_done_total{{queue=\"mail\"}} {value}\njobs_done_total{{queue=\"print\"}} {}\nqueue_depth 4{value}",
            value * 2
        );
        server.post("/push", lines).await?;
    }
    Ok(server)
}

async fn hash(page: &Page) -> Result<String> {
    page.eval("return location.hash;").await
}

#[tokio::test]
async fn what_is_typed_is_completed_and_answered() -> Result<()> {
    let server = pushed().await?;
    visit(
        &format!("{}/#/explore", server.url()),
        Look::DESKTOP,
        async |page| {
            page.fill(FIELD, "max_over_time(jobs_d").await?;
            page.shows("jobs_done_total").await?;
            page.press(FIELD, "\u{e004}").await?;
            page.press(FIELD, "{qu").await?;
            eventually("the label is offered", SOON, async || {
                Ok((page.texts(".offers__text").await? == ["queue"]).then_some(()))
            })
            .await?;
            page.press(FIELD, "\u{e004}").await?;
            page.press(FIELD, "ma").await?;
            eventually("its value is offered", SOON, async || {
                Ok((page.texts(".offers__text").await? == ["mail"]).then_some(()))
            })
            .await?;
            page.press(FIELD, "\u{e004}").await?;
            page.press(FIELD, "}[5m])\u{e007}").await?;
            eventually("one line", SOON, async || {
                Ok((page.texts(".legend__button").await? == ["{queue=\"mail\"}"]).then_some(()))
            })
            .await?;
            ensure!(
                hash(page).await?
                    == "#/explore?expr=max_over_time%28jobs_done_total%7Bqueue%3D%22mail%22%7D%5B5m%5D%29&range=15m"
            );
            page.choose("Values now").await?;
            eventually("the value", SOON, async || {
                Ok((page.texts(".questions__table td").await? == ["5"]).then_some(()))
            })
            .await?;
            ensure!(hash(page).await?.contains("&form=values&"));
            page.choose("Table").await?;
            page.shows("moments").await
        },
    )
    .await
}

#[tokio::test]
async fn a_counter_is_shown_as_its_rate_and_a_line_alone() -> Result<()> {
    let server = pushed().await?;
    visit(
        &format!("{}/#/explore?expr=jobs_done_total&range=5m", server.url()),
        Look::PHONE,
        async |page| {
            page.shows("A counter, shown as its rate over 1m").await?;
            page.click_button("Show the counter itself").await?;
            eventually("two lines, the greater first", SOON, async || {
                let lines = page.texts(".legend__button").await?;
                let expected = [
                    "jobs_done_total{queue=\"print\"}",
                    "jobs_done_total{queue=\"mail\"}",
                ];
                Ok((lines == expected).then_some(()))
            })
            .await?;
            ensure!(hash(page).await? == "#/explore?expr=jobs_done_total&raw=1&range=5m");
            page.click(".legend__button").await?;
            eventually("the other line is hidden", SOON, async || {
                let hidden: u32 = page
                    .eval("return document.querySelectorAll('tr.is-hidden').length;")
                    .await?;
                Ok((hidden == 1).then_some(()))
            })
            .await
        },
    )
    .await
}

#[tokio::test]
async fn what_is_wrong_is_underlined() -> Result<()> {
    let server = pushed().await?;
    visit(
        &format!("{}/#/explore?expr=sum(queue_depth))", server.url()),
        Look::DESKTOP,
        async |page| {
            page.expects_errors("400");
            eventually("the underline", SOON, async || {
                Ok((page.texts(".expression__wrong").await? == [")"]).then_some(()))
            })
            .await?;
            page.press(FIELD, "\u{e003}\u{e007}").await?;
            eventually("an answer", SOON, async || {
                let is_answered = page.count(".legend__button").await? == 1
                    && page.count(".expression__wrong").await? == 0;
                Ok(is_answered.then_some(()))
            })
            .await?;
            page.click(".questions__remove").await?;
            page.shows("1–").await?;
            ensure!(hash(page).await? == "#/explore");
            Ok(())
        },
    )
    .await
}
