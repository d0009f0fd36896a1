//! Reads `config.json` once, at the start.

use wasm_bindgen_futures::spawn_local;
use yew::prelude::*;

use super::use_effect_with;
use crate::{
    net::{
        config::{Config, ConfigError, Endpoint},
        fetch,
    },
    platform,
};

/// What is known of the settings.
#[derive(Clone, Debug, PartialEq)]
pub enum ConfigState {
    /// On the way.
    Loading,
    /// Where the backend is.
    Ready(Endpoint),
    /// It cannot be used.
    Failed(ConfigError),
}

/// The settings beside `index.html`. A missing file means the page's own origin.
#[hook]
pub fn use_config() -> ConfigState {
    let state = use_state(|| ConfigState::Loading);
    {
        let state = state.clone();
        use_effect_with((), move |()| {
            spawn_local(async move {
                let origin = platform::page_origin();
                let config = match fetch::config().await {
                    Some(text) => Config::parse(&text),
                    None => Ok(Config::default()),
                };
                let endpoint = config.and_then(|config| {
                    // The page's own address beats the file, so that a link can name a tenant.
                    let tenant = platform::search_param("tenant").unwrap_or(config.tenant);
                    Ok(Endpoint::resolve(&config.backend, &origin)?.of_tenant(&tenant))
                });
                state.set(match endpoint {
                    Ok(endpoint) => ConfigState::Ready(endpoint),
                    Err(error) => ConfigState::Failed(error),
                });
            });
        });
    }
    (*state).clone()
}
