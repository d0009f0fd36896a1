//! The talk between two pages.

use anyhow::{Result, ensure};
use pulseboard_e2e::{Look, Page, SOON, Server, eventually, visit};

async fn hears(page: &Page, text: &str) -> Result<()> {
    eventually(&format!("the chat shows {text:?}"), SOON, async || {
        let lines = page.texts(".chat__text").await?;
        Ok(lines.iter().any(|line| line == text).then_some(()))
    })
    .await
}

async fn says(page: &Page, text: &str) -> Result<()> {
    page.fill("input[name=chat-text]", text).await?;
    page.click_button("Send").await
}

#[tokio::test]
async fn two_pages_talk_and_markup_is_text() -> Result<()> {
    let server = Server::start(&[]).await?;
    visit(&server.url(), Look::DESKTOP, async |ada| {
        visit(&server.url(), Look::DESKTOP, async |bob| {
            for page in [ada, bob] {
                page.click("#chat-button").await?;
                hears(page, "Welcome to the chat!").await?;
            }
            hears(ada, "A new user joined").await?;
            ada.fill("input[name=chat-name]", "Ada").await?;
            says(ada, "<b>hello</b>").await?;
            hears(ada, "<b>hello</b>").await?;
            hears(bob, "<b>hello</b>").await?;
            ensure!(bob.texts(".chat__user").await? == ["Ada"]);
            ensure!(
                bob.count(".chat b").await? == 0,
                "markup was taken for markup"
            );

            // Closed, it counts what is said meanwhile.
            bob.click_button("Close chat").await?;
            says(ada, "are you there?").await?;
            eventually("one is unread", SOON, async || {
                let text = bob.texts(".chat-button__unread").await?;
                Ok(text.iter().any(|text| text.starts_with('1')).then_some(()))
            })
            .await?;
            bob.click("#chat-button").await?;
            hears(bob, "are you there?").await?;

            // Another room is another talk.
            bob.fill("input[name=chat-room]", "night").await?;
            bob.click_button("Join").await?;
            hears(bob, "Joined room: night").await?;
            says(bob, "alone here").await?;
            ensure!(
                !ada.texts(".chat__text")
                    .await?
                    .contains(&"alone here".to_owned())
            );
            Ok(())
        })
        .await
    })
    .await
}
