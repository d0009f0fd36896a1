//! What is loaded when it is opened: every view but the overview, what lies over the page, and the
//! talk. Who looks at the overview only never waits for their code.
//!
//! `cargo xtask build` makes a file of all that only [`draw`] leads to. In every other build, such
//! as that of `trunk serve`, it is a part of the whole.

use std::{cell::RefCell, rc::Rc};

use gloo::{timers::callback::Timeout, utils::window};
use wasm_bindgen::{JsCast, closure::Closure};
use yew::prelude::*;

use crate::{
    components::{AlertWatch, AloneNotice, ChatDrawer, Overlays, problem_panel},
    hooks::use_effect_with,
    markup::html,
    net::{address, config::Endpoint},
    pages::{
        AggregateView, Alerts, Explore, HostPage, Hosts, OpenSeries, OperatorView, Questions,
        Targets,
    },
    platform,
    stores::{question::Question, time::TimeRange, view::Page},
    words,
};

/// Loaded before it is asked for, once the page has been at rest for so long.
const CALM_MS: u32 = 1_500;

/// Remembers in the tab that the page was loaded anew for want of its other file.
const RELOADED_KEY: &str = "pulseboard-reloaded";

/// What the address says besides the view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// Which part of the view.
    pub(crate) place: Rc<str>,
    /// What is asked of it.
    pub(crate) asked: Rc<str>,
}

/// What can be drawn once it is loaded.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    /// A view, and what the address asks of it.
    View(Page, Address),
    /// Tells the reader of alerts who looks elsewhere, of those that nobody saw, and of a server
    /// that cannot reach the others.
    Watch,
    /// Help and the palette of commands.
    Overlays,
    /// The talk beside the figures.
    Chat,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Late {
    /// Nobody has asked for it.
    Absent,
    Loading,
    Ready,
    /// The file could not be had.
    Failed,
}

/// How far it is when the page starts.
const BEFORE: Late = if cfg!(feature = "split") {
    Late::Absent
} else {
    Late::Ready
};

/// Draws a part; nothing before it is loaded.
pub(crate) fn draw(part: Part, endpoint: &Endpoint, identity: u64) -> Html {
    split::draw(part, endpoint, identity)
}

/// In place of a view that is not there yet. It says why where it will not come.
pub(crate) fn waiting(late: Late, retry: &Callback<()>) -> Html {
    match late {
        Late::Failed => problem_panel(
            words::LATE_FAILED.to_owned(),
            words::LATE_FAILED_FIX,
            Some((String::new(), retry.clone())),
        ),
        _ => html! { <p class="late" role="status">{ words::LOADING_ALL }</p> },
    }
}

/// Loads what is late when it is `needed`, and before that while the browser has nothing to do and
/// the page `may_ask` for it. Returns how far it is, and how to try again.
#[hook]
pub(crate) fn use_late(needed: bool, may_ask: bool) -> (Late, Callback<()>) {
    let shown = use_state_eq(|| BEFORE);
    let loader = Loader {
        now: use_mut_ref(|| BEFORE),
        shown: shown.setter(),
    };
    let (one, other, third) = (loader.clone(), loader.clone(), loader);
    use_effect_with(needed, move |needed| {
        if *needed {
            one.load(true);
        }
    });
    use_effect_with(may_ask, move |may_ask| {
        let timer = (*may_ask && !platform::saves_data())
            .then(|| Timeout::new(CALM_MS, move || when_idle(move || other.load(false))));
        move || drop(timer)
    });
    (*shown, Callback::from(move |()| third.load(true)))
}

/// Loads, once at a time.
#[derive(Clone)]
struct Loader {
    /// How far it is. What is shown follows a little later, with the next rendering.
    now: Rc<RefCell<Late>>,
    shown: UseStateSetter<Late>,
}

impl Loader {
    fn is(&self, late: Late) {
        *self.now.borrow_mut() = late;
        self.shown.set(late);
    }

    /// Does nothing where it is there or on its way.
    fn load(&self, needed: bool) {
        if matches!(*self.now.borrow(), Late::Loading | Late::Ready) {
            return;
        }
        self.is(Late::Loading);
        let loader = self.clone();
        wasm_bindgen_futures::spawn_local(async move {
            let is_there = split::load().await;
            if is_there {
                if platform::remembered_in_tab(RELOADED_KEY).is_some() {
                    platform::remember_in_tab(RELOADED_KEY, None);
                }
            } else if needed && is_outdated() {
                // Fails only where the page may not go anywhere.
                drop(window().location().reload());
                return;
            }
            loader.is(if is_there { Late::Ready } else { Late::Failed });
        });
    }
}

