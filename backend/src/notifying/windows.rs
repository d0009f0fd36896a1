//! Maintenance windows of a tenant: made, changed and removed, and what they keep quiet told in its
//! timelines, as of silences.

use pulseboard_alerting::new_id;
use pulseboard_notify::Window;

use super::{CONFLICTS_MAX, Notifying, Tenant, WindowError, people_made::Made, silenced_by};
use crate::{
    base::documents::{DocumentError, Expected, Revision},
    incidents::entry::{Entry, Kind},
};

/// A window that is to be changed.
struct Known {
    /// Which state of it.
    revision: u64,
    /// Which state of its document, where there are other servers.
    read: Expected,
}

impl Known {
    fn of(window: &Window, read: Expected, expected: Expected) -> Result<Self, WindowError> {
        let revision = window.revision;
        match expected {
            Expected::Any => Ok(Self { revision, read }),
            Expected::Revision(Revision(known)) if known == revision => Ok(Self { revision, read }),
            Expected::New | Expected::Revision(_) => Err(WindowError::Changed),
        }
    }
}

impl From<DocumentError> for WindowError {
    fn from(error: DocumentError) -> Self {
        match error {
            DocumentError::Conflict { .. } => Self::Changed,
            error => Self::Untold(super::Untold(error.to_string())),
        }
    }
}

impl Notifying {
    /// Which state of a window of this identity there is, where it is one that is expected.
    fn known_window(
        &self,
        tenant: &Tenant,
        id: &str,
        expected: Expected,
    ) -> Result<Known, WindowError> {
        if self.alike.is_some() {
            let document = Made::Windows.document(&tenant.name, id);
            let known = self.documents.get::<Window>(&document);
            let (read, known) = known.ok_or(WindowError::NotFound)?;
            return Known::of(&known, Expected::Revision(read), expected);
        }
        let state = tenant.state.lock();
        let known = state.manager().windows().find(|one| one.id == id);
        Known::of(known.ok_or(WindowError::NotFound)?, Expected::Any, expected)
    }

    /// Changes a window; again where another server was faster and whoever asks does not mind.
    fn change_window<T>(
        &self,
        tenant: &Tenant,
        expected: Option<Expected>,
        change: impl Fn() -> Result<T, WindowError>,
    ) -> Result<T, WindowError> {
        let mut tries = 0;
        loop {
            let changed = change();
            let (Err(WindowError::Changed), Some(alike)) = (&changed, &self.alike) else {
                return changed;
            };
            // Also for whoever minds, and reads what there is now.
            let is_known = alike.copy_now().is_ok();
            self.follow_people(tenant);
            if expected != Some(Expected::Any) || !is_known || tries == CONFLICTS_MAX {
                return changed;
            }
            tries += 1;
        }
    }

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
        window: Window,
        by: &str,
    ) -> Result<String, WindowError> {
        let tenant = match &old {
            Some(_) => self.known(tenant).ok_or(WindowError::NotFound)?,
            None => self.tenant(tenant)?,
        };
        let expected = old.as_ref().map(|(_, expected)| *expected);
        self.change_window(&tenant, expected, || {
            self.try_set_window(&tenant, old.as_ref(), window.clone(), by)
        })
    }

    fn try_set_window(
        &self,
        tenant: &Tenant,
        old: Option<&(String, Expected)>,
        mut window: Window,
        by: &str,
    ) -> Result<String, WindowError> {
        let now_ms = self.clock.now_ms();
        let (id, known) = match old {
            Some((id, expected)) => (id.clone(), self.known_window(tenant, id, *expected)?),
            None => {
                let (revision, read) = (0, Expected::New);
                (new_id(now_ms).to_string(), Known { revision, read })
            }
        };
        window.id.clone_from(&id);
        window.revision = known.revision + 1;
        let (comment, until_ms) = (window.comment.clone(), window.until_ms);
        let (kept, silenced) = {
            let mut state = tenant.state.lock();
            let known_here = state.manager().windows().find(|one| one.id == id);
            // Of one server this is what counts; nobody else has changed it since it was looked at.
            if self.alike.is_none()
                && known_here.map_or(0, |window| window.revision) != known.revision
            {
                return Err(WindowError::Changed);
            }
            let set = state.manager_mut().set_window(now_ms, window);
            set.map_err(WindowError::Invalid)?;
            let kept = state.manager().windows().find(|one| one.id == id).cloned();
            (kept, silenced_by(&state, now_ms, &id))
        };
        self.put_read(tenant, Made::Windows, &id, known.read, kept.as_ref())?;
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
        self.change_window(&tenant, Some(expected), || {
            let known = self.known_window(&tenant, id, expected)?;
            {
                let mut state = tenant.state.lock();
                let known_here = state.manager().windows().find(|one| one.id == id);
                let revision = known_here.map(|window| window.revision);
                if self.alike.is_none() && revision != Some(known.revision) {
                    return Err(WindowError::Changed);
                }
                state.manager_mut().remove_window(id);
            }
            self.put_read::<Window>(&tenant, Made::Windows, id, known.read, None)?;
            self.wake.notify_one();
            Ok(())
        })
    }
}
