//! Maintenance windows of a tenant: made, changed and removed, and what they keep quiet told in its
//! timelines, as of silences.

use pulseboard_alerting::new_id;
use pulseboard_notify::Window;

use super::{Notifying, WindowError, people_made::Made, silenced_by, state::State};
use crate::{
    base::documents::{Expected, Revision},
    incidents::entry::{Entry, Kind},
};

/// Which state of a window of this identity there is, where it is one that is expected.
fn revision_of(state: &State, id: &str, expected: Expected) -> Result<u64, WindowError> {
    let mut windows = state.manager().windows();
    let known = windows.find(|one| one.id == id);
    let revision = known.ok_or(WindowError::NotFound)?.revision;
    match expected {
        Expected::Any => Ok(revision),
        Expected::Revision(Revision(known)) if known == revision => Ok(revision),
        Expected::New | Expected::Revision(_) => Err(WindowError::Changed),
    }
}

impl Notifying {
    /// Makes a window, or puts one in the place of the one of this identity, in the state that is
    /// expected of it; and says so in the timelines of what it keeps quiet now. Its identity.
    ///
    /// # Errors
    /// There is none of this identity, it has changed, it cannot be, or the other servers cannot be
    /// told.
    pub fn set_window(
        &self,
        tenant: &str,
        old: Option<(String, Expected)>,
        mut window: Window,
        by: &str,
    ) -> Result<String, WindowError> {
        let now_ms = self.clock.now_ms();
        let tenant = match &old {
            Some(_) => self.known(tenant).ok_or(WindowError::NotFound)?,
            None => self.tenant(tenant)?,
        };
        let mut state = tenant.state.lock();
        let (id, revision) = match old {
            Some((id, expected)) => {
                let revision = revision_of(&state, &id, expected)?;
                (id, revision)
            }
            None => (new_id(now_ms).to_string(), 0),
        };
        window.id.clone_from(&id);
        window.revision = revision + 1;
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

    /// Removes a window that is in the state that is expected of it.
    ///
    /// # Errors
    /// There is none, it has changed, or the other servers cannot be told.
    pub fn remove_window(
        &self,
        tenant: &str,
        id: &str,
        expected: Expected,
    ) -> Result<(), WindowError> {
        let tenant = self.known(tenant).ok_or(WindowError::NotFound)?;
        let mut state = tenant.state.lock();
        revision_of(&state, id, expected)?;
        state.manager_mut().remove_window(id);
        drop(state);
        self.put_people::<Window>(&tenant, Made::Windows, id, None)?;
        self.wake.notify_one();
        Ok(())
    }
}
