//! How the connection stands; written by [`crate::hooks::use_metrics_socket`] alone.

use yewdux::store::Store;

use crate::net::feed::View;

/// How the connection is, as the whole page sees it.
#[derive(Clone, Debug, Default, PartialEq, Store)]
pub struct ConnectionStore {
    /// As the feed sees it.
    pub view: View,
    /// How often the page came back from a lost connection; others that lost theirs at the same
    /// time try again when it grows.
    pub recoveries: u64,
}

impl ConnectionStore {
    /// The feed has something new to show.
    pub fn show(&mut self, view: View) {
        if self.view.connection.is_lost() && !view.connection.is_lost() {
            self.recoveries += 1;
        }
        self.view = view;
    }
}

#[cfg(test)]
mod tests {
    use yewdux::{Context, Dispatch};

    use super::*;
    use crate::net::feed::Connection;

    #[test]
    fn counts_recoveries() {
        let dispatch = Dispatch::<ConnectionStore>::new(&Context::new());
        let show = |connection| {
            dispatch.reduce_mut(|store| {
                store.show(View {
                    connection,
                    ..View::default()
                });
            });
        };
        let lost = || Connection::Lost {
            attempt: 1,
            retry_in_s: None,
            lost_s: 0,
        };
        show(Connection::Live);
        assert_eq!(dispatch.get().recoveries, 0);
        show(lost());
        show(lost());
        show(Connection::Live);
        assert_eq!(dispatch.get().recoveries, 1);
    }
}
