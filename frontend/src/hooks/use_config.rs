//! Reads `config.json` once, at the start, unless the page brings it along.

use wasm_bindgen_futures::spawn_local;
use yew::prelude::*;

use super::use_effect_with;
use crate::{
    net::{
        address::param,
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

/// The settings, which the page brings along or which are beside `index.html`. A missing file means
/// the page's own origin.
#[hook]
pub fn use_config(brought: Option<&Config>) -> ConfigState {
    let state = use_state(|| match brought {
        Some(config) => ConfigState::of(Ok(config.clone())),
        None => ConfigState::Loading,
    });
    {
        let state = state.clone();
        use_effect_with((), move |()| {
            if *state != ConfigState::Loading {
                return;
            }
            spawn_local(async move {
                let config = match fetch::config().await {
                    Some(text) => Config::parse(&text),
                    None => Ok(Config::default()),
                };
                state.set(ConfigState::of(config));
            });
        });
    }
    (*state).clone()
}

impl ConfigState {
    fn of(config: Result<Config, ConfigError>) -> Self {
        let endpoint = config.and_then(|config| {
            // The page's own address beats the file, so that a link can name a tenant.
            let tenant = param(&platform::search(), "tenant").unwrap_or(config.tenant);
            let origin = platform::page_origin();
            Ok(Endpoint::resolve(&config.backend, &origin)?.of_tenant(&tenant))
        });
        match endpoint {
            Ok(endpoint) => Self::Ready(endpoint),
            Err(error) => Self::Failed(error),
        }
    }
}
