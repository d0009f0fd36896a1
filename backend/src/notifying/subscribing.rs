//! Browsers subscribe and are forgotten, and a tenant's configuration follows at once.

use pulseboard_notify::Way;

use super::{
    Notifying,
    browsers::{BROWSERS, Browser, BrowserError, OTHERWISE, Subscriber, Subscription},
};

impl Notifying {
    /// What a browser wants as `applicationServerKey`.
    #[must_use]
    pub fn push_key(&self) -> String {
        self.browsers.key()
    }

    /// Those of a tenant, the oldest first.
    #[must_use]
    pub fn subscribed(&self, tenant: &str) -> Vec<Browser> {
        self.browsers.of(tenant)
    }

    /// Tells a browser of a tenant's alerts from now on, those that go on included; whether it is a
    /// new one. Blocks for the disk.
    ///
    /// # Errors
    /// See [`BrowserError`]; nothing has changed then.
    pub fn subscribe(
        &self,
        tenant: &str,
        subscription: Subscription,
        who: Subscriber,
    ) -> Result<(Browser, bool), BrowserError> {
        let now_ms = self.clock.now_ms();
        let mut browser = self.browsers.checked(subscription, who, now_ms)?;
        let state = self
            .tenant(tenant)
            .map_err(|error| BrowserError::Tenants(error.to_string()))?;
        let _changing = self.changing.lock();
        self.browsers.keep_key()?;
        let mut all = self.browsers.of(tenant);
        let before = all.iter_mut().find(|one| one.id == browser.id);
        let is_new = before.is_none();
        match before {
            Some(before) => {
                // The same place, and the same name in what was told of it.
                browser.name.clone_from(&before.name);
                browser.caller.clone_from(&before.caller);
                browser.since_ms = before.since_ms;
                browser.by.clone_from(&before.by);
                if *before == browser {
                    return Ok((browser, false));
                }
                *before = browser.clone();
            }
            None => {
                self.browsers.check_room(tenant, &browser.caller)?;
                // The name is what a way to it is known by: two of one would reach nobody.
                if all.iter().any(|one| one.name == browser.name) {
                    browser.name = format!("{} {}", browser.name, browser.id);
                }
                all.push(browser.clone());
            }
        }
        self.browsers.store(tenant, all)?;
        let (config, templates) = self.config_of(tenant);
        self.use_config(&state, config, templates);
        Ok((browser, is_new))
    }

    /// Tells a browser nothing more; whether there was one of that identity. Blocks for the disk.
    ///
    /// # Errors
    /// The disk does not take it.
    pub fn forget_browser(&self, tenant: &str, id: &str) -> Result<bool, BrowserError> {
        let _changing = self.changing.lock();
        let mut all = self.browsers.of(tenant);
        let count = all.len();
        all.retain(|one| one.id != id);
        if all.len() == count {
            return Ok(false);
        }
        self.browsers.store(tenant, all)?;
        if let Some(state) = self.known(tenant) {
            let (config, templates) = self.config_of(tenant);
            self.use_config(&state, config, templates);
        }
        Ok(true)
    }

    /// Whether a browser may be sent a test now; one that may is taken to have been.
    #[must_use]
    pub fn may_test_browser(&self, id: &str) -> bool {
        self.browsers.may_test(id, self.clock.steady_ms())
    }

    /// A push service says that the browser behind a way has unsubscribed.
    pub(super) fn forget_gone(&self, tenant: &str, way: &Way) {
        if ![BROWSERS, OTHERWISE].contains(&&*way.receiver) {
            return;
        }
        let all = self.browsers.of(tenant);
        let is_it = |one: &&Browser| way.name.0 == format!("webpush[{}]", one.name);
        let Some(browser) = all.iter().find(is_it) else {
            return;
        };
        match self.forget_browser(tenant, &browser.id) {
            Ok(_) => tracing::info!(
                tenant,
                browser = browser.name,
                "a browser has unsubscribed and is forgotten"
            ),
            Err(error) => {
                tracing::error!(%error, tenant, "a browser that has unsubscribed is not forgotten");
            }
        }
    }
}
