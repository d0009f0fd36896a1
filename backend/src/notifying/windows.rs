//! Maintenance windows of a tenant: made, changed and removed, and what they keep quiet told in its
//! timelines, as of silences.

use pulseboard_alerting::new_id;
use pulseboard_notify::Window;

use super::{
    Notifying, WindowError,
    people::{Made, Untold},
    silenced_by,
};
use crate::incidents::entry::{Entry, Kind};

impl Notifying {
    /// Makes a window, or puts one in the place of the one of this identity; and says so in the
    /// timelines of what it keeps quiet now. Its identity.
    ///
    /// # Errors
    /// There is none of this identity, or it cannot be.
    pub fn set_window(
        &self,
        tenant: &str,
        id: Option<String>,
        mut window: Window,
        by: &str,
    ) -> Result<String, WindowError> {
        let now_ms = self.clock.now_ms();
        let tenant = match &id {
            Some(_) => self.known(tenant).ok_or(WindowError::NotFound)?,
            None => self.tenant(tenant)?,
        };
        let mut state = tenant.state.lock();
        let is_known = |id: &String| state.manager().windows().any(|one| one.id == *id);
        if id.as_ref().is_some_and(|id| !is_known(id)) {
            return Err(WindowError::NotFound);
        }
        let id = id.unwrap_or_else(|| new_id(now_ms).to_string());
        window.id.clone_from(&id);
        let (comment, until_ms) = (window.comment.clone(), window.until_ms);
        let set = state.manager_mut().set_window(now_ms, window);
        set.map_err(WindowError::Invalid)?;
        let kept = state.manager().windows().find(|one| one.id == id).cloned();
        let silenced = silenced_by(&state, now_ms, &id);
        drop(state);
        self.put_people(&tenant, Made::Windows, &id, kept.as_ref())?;
        for fingerprint in silenced {
            let entry = Entry {
                by: Some(by.to_owned()),
                text: Some(comment.clone()),
                until_ms,
                ..Entry::new(now_ms, Kind::Silenced)
            };
            self.incidents
                .add_to_newest(&tenant.name, fingerprint, entry);
        }
        self.wake.notify_one();
        Ok(id)
    }

    /// Removes a window; whether there was one.
    ///
    /// # Errors
    /// The other servers cannot be told.
    pub fn remove_window(&self, tenant: &str, id: &str) -> Result<bool, Untold> {
        let Some(tenant) = self.known(tenant) else {
            return Ok(false);
        };
        let mut state = tenant.state.lock();
        if !state.manager().windows().any(|one| one.id == id) {
            return Ok(false);
        }
        state.manager_mut().remove_window(id);
        drop(state);
        self.put_people::<Window>(&tenant, Made::Windows, id, None)?;
        self.wake.notify_one();
        Ok(true)
    }
}
