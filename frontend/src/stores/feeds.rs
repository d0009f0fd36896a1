//! What the page follows on the rooms' socket besides alerts, and how that socket stands.

use yewdux::store::Store;

use crate::net::{link::LinkState, rooms::Follow};

/// Which feeds the page follows on the rooms' socket, and how that socket is.
#[derive(Clone, Debug, Default, PartialEq, Store)]
pub struct FeedStore {
    /// What views follow, the newest last. While one gives way to another both are there, and may
    /// follow the same.
    views: Vec<Follow>,
    state: LinkState,
}

impl FeedStore {
    /// The view that is shown follows this, in place of what another one did.
    pub fn follow(&mut self, follow: Follow) {
        self.views.push(follow);
    }

    /// The view that followed this is gone.
    pub fn unfollow(&mut self, follow: &Follow) {
        let gone = self.views.iter().position(|followed| followed == follow);
        if let Some(gone) = gone {
            self.views.remove(gone);
        }
    }

    /// The socket stands so.
    pub fn show(&mut self, state: LinkState) {
        self.state = state;
    }

    /// What the view that is shown follows.
    #[must_use]
    pub fn select_view(&self) -> Option<Follow> {
        self.views.last().cloned()
    }

    /// How the socket stands.
    #[must_use]
    pub fn select_state(&self) -> LinkState {
        self.state.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_that_goes_takes_only_its_own_along() {
        let follow = |feed| Follow {
            feed,
            asked: String::new(),
        };
        let mut store = FeedStore::default();
        store.follow(follow("operator"));
        store.follow(follow("aggregate"));
        store.unfollow(&follow("operator"));
        assert_eq!(store.select_view(), Some(follow("aggregate")));
        // The next view follows the same before this one is gone.
        store.follow(follow("aggregate"));
        store.unfollow(&follow("aggregate"));
        assert_eq!(store.select_view(), Some(follow("aggregate")));
        store.unfollow(&follow("aggregate"));
        assert_eq!(store.select_view(), None);
    }
}
