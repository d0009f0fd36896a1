//! The page's hooks and components in a real browser, against sockets and streams that the tests
//! hold in their hands.

#![cfg(target_arch = "wasm32")]

use gloo_timers::future::TimeoutFuture;
use pulseboard_frontend::{
    app::App,
    hooks::{
        ChannelEvent, Kind, use_alert_stream, use_channel, use_metrics_socket, use_rooms_socket,
        use_session,
    },
    net::{config::Endpoint, feed::View, transport::Transport},
    pages::OperatorView,
    stores::connection::ConnectionStore,
};
use pulseboard_shared::{
    Alert, AlertState, BUILT_IN, Labels, Metric, Severity, Timestamp,
    protocol::metrics::{ServerMessage, Snapshot, Tick},
};
use wasm_bindgen::{JsCast, prelude::wasm_bindgen};
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};
use web_sys::{Element, HtmlElement};
use yew::prelude::*;
use yewdux::{YewduxRoot, prelude::use_dispatch};

wasm_bindgen_test_configure!(run_in_browser);

#[wasm_bindgen(module = "/tests/web/fakes.js")]
extern "C" {
    /// Puts fakes in the place of `WebSocket`, `EventSource` and `fetch`; forgets all before.
    fn install();
    /// Who the server takes the page for, from here on; `admin` without a token at first.
    fn be(role: &str, anonymous: bool);
    /// Addresses opened so far, one a line, of `"socket"` or `"stream"`.
    fn opened(kind: &str) -> String;
    /// How many of them are open now.
    fn open_now(kind: &str) -> u32;
    /// The next request to the server is answered with this text.
    fn answer(text: &str);
    /// What the server says of what came in, and of its disk.
    fn ingest(text: &str);
    /// Whether the tab is in the background, from here on.
    fn hide(hidden: bool);
    /// The newest one opens.
    fn accept(kind: &str);
    /// The newest one receives an event.
    fn deliver(kind: &str, event: &str, data: &str, id: &str);
    /// The newest socket is closed by its server.
    fn hang_up(code: u16);
    /// The newest of `"socket"` or `"rooms"` is.
    fn hang_up_on(kind: &str, code: u16);
    /// What the newest socket was sent, one message a line.
    fn sent() -> String;
    /// What the newest of `"socket"` or `"rooms"` was.
    fn said(kind: &str) -> String;
    /// WebAssembly that the browser calls next ends in a trap.
    fn trap();
    /// The browser reports an error that is no trap.
    fn stumble();
}

/// Waits until `holds`, for at most four seconds.
async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..200 {
        if holds() {
            return;
        }
        TimeoutFuture::new(20).await;
    }
    panic!("not within four seconds: {what}");
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

/// A fresh element in the document.
fn root() -> Element {
    let document = gloo::utils::document();
    let root = document.create_element("div").expect("an element");
    document
        .body()
        .expect("a body")
        .append_child(&root)
        .expect("appended");
    root
}

fn endpoint(host: &str) -> Endpoint {
    Endpoint::resolve(&format!("http://{host}"), "http://page.test").expect("an address")
}

#[derive(Clone, PartialEq, Properties)]
struct HookProps {
    endpoint: Endpoint,
}

#[component]
fn SocketUser(HookProps { endpoint }: &HookProps) -> Html {
    let _nudge = use_metrics_socket(endpoint.clone());
    Html::default()
}

#[component]
fn AlertUser(HookProps { endpoint }: &HookProps) -> Html {
    use_rooms_socket(endpoint.clone(), 0);
    use_alert_stream(endpoint.clone());
    Html::default()
}

/// The same where sockets have been found not to open.
#[component]
fn StreamUser(HookProps { endpoint }: &HookProps) -> Html {
    let connection = use_dispatch::<ConnectionStore>();
    use_effect_with((), move |()| {
        connection.reduce_mut(|store| {
            store.show(View {
                transport: Transport::Events,
                ..View::default()
            });
        });
    });
    use_alert_stream(endpoint.clone());
    Html::default()
}

