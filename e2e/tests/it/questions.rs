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

/// Questions about an expression that the page has asked so far.
async fn asked(page: &Page) -> Result<usize> {
    page.eval(
        "return performance.getEntriesByType('resource') \
             .filter(file => /\\/api\\/v1\\/query/.test(file.name)).length;",
    )
    .await
}

#[tokio::test]
async fn what_is_asked_follows_without_being_asked_again() -> Result<()> {
    let server = pushed().await?;
    let address = format!("{}/#/explore?expr=queue_depth*2&form=values", server.url());
    visit(&address, Look::DESKTOP, async |page| {
        let value_becomes = async |value: &'static str| {
            eventually(value, SOON, async || {
                Ok((page.texts(".questions__table td").await? == [value]).then_some(()))
            })
            .await
        };
        value_becomes("90").await?;
        // Once it is live nothing is asked for a while.
        let mut before = asked(page).await?;
        eventually(
            "nothing is asked between two values",
            SOON * 2,
            async || {
                let depth = 100 + before;
                server.post("/push", format!("queue_depth {depth}")).await?;
                let shown = (2 * depth).to_string();
                eventually("the value", SOON, async || {
                    Ok(
                        (page.texts(".questions__table td").await? == [shown.as_str()])
                            .then_some(()),
                    )
                })
                .await?;
                let now = asked(page).await?;
                let is_live = now == before;
                before = now;
                Ok(is_live.then_some(()))
            },
        )
        .await?;
        for depth in ["7", "8", "9", "10"] {
            server.post("/push", format!("queue_depth {depth}")).await?;
            value_becomes(match depth {
                "7" => "14",
                "8" => "16",
                "9" => "18",
                _ => "20",
            })
            .await?;
        }
        ensure!(asked(page).await? == before, "it was asked again");
        // As a chart, too, the newest value is there, and a series that comes is a line.
        page.choose("Chart").await?;
        eventually("one line", SOON, async || {
            Ok((page.count(".legend__button").await? == 1).then_some(()))
        })
        .await?;
        server
            .post("/push", "queue_depth{instance=\"two\"} 3")
            .await?;
        eventually("a second line", SOON, async || {
            Ok((page.count(".legend__button").await? == 2).then_some(()))
        })
        .await
    })
    .await
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

#[tokio::test]
async fn what_is_usual_is_drawn_and_alerted_on() -> Result<()> {
    let server = pushed().await?;
    let address = format!("{}/#/explore?expr=queue_depth", server.url());
    visit(&address, Look::DESKTOP, async |page| {
        page.shows("Usual range").await?;
        page.click_button("Usual range").await?;
        page.shows("Alert when it is unusual").await?;
        let asked = hash(page).await?;
        ensure!(asked.matches("expr=").count() == 3, "{asked}");
        // Nothing is kept of yesterday, and that is said.
        page.shows("Nothing is known of the same time of earlier days")
            .await?;
        page.eval::<()>(
            "[...document.querySelectorAll('.questions a')] \
               .find(link => link.textContent.includes('unusual')).click();",
        )
        .await?;
        page.shows("Rehearsal").await?;
        let expression: String = page
            .eval(&format!("return document.querySelector('{FIELD}').value;"))
            .await?;
        ensure!(
            expression.starts_with("abs((queue_depth) - quantile without (days_ago)"),
            "{expression}"
        );
        Ok(())
    })
    .await
}
