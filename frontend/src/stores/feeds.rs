//! What the page follows on the rooms' socket besides alerts, and how that socket stands.

use yewdux::store::Store;

use crate::net::{link::Standing, rooms::Follow};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Store)]
pub struct FeedStore {
    view: Option<Follow>,
    standing: Standing,
}

impl FeedStore {
    /// The view that is shown follows this, in place of what another one did.
    pub fn follow(&mut self, follow: Follow) {
        self.view = Some(follow);
    }

    /// The view that followed this is gone.
    pub fn unfollow(&mut self, follow: &Follow) {
        // Another one may be there already.
        self.view.take_if(|followed| followed == follow);
    }

    /// The socket stands so.
    pub fn show(&mut self, standing: Standing) {
        self.standing = standing;
    }

    /// What the view that is shown follows.
    #[must_use]
    pub fn select_view(&self) -> Option<Follow> {
        self.view.clone()
    }

    /// How the socket stands.
    #[must_use]
    pub fn select_standing(&self) -> Standing {
        self.standing.clone()
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
        store.unfollow(&follow("aggregate"));
        assert_eq!(store.select_view(), None);
    }
}
