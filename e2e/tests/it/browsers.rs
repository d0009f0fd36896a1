//! Browsers that are told while no page is open: subscribed with a click, and led to the alert. A
//! push service cannot be reached from here, so what the browser would have of one is made up; its
//! permission and the worker are real. What the worker does is tried with a browser around it that
//! is made up.

use anyhow::{Result, ensure};
use pulseboard_e2e::{Look, Page, Server, visit, visit_watched};
use serde_json::{Value, json};

const ADDRESS: &str = "/#/alerts/receivers";

/// What a browser says once a push service has taken it.
const SUBSCRIBED: &str = "PushManager.prototype.subscribe = async () => ({ toJSON: () => ({ \
    endpoint: 'https://push.example.org/send/1', expirationTime: null, keys: { \
    p256dh: 'BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4', \
    auth: 'BTBZMqHH6r4Tts7J_aSIgg' } }) });";

async fn allow(page: &Page, server: &Server) -> Result<()> {
    let granted = json!({ "origin": server.url(), "permissions": ["notifications"] });
    page.devtools("Browser.grantPermissions", granted).await?;
    Ok(())
}

#[tokio::test]
async fn a_browser_subscribes_is_pushed_to_and_is_forgotten() -> Result<()> {
    let server = Server::start(&["--source", "none"]).await?;
    let address = [&server.url(), ADDRESS].concat();
    visit_watched(&address, SUBSCRIBED, Look::DESKTOP, async |page| {
        page.shows("No browser has subscribed").await?;
        allow(page, &server).await?;
        page.reload().await?;
        page.shows("Tell this browser").await?;
        page.click_button("Tell this browser").await?;
        page.shows("This browser").await?;
        let names = page.texts(".browser .series-name").await?;
        ensure!(names.len() == 1 && names[0].starts_with("Chrome on Linux"), "{names:?}");
        // The worker is the server's own file, looked for anew each time.
        let worker: Value = page
            .eval_async(
                "const done = arguments[0]; navigator.serviceWorker.ready.then(async ready => { \
                 const file = await fetch(ready.active.scriptURL); \
                 done([ready.active.scriptURL, ready.updateViaCache, file.headers.get('cache-control')]); });",
                Vec::new(),
            )
            .await?;
        let script = [&server.url(), "/notifications.js?to=http%3A"].concat();
        let begins = worker[0].as_str().is_some_and(|worker| worker.starts_with(&script));
        ensure!(begins && worker[1] == "none" && worker[2] == "no-cache", "{worker}");
        page.reload().await?;
        page.shows("This browser").await?;
        page.click_button("Forget").await?;
        page.shows("No browser has subscribed").await?;
        page.shows("Tell this browser").await
    })
    .await
}

#[tokio::test]
async fn a_browser_that_cannot_be_told_says_why() -> Result<()> {
    let server = Server::start(&["--source", "none"]).await?;
    let address = [&server.url(), ADDRESS].concat();
    visit_watched(
        &address,
        "delete window.PushManager;",
        Look::PHONE,
        async |page| {
            page.shows("This browser cannot be told while the page is closed")
                .await?;
            ensure!(!page.text(".alerts").await?.contains("Tell this browser"));
            Ok(())
        },
    )
    .await
}

/// The worker's own text, with a browser around it that is made up.
const WORKER: &str = include_str!("../../../frontend/notifications.js");