/// Runs `work` when the browser has nothing else to do; where it cannot tell, now.
fn when_idle(work: impl FnOnce() + 'static) {
    let work = Closure::once_into_js(work);
    if let Some(work) = work.dyn_ref::<js_sys::Function>()
        && window().request_idle_callback(work).is_err()
    {
        // Fails for what throws, and this does not.
        drop(work.call0(&wasm_bindgen::JsValue::UNDEFINED));
    }
}

/// Whether the server has another version of the page by now: it knows nothing of the file, and a
/// reload has not been tried for it.
fn is_outdated() -> bool {
    let root = gloo::utils::document_element();
    let is_gone = root.get_attribute("data-late").as_deref() == Some("404");
    if !is_gone || platform::remembered_in_tab(RELOADED_KEY).is_some() {
        return false;
    }
    platform::remember_in_tab(RELOADED_KEY, Some("1"));
    // Where nothing is remembered it would be tried for ever.
    platform::remembered_in_tab(RELOADED_KEY).is_some()
}

/// A part of the page, of what is loaded.
fn part(part: Part, endpoint: &Endpoint, identity: u64) -> Html {
    let endpoint = endpoint.clone();
    let time = |asked: &str| {
        let zone = platform::zone_offset_min;
        TimeRange::read(asked, platform::now_ms(), zone).unwrap_or_default()
    };
    let (page, Address { place, asked }) = match part {
        Part::Watch => {
            return html! {
                <>
                    <AloneNotice key="alone" endpoint={endpoint.clone()} />
                    <AlertWatch key={identity} {endpoint} />
                </>
            };
        }
        Part::Overlays => return html! { <Overlays key={identity} {endpoint} /> },
        Part::Chat => return html! { <ChatDrawer key={identity} {endpoint} /> },
        Part::View(page, asked) => (page, asked),
    };
    match page {
        Page::Overview => Html::default(),
        Page::Alerts => html! { <Alerts key={identity} {endpoint} {place} {asked} /> },
        Page::Operator => html! { <OperatorView key={identity} {endpoint} /> },
        Page::Aggregate => html! { <AggregateView key={identity} {endpoint} /> },
        Page::Targets => html! { <Targets key={identity} {endpoint} /> },
        Page::Hosts => match address::param(&asked, "host") {
            Some(host) => html! {
                <HostPage key={identity} {endpoint} {host} time={time(&asked)} />
            },
            None => html! { <Hosts key={identity} {endpoint} /> },
        },
        Page::Explore => {
            if let Some(selector) = address::param(&asked, "match") {
                return html! {
                    <OpenSeries key={identity} {endpoint} {selector} time={time(&asked)} />
                };
            }
            match Question::read(&asked, platform::now_ms(), platform::zone_offset_min) {
                Some(question) => html! { <Questions key={identity} {endpoint} {question} /> },
                None => {
                    let search = address::param(&asked, "search").unwrap_or_default();
                    html! { <Explore key={identity} {endpoint} {search} /> }
                }
            }
        }
    }
}

/// In one piece.
#[cfg(not(feature = "split"))]
mod split {
    use super::{Endpoint, Html, Part};

    pub(super) async fn load() -> bool {
        true
    }

    pub(super) fn draw(part: Part, endpoint: &Endpoint, identity: u64) -> Html {
        super::part(part, endpoint, identity)
    }
}

/// In two pieces.
#[cfg(feature = "split")]
mod split {
    use std::{
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use wasm_split_helpers::{SplitLoaderError, wasm_split};

    use super::{Endpoint, Html, Part};

    /// Everything that only this function leads to is in the other file.
    #[wasm_split(late, fallible, preload(fetch))]
    fn part(part: Part, endpoint: &Endpoint, identity: u64) -> Result<Html, SplitLoaderError> {
        Ok(super::part(part, endpoint, identity))
    }

    pub(super) async fn load() -> bool {
        fetch().await.is_ok()
    }

    /// At once, since it is loaded.
    pub(super) fn draw(part: Part, endpoint: &Endpoint, identity: u64) -> Html {
        let drawn = pin!(self::part(part, endpoint, identity));
        match drawn.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(html)) => html,
            _ => Html::default(),
        }
    }
}