// Each test has stores of its own.

#[component]
fn SocketPage(HookProps { endpoint }: &HookProps) -> Html {
    html! { <YewduxRoot><SocketUser endpoint={endpoint.clone()} /></YewduxRoot> }
}

#[component]
fn AlertPage(HookProps { endpoint }: &HookProps) -> Html {
    html! { <YewduxRoot><AlertUser endpoint={endpoint.clone()} /></YewduxRoot> }
}

#[component]
fn StreamPage(HookProps { endpoint }: &HookProps) -> Html {
    html! { <YewduxRoot><StreamUser endpoint={endpoint.clone()} /></YewduxRoot> }
}

#[component]
fn ChannelUser(HookProps { endpoint }: &HookProps) -> Html {
    let heard = use_state(String::new);
    let on_heard = {
        let heard = heard.clone();
        Callback::from(move |ChannelEvent { event, data }: ChannelEvent| {
            heard.set(format!("{event} {data}"))
        })
    };
    let channel = use_channel(endpoint.clone(), "/ws/chat".into(), Kind::Socket, on_heard);
    html! { <p class="heard">{ format!("{:?} {}", channel.state, *heard) }</p> }
}

#[component]
fn ChannelPage(HookProps { endpoint }: &HookProps) -> Html {
    html! { <YewduxRoot><ChannelUser endpoint={endpoint.clone()} /></YewduxRoot> }
}

#[component]
fn OperatorUser(HookProps { endpoint }: &HookProps) -> Html {
    use_session(endpoint);
    use_rooms_socket(endpoint.clone(), 0);
    html! { <OperatorView endpoint={endpoint.clone()} /> }
}

#[component]
fn OperatorPage(HookProps { endpoint }: &HookProps) -> Html {
    html! { <YewduxRoot><OperatorUser endpoint={endpoint.clone()} /></YewduxRoot> }
}

#[component]
fn WholePage() -> Html {
    html! { <YewduxRoot><App /></YewduxRoot> }
}

#[wasm_bindgen_test]
async fn the_socket_opens_once_and_closes_with_its_component() {
    install();
    let props = HookProps {
        endpoint: endpoint("one.test"),
    };
    let mut app = yew::Renderer::<SocketPage>::with_root_and_props(root(), props.clone()).render();
    until("a socket is opened", || open_now("socket") == 1).await;
    assert_eq!(
        lines(&opened("socket")),
        ["ws://one.test/ws/metrics?encoding=bin"]
    );

    app.update(props);
    TimeoutFuture::new(50).await;
    assert_eq!(
        lines(&opened("socket")).len(),
        1,
        "the same address is left alone"
    );

    app.update(HookProps {
        endpoint: endpoint("two.test"),
    });
    until("the other socket is opened", || {
        lines(&opened("socket")).len() == 2
    })
    .await;
    assert_eq!(open_now("socket"), 1, "the first one is closed");
    assert_eq!(
        lines(&opened("socket"))[1],
        "ws://two.test/ws/metrics?encoding=bin"
    );

    app.destroy();
    until("the socket is closed", || open_now("socket") == 0).await;
    TimeoutFuture::new(700).await;
    assert_eq!(
        lines(&opened("socket")).len(),
        2,
        "nothing reconnects after the end"
    );
}