#[tokio::test]
async fn a_click_leads_to_the_alert_on_a_page_that_is_open_or_a_new_one() -> Result<()> {
    let server = Server::start(&["--source", "none"]).await?;
    visit(&server.url(), Look::DESKTOP, async |page| {
        let before = "const [pages, done] = arguments; const did = []; const heard = {}; \
            const self = { skipWaiting() {}, addEventListener(name, then) { heard[name] = then; }, \
              registration: { scope: 'https://p.example/board/', showNotification: async (title, options) => did.push([title, options.data]) }, \
              clients: { claim: async () => {}, openWindow: async url => did.push(['open', url]), \
                matchAll: async () => pages.map(url => ({ url, navigate: async to => { did.push(['go', to]); return null; }, focus: async () => did.push(['front', url]) })) } };";
        let after = "(async () => { \
            let waited; const event = more => ({ waitUntil(promise) { waited = promise; }, ...more }); \
            heard.push(event({ data: { json: () => ({ title: 'Db', page: '#/alerts/7', url: '' }) } })); await waited; \
            heard.push(event({ data: { json: () => ({ title: 'X', url: 'javascript:alert(1)' }) } })); await waited; \
            heard.push(event({ data: null })); await waited; \
            heard.notificationclick(event({ notification: { close() {}, data: did[0][1] } })); await waited; \
            done(did); })();";
        let script = [before, WORKER, after].concat();
        let shown = json!([
            ["Db", "https://p.example/board/#/alerts/7"],
            ["X", "https://p.example/board/"],
            ["Something changed on Pulseboard", "https://p.example/board/#/alerts"],
        ]);
        for (pages, then) in [
            (json!([]), json!([["open", "https://p.example/board/#/alerts/7"]])),
            (
                json!(["https://other.example/", "https://p.example/board/#/explore"]),
                json!([["go", "https://p.example/board/#/alerts/7"], ["front", "https://p.example/board/#/explore"]]),
            ),
        ] {
            let did: Vec<Value> = page.eval_async(&script, vec![pages.clone()]).await?;
            let expected: Vec<Value> = [&shown, &then].into_iter().filter_map(Value::as_array).flatten().cloned().collect();
            ensure!(did == expected, "{pages}: {did:?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_subscription_that_changes_is_told_to_the_server() -> Result<()> {
    let server = Server::start(&["--source", "none"]).await?;
    visit(&server.url(), Look::DESKTOP, async |page| {
        let before = "const [by_itself, done] = arguments; const did = []; const heard = {}; \
            const fresh = { toJSON: () => ({ endpoint: 'https://push.example/2', expirationTime: null, keys: { p256dh: 'P', auth: 'A' } }) }; \
            const fetch = async (url, how) => { did.push([how.method || 'GET', String(url), how.body || '']); return { ok: true, json: async () => ({ key: 'K' }) }; }; \
            const self = { skipWaiting() {}, addEventListener(name, then) { heard[name] = then; }, \
              location: { href: 'https://p.example/notifications.js?to=https%3A%2F%2Fp.example%2Fapi%2Fbrowsers%3Ftenant%3Dshop&name=Firefox%20on%20Mac' }, \
              registration: { pushManager: { subscribe: async options => { did.push(['subscribe', options.applicationServerKey]); return fresh; } } } };";
        let after = "(async () => { let waited; \
            heard.pushsubscriptionchange({ waitUntil(promise) { waited = promise; }, \
              oldSubscription: { endpoint: 'https://push.example/1' }, newSubscription: by_itself ? fresh : null }); \
            await waited; done(did); })();";
        let script = [before, WORKER, after].concat();
        let all = "https://p.example/api/browsers?tenant=shop";
        let asked = [json!(["GET", all, ""]), json!(["subscribe", "K"])];
        let told = [
            // The beginning of the SHA-256 of the old address.
            json!(["DELETE", "https://p.example/api/browsers/5ba15fff965f44afa55aa4fa?tenant=shop", ""]),
            json!(["POST", all, r#"{"name":"Firefox on Mac","endpoint":"https://push.example/2","keys":{"p256dh":"P","auth":"A"}}"#]),
        ];
        for (by_itself, expected) in [(true, told.to_vec()), (false, [asked, told.clone()].concat())] {
            let did: Vec<Value> = page.eval_async(&script, vec![json!(by_itself)]).await?;
            ensure!(did == expected, "{by_itself}: {did:?}");
        }
        Ok(())
    })
    .await
}
