//! Pulseboard's page: a Yew application in WebAssembly.
//!
//! | module | what it is | tested |
//! |---|---|---|
//! | [`net`] | protocols as state machines without a clock, settings, diagnosis | natively |
//! | [`stores`] | what is known: reducers and selectors | natively |
//! | [`chart`] | geometry (pure), painting, the page's drawing schedule | geometry natively |
//! | [`words`] | what things are called: one table | |
//! | [`mod@format`] | numbers and times for people | natively |
//! | `late` | what is loaded when it is opened | in a browser |
//! | `markup` | nodes from the templates that `html!` writes | in a browser |
//! | [`hooks`] | sockets, streams, settings, theme: what has to be given back | in a browser |
//! | [`pages`] | what the address leads to: each view, of components | in a browser |
//! | [`components`] | the parts that are seen | in a browser |
//! | [`preferences`] | the reader's zone and hours | |
//! | [`platform`] | the few things asked of the browser | |
//!
//! A sample's way: `hooks::use_metrics_socket` reads a frame, `net::feed` decides what is new,
//! once per animation frame `stores::stats` takes it in, cards render what selectors yield, and
//! `chart::stage` draws from the same rings.

pub mod app;
pub mod chart;
pub mod components;
#[cfg(test)]
mod contrast;
pub mod format;
pub mod hooks;
mod late;
mod markup;
pub mod net;
pub mod pages;
pub mod panic;
pub mod platform;
pub mod preferences;
pub mod stores;
pub mod words;

/// Two-level segregated fit (Masmano et al. 2004): a tenth of the code of the standard library's
/// allocator, and time that does not depend on what is free. The page has one thread.
#[cfg(target_arch = "wasm32")]
#[global_allocator]
static ALLOCATOR: rlsf::SmallGlobalTlsf = rlsf::SmallGlobalTlsf::new();

/// Mounts the application into the element `app`, in place of the static shell.
pub fn start() {
    panic::install();
    let root = gloo::utils::document()
        .get_element_by_id("app")
        .unwrap_or_else(|| gloo::utils::body().into());
    yew::Renderer::<app::App>::with_root(root).render();
}