#[wasm_bindgen_test]
async fn alerts_are_followed_on_the_rooms_socket_and_gone_on_with_behind_the_newest() {
    install();
    let props = HookProps {
        endpoint: endpoint("one.test"),
    };
    let app = yew::Renderer::<AlertPage>::with_root_and_props(root(), props).render();
    until("a socket is opened", || open_now("rooms") == 1).await;
    assert_eq!(opened("rooms"), "ws://one.test/ws");
    accept("rooms");
    until("alerts are followed", || {
        said("rooms").contains(r#"{"action":"follow","feed":"alerts"}"#)
    })
    .await;
    assert_eq!(
        opened("stream"),
        "",
        "a browser has six of them for all tabs"
    );

    deliver(
        "rooms",
        "message",
        &event("alerts", "message", "7", &alert(1, AlertState::Firing)),
        "",
    );
    hang_up_on("rooms", 1006);
    until("it is opened again", || lines(&opened("rooms")).len() == 2).await;
    accept("rooms");
    until("what was missed is asked for", || {
        said("rooms").contains(r#"{"action":"follow","feed":"alerts","last_event_id":"7"}"#)
    })
    .await;
    app.destroy();
    until("it is closed", || open_now("rooms") == 0).await;
}

#[wasm_bindgen_test]
async fn without_sockets_a_stream_of_alerts_opens_once_and_closes_with_its_component() {
    install();
    let props = HookProps {
        endpoint: endpoint("one.test"),
    };
    let mut app = yew::Renderer::<StreamPage>::with_root_and_props(root(), props.clone()).render();
    until("a stream is opened", || open_now("stream") == 1).await;
    assert_eq!(lines(&opened("stream")), ["http://one.test/events/alerts"]);

    app.update(props);
    TimeoutFuture::new(50).await;
    assert_eq!(lines(&opened("stream")).len(), 1);

    app.update(HookProps {
        endpoint: endpoint("two.test"),
    });
    until("the other stream is opened", || {
        lines(&opened("stream")).len() == 2
    })
    .await;
    assert_eq!(open_now("stream"), 1);

    app.destroy();
    until("the stream is closed", || open_now("stream") == 0).await;
    TimeoutFuture::new(700).await;
    assert_eq!(lines(&opened("stream")).len(), 2);
}

#[wasm_bindgen_test]
async fn a_channel_opens_once_comes_back_and_closes_with_its_component() {
    install();
    let page = Page { root: root() };
    let props = HookProps {
        endpoint: endpoint("one.test"),
    };
    let mut app =
        yew::Renderer::<ChannelPage>::with_root_and_props(page.root.clone(), props.clone())
            .render();
    until("a socket is opened", || open_now("socket") == 1).await;
    assert_eq!(lines(&opened("socket")), ["ws://one.test/ws/chat"]);
    accept("socket");
    deliver("socket", "message", "hello", "");
    until("it is heard", || {
        page.text(".heard") == "Open message hello"
    })
    .await;
    app.update(props);
    TimeoutFuture::new(50).await;
    assert_eq!(lines(&opened("socket")).len(), 1);

    hang_up(1006);
    until("it is opened again", || lines(&opened("socket")).len() == 2).await;
    accept("socket");
    until("it is open", || page.text(".heard").starts_with("Open ")).await;

    // Not allowed any more: nothing is tried.
    hang_up(1008);
    until("it is refused", || {
        page.text(".heard").starts_with("Refused")
    })
    .await;
    TimeoutFuture::new(1_200).await;
    assert_eq!(lines(&opened("socket")).len(), 2);
    app.destroy();
    assert_eq!(open_now("socket"), 0);
}

const FIGURES: &str = r#"{"cpu_percent":87.34,"memory_percent":41.0,"requests_total":7,
    "errors_total":1,"active_connections":1,"alert_threshold":80.0}"#;

#[wasm_bindgen_test]
async fn the_operators_view_shows_what_the_contract_names() {
    install();
    let page = Page { root: root() };
    let props = HookProps {
        endpoint: endpoint("one.test"),
    };
    let app = yew::Renderer::<OperatorPage>::with_root_and_props(page.root.clone(), props).render();
    until("rooms and control are opened", || {
        open_now("rooms") == 1 && open_now("socket") == 1
    })
    .await;
    assert_eq!(opened("socket"), "ws://one.test/ws/control");
    accept("rooms");
    accept("socket");
    until("figures are followed", || {
        said("rooms").contains(r#"{"action":"follow","feed":"operator"}"#)
    })
    .await;
    let figures = |name, id, data| {
        deliver("rooms", "message", &event("operator", name, id, data), "");
    };
    figures("config", "", r#"{"interval_ms":1000}"#);
    figures("metrics", "7", FIGURES);
    until("figures are shown", || {
        page.text(".figure .value") == "87.3"
    })
    .await;
    assert_eq!(
        page.texts(".figure h3"),
        [
            "CPU",
            "Memory",
            "Requests",
            "Errors",
            "Connections",
            "Threshold"
        ]
    );
    assert_eq!(page.text(".figure.warn h3"), "CPU");
    assert_eq!(page.text(".figure.ok h3"), "Memory");

    page.element("button[type=button]").click();
    until("the command is sent", || {
        sent() == r#"{"command":"reset_counters"}"#
    })
    .await;
    deliver(
        "socket",
        "message",
        r#"{"message":"<b>Counters</b> reset"}"#,
        "",
    );
    figures("alert", "8", r#""CPU usage at 87.3%""#);
    until("both are in the log", || page.texts(".log li").len() == 2).await;
    let log = page.texts(".log li");
    assert!(log[0].ends_with("] CPU usage at 87.3%"), "{log:?}");
    assert!(log[1].ends_with("] <b>Counters</b> reset"), "{log:?}");
    assert!(log[1].starts_with('['), "{log:?}");

    // What is lost is gone on with behind the newest event.
    hang_up_on("rooms", 1006);
    until("the socket is opened again", || {
        lines(&opened("rooms")).len() == 2
    })
    .await;
    accept("rooms");
    until("what was missed is asked for", || {
        said("rooms").contains(r#""feed":"operator","last_event_id":"8"}"#)
    })
    .await;
    assert_eq!(opened("stream"), "");
    app.destroy();
    until("both are closed", || {
        open_now("rooms") + open_now("socket") == 0
    })
    .await;
}

#[wasm_bindgen_test]
async fn a_viewer_gets_figures_and_no_commands() {
    install();
    be("viewer", true);
    let page = Page { root: root() };
    let props = HookProps {
        endpoint: endpoint("one.test"),
    };
    let app = yew::Renderer::<OperatorPage>::with_root_and_props(page.root.clone(), props).render();
    until("it is said", || {
        page.text(".operator__refused") == "Commands need the role operator; yours is viewer."
    })
    .await;
    assert_eq!((open_now("rooms"), opened("socket").as_str()), (1, ""));
    app.destroy();
}

#[wasm_bindgen_test]
async fn a_page_that_may_read_nothing_asks_for_a_token_and_tries_nothing() {
    install();
    be("none", true);
    let page = Page { root: root() };
    let app = yew::Renderer::<WholePage>::with_root(page.root.clone()).render();
    until("the login is shown", || page.text(".login h2") == "Log in").await;
    TimeoutFuture::new(1_200).await;
    assert_eq!(opened("socket"), "");
    assert_eq!(opened("rooms"), "");
    assert_eq!(opened("stream"), "");
    assert_eq!(page.texts(".metric-card").len(), 0);
    app.destroy();
}

#[wasm_bindgen_test]
async fn what_was_opened_in_the_background_is_loaded_once_it_is_in_front() {
    install();
    hide(true);
    let page = Page { root: root() };
    let app = yew::Renderer::<WholePage>::with_root(page.root.clone()).render();
    until("the page is there", || open_now("socket") == 1).await;
    TimeoutFuture::new(100).await;
    assert_eq!(page.text(".fresh__empty"), "Loading…");
    hide(false);
    until("the list is there", || {
        page.text(".fresh__empty").starts_with("Nothing pushed yet")
    })
    .await;
    app.destroy();
}

#[wasm_bindgen_test]
async fn a_disk_that_fails_is_said_on_the_page() {
    install();
    ingest(
        r#"{"refused":{"too_old":3},"warning":"the history cannot be written (disk full); what comes is kept in memory alone"}"#,
    );
    let page = Page { root: root() };
    let app = yew::Renderer::<WholePage>::with_root(page.root.clone()).render();
    until("it is said", || {
        page.text(".notice")
            == "The history cannot be written (disk full); what comes is kept in memory alone"
    })
    .await;
    app.destroy();
}

#[wasm_bindgen_test]
async fn the_socket_comes_back_with_its_cursor() {
    install();
    let props = HookProps {
        endpoint: endpoint("one.test"),
    };
    let app = yew::Renderer::<SocketPage>::with_root_and_props(root(), props).render();
    until("a socket is opened", || open_now("socket") == 1).await;
    accept("socket");
    deliver("socket", "message", &initial("e&1", 30), "");
    hang_up(1006);
    until("it is opened again", || lines(&opened("socket")).len() == 2).await;
    assert_eq!(
        lines(&opened("socket"))[1],
        "ws://one.test/ws/metrics?epoch=e%261&offset=30&encoding=bin"
    );
    app.destroy();
}

#[wasm_bindgen_test]
async fn the_stream_comes_back_after_its_newest_event() {
    install();
    let props = HookProps {
        endpoint: endpoint("one.test"),
    };
    let app = yew::Renderer::<StreamPage>::with_root_and_props(root(), props).render();
    until("a stream is opened", || open_now("stream") == 1).await;
    accept("stream");
    deliver("stream", "message", &alert(1, AlertState::Firing), "e:7");
    deliver("stream", "error", "", "");
    until("it is opened again", || lines(&opened("stream")).len() == 2).await;
    assert_eq!(
        lines(&opened("stream"))[1],
        "http://one.test/events/alerts?last-event-id=e%3A7"
    );
    assert_eq!(open_now("stream"), 1);
    app.destroy();
}

/// An event of a feed, as the rooms' socket brings it.
fn event(feed: &str, name: &str, id: &str, data: &str) -> String {
    format!(r#"{{"type":"feed","feed":"{feed}","event":"{name}","id":"{id}","data":{data}}}"#)
}

fn now_ms() -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "Unix ms")]
    let now = js_sys::Date::now() as i64;
    now
}

fn samples(t_ms: i64, value: f64) -> impl Iterator<Item = Metric> {
    BUILT_IN.into_iter().map(move |metric| Metric {
        name: metric.name().into(),
        value,
        unit: metric.unit().into(),
        timestamp: Timestamp::from_millis(t_ms),
        labels: Labels::new(),
    })
}

/// Ticks `1..=last` of a second each, the newest of now; their figures are 1, 2, 3, …
fn initial(epoch: &str, last: u32) -> String {
    let now = now_ms();
    let message = ServerMessage::Initial(Snapshot {
        epoch: epoch.into(),
        offset: u64::from(last),
        window: 60,
        interval_ms: 1000,
        sent_ms: now,
        data: (1..=last)
            .flat_map(|tick| samples(now - i64::from(last - tick) * 1000, f64::from(tick)))
            .collect(),
    });
    serde_json::to_string(&message).expect("JSON")
}

fn tick(epoch: &str, offset: u32, value: f64) -> String {
    let now = now_ms();
    let message = ServerMessage::Metrics(Tick {
        epoch: epoch.into(),
        offset: u64::from(offset),
        sampled_ms: now,
        sent_ms: now,
        data: samples(now, value).collect(),
    });
    serde_json::to_string(&message).expect("JSON")
}

fn alert(incident: u8, state: AlertState) -> String {
    let id = format!("0193a5b2-0000-7000-8000-0000000000{incident:02}");
    let alert = Alert {
        id: id.parse().expect("a UUID"),
        message: "CPU usage critical: 93.4%".into(),
        severity: Severity::Critical,
        timestamp: Timestamp::from_millis(now_ms()),
        incident: id.parse().expect("a UUID"),
        rule: "cpu_high".into(),
        state,
        value: 93.4,
        threshold: 90.0,
        started: Timestamp::from_millis(now_ms() - 5_000),
        labels: Labels::new(),
    };
    serde_json::to_string(&alert).expect("JSON")
}

/// The page as mounted by a test.
struct Page {
    root: Element,
}

impl Page {
    /// Every text that `selector` finds, in the order of the document.
    fn texts(&self, selector: &str) -> Vec<String> {
        let found = self.root.query_selector_all(selector).expect("a selector");
        (0..found.length())
            .filter_map(|index| found.get(index)?.text_content())
            .collect()
    }

    fn text(&self, selector: &str) -> String {
        self.texts(selector).into_iter().next().unwrap_or_default()
    }

    fn element(&self, selector: &str) -> HtmlElement {
        self.root
            .query_selector(selector)
            .expect("a selector")
            .unwrap_or_else(|| panic!("there is no {selector}"))
            .unchecked_into()
    }
}

#[wasm_bindgen_test]
fn a_stopped_page_says_so_and_offers_a_way_out() {
    pulseboard_frontend::panic::show_panel("index out of bounds <b>7</b>").expect("shown");
    let document = gloo::utils::document();
    let panel = document
        .query_selector(".crash")
        .expect("a selector")
        .expect("a panel");
    let text = panel.text_content().unwrap_or_default();
    assert!(text.contains("This page has stopped"));
    assert!(
        text.contains("index out of bounds <b>7</b>"),
        "details are text, never markup"
    );
    let link = panel
        .query_selector("a.button")
        .expect("a selector")
        .expect("a link");
    assert_eq!(link.get_attribute("href").as_deref(), Some(""));
    panel.remove();
}

#[wasm_bindgen_test]
async fn a_trap_stops_the_page_and_another_error_does_not() {
    let document = gloo::utils::document();
    let panel = || document.query_selector(".crash").expect("a selector");
    pulseboard_frontend::panic::watch_traps();
    stumble();
    assert!(panel().is_none(), "a script's error stops nothing");
    trap();
    until("the page says that it has stopped", || panel().is_some()).await;
    let panel = panel().expect("a panel");
    let text = panel.text_content().unwrap_or_default();
    assert!(text.contains("This page has stopped"), "{text}");
    assert!(text.contains("RuntimeError"), "{text}");
    panel.remove();
}

/// One story from opening the page to clearing its alerts, with the names and texts that
/// people's scripts look for.
#[wasm_bindgen_test]
async fn the_page_shows_what_scripts_look_for() {
    install();
    let page = Page { root: root() };
    page.root
        .set_attribute("style", "width:1200px")
        .expect("an attribute");
    let app = yew::Renderer::<WholePage>::with_root(page.root.clone()).render();
    until("a socket is opened", || open_now("socket") == 1).await;
    assert_eq!(page.text("header h1"), "Live Dashboard");
    accept("socket");
    TimeoutFuture::new(100).await;
    assert_eq!(
        page.texts(".status.connected").len(),
        0,
        "an open socket is not yet live"
    );

    deliver("socket", "message", &initial("x", 40), "");
    until("it is live", || {
        page.text(".status.connected .status__word") == "Live"
    })
    .await;
    deliver("socket", "message", &tick("x", 41, 95.5), "");
    until("the newest figure is shown", || {
        page.text(".value") == "95.5"
    })
    .await;
    assert!(page.text("header .status .time").starts_with("Updated: "));
    assert_eq!(
        page.texts(".metric-cards .metric-card h3"),
        ["CPU Usage", "Memory", "Requests/sec", "Latency"]
    );
    assert_eq!(page.texts(".metric-card .unit"), ["%", "%", "req/s", "ms"]);
    let card = page.text(".metric-card");
    for part in ["Min: 1.0", "Max: 95.5", "(41 samples)", "Above 90 %"] {
        assert!(card.contains(part), "{part:?} is not in {card:?}");
    }
    assert_eq!(
        page.texts(".charts .chart h3"),
        [
            "CPU Usage (%)",
            "Memory Usage (%)",
            "Requests/sec",
            "Latency (ms)"
        ]
    );

    // The crosshair is read on all four charts at once.
    let slider = page.element(".chart__slider");
    let press = |key: &str| {
        let init = web_sys::KeyboardEventInit::new();
        init.set_key(key);
        init.set_bubbles(true);
        init.set_cancelable(true);
        let event = web_sys::KeyboardEvent::new_with_keyboard_event_init_dict("keydown", &init);
        slider
            .dispatch_event(&event.expect("an event"))
            .expect("dispatched");
    };
    press("End");
    until("the newest figure is read", || {
        page.text(".chart__readout").starts_with("95.5 % at ")
    })
    .await;
    press("ArrowLeft");
    until("the one before is read", || {
        page.text(".chart__readout").starts_with("40.0 % at ")
    })
    .await;
    let readings = page.texts(".chart .chart__readout");
    assert!(readings[2].starts_with("40.0 req/s at "), "{readings:?}");
    assert!(readings[3].starts_with("40.0 ms at "), "{readings:?}");

    // Alerts.
    assert_eq!(page.text(".alert-feed h2"), "Alerts (0)");
    assert!(page.text(".alert-feed").contains("No active alerts"));
    // One goes on since before the page was opened: the stream would not tell of it.
    answer(&format!("[{}]", alert(1, AlertState::Firing)));
    accept("rooms");
    until("what goes on is listed", || {
        page.text(".alert-feed h2") == "Alerts (1)"
    })
    .await;
    let tell = |name, id, data: &str| {
        deliver("rooms", "message", &event("alerts", name, id, data), "");
    };
    tell("message", "2", &alert(2, AlertState::Firing));
    until("two alerts are listed", || {
        page.text(".alert-feed h2") == "Alerts (2)"
    })
    .await;
    assert_eq!(page.text(".critical-badge"), "2 Critical");
    assert_eq!(
        page.texts(".alert.alert-critical .severity"),
        ["CRITICAL", "CRITICAL"]
    );
    assert_eq!(page.text(".alert .message"), "CPU usage critical: 93.4%");
    tell("resolved", "3", &alert(2, AlertState::Resolved));
    until("one is over", || page.texts(".alert.is-over").len() == 1).await;
    assert_eq!(page.text(".alert-feed h2"), "Alerts (2)", "it stays listed");
    assert_eq!(page.text(".critical-badge"), "2 Critical", "and counted");
    let dismiss = page.element(".alert button");
    assert_eq!(dismiss.text_content().as_deref(), Some("×"));
    dismiss.click();
    until("one is listed", || {
        page.text(".alert-feed h2") == "Alerts (1)"
    })
    .await;
    assert_eq!(page.text(".critical-badge"), "1 Critical");
    let clear = page.element(".alert-feed button");
    assert_eq!(clear.text_content().as_deref(), Some("Clear All"));
    clear.click();
    until("none is listed", || {
        page.text(".alert-feed h2") == "Alerts (0)"
    })
    .await;

    // Lost, and back without a gap.
    hang_up(1006);
    until("it is disconnected", || {
        page.text(".status.disconnected .status__word") == "Disconnected"
    })
    .await;
    until("it is opened again", || lines(&opened("socket")).len() == 2).await;
    accept("socket");
    let resumed = initial("x", 43).replacen("initial", "resumed", 1);
    deliver("socket", "message", &resumed, "");
    until("it is live again", || page.text(".status__word") == "Live").await;
    let badge = page.text(".recovery-badge");
    assert!(badge.starts_with("2 ticks recovered in "), "{badge:?}");
    assert!(badge.ends_with(" · 0 lost"), "{badge:?}");

    // Nothing new arrives: not live for long.
    until("it is stale", || {
        page.text(".status.stale").starts_with("Stale · ")
    })
    .await;
    until("the server is asked", || {
        sent().contains(r#"{"type":"ping"}"#)
    })
    .await;
    app.destroy();
    until("the socket is closed", || {
        open_now("socket") + open_now("rooms") + open_now("stream") == 0
    })
    .await;
}

/// Pixels of `context` between two corners that are like `wanted`.
fn pixels(
    context: &web_sys::CanvasRenderingContext2d,
    (left, top, width, height): (f64, f64, f64, f64),
    wanted: impl Fn(&[u8]) -> bool,
) -> usize {
    let image = context.get_image_data(left, top, width, height);
    let data = image.expect("pixels").data();
    data.chunks_exact(4).filter(|pixel| wanted(pixel)).count()
}

/// On a line that fills the chart, what the limits are called can be read: each on a ground of its
/// own, above the line.
#[wasm_bindgen_test]
fn what_limits_are_called_stands_above_the_line() {
    use pulseboard_frontend::{
        chart::{
            layout::{Plot, Span},
            paint::{Brush, Scene, Surface, Threshold, paint_data},
            theme::Theme,
        },
        net::feed::Row,
        stores::ring::{Before, Ring},
    };
    let canvas = gloo::utils::document().create_element("canvas");
    let canvas: web_sys::HtmlCanvasElement = canvas.expect("a canvas").unchecked_into();
    canvas.set_width(600);
    canvas.set_height(240);
    let context = canvas.get_context("2d").expect("a context").expect("2D");
    let context: web_sys::CanvasRenderingContext2d = context.unchecked_into();
    let mut ring = Ring::new(4_000);
    for index in 0..3_000_u32 {
        let value = if index % 2 == 0 { 5.0 } else { 95.0 };
        let row = Row {
            t_ms: f64::from(index) * 100.0,
            values: [value; 4],
        };
        ring.push(row, Before::Nothing);
    }
    let theme = Theme {
        lines: ["red", "red", "red", "red"].map(str::to_owned),
        panel: "white".to_owned(),
        axis: "blue".to_owned(),
        critical: "green".to_owned(),
        grid: "gainsboro".to_owned(),
        font: "11px sans-serif".to_owned(),
        scale: 1.0,
        ..Theme::default()
    };
    let plot = Plot {
        left: 40.0,
        top: 10.0,
        width: 550.0,
        height: 200.0,
    };
    let threshold = |above, severity, label: &str| Threshold {
        above,
        severity,
        label: label.to_owned(),
    };
    let limit = threshold(80.0, Severity::Critical, "Limit 80 %, critical");
    let note = threshold(40.0, Severity::Low, "Operator's log above 40 %");
    let mut brush = Brush::default();
    // Anew, and once more with what was kept.
    for to_ms in [300_000.0, 300_000.0 + 300_000.0 / 550.0] {
        let scene = Scene {
            ring: &ring,
            column: 0,
            span: Span {
                from_ms: to_ms - 300_000.0,
                to_ms,
            },
            ends: (0.0, 100.0),
            silent_from: None,
            before_first: "",
            stale: false,
        };
        let surface = Surface {
            context: &context,
            size: (600.0, 240.0),
            ratio: 1.0,
            plot,
        };
        paint_data(
            &surface,
            &theme,
            &scene,
            (Some(&limit), Some(&note)),
            &mut brush,
        );
        let is_line = |pixel: &[u8]| pixel[3] > 200 && pixel[0] > 200 && pixel[1] < 100;
        let (above, below) = ((46.0, 36.0, 60.0, 10.0), (46.0, 134.0, 60.0, 10.0));
        for place in [above, below] {
            assert_eq!(
                pixels(&context, place, is_line),
                0,
                "the line is over a label"
            );
        }
        let green = |pixel: &[u8]| pixel[1] > pixel[0].saturating_add(40);
        let blue = |pixel: &[u8]| pixel[2] > pixel[0].saturating_add(40);
        assert!(
            pixels(&context, above, green) > 20,
            "the limit is not called"
        );
        assert!(pixels(&context, below, blue) > 20, "the note is not called");
        // And the line is there: up to the limit in its colour, from there on in the limit's.
        assert!(pixels(&context, (300.0, 60.0, 60.0, 60.0), is_line) > 2_000);
        assert!(pixels(&context, (300.0, 22.0, 60.0, 20.0), green) > 800);
    }
}
